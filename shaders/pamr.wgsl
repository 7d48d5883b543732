// One iteration of pixel-adaptive refinement: every pixel becomes the weighted mean of its neighbours.
//
// maps [B, Q, H, W], weights [B, 8 D, H, W] as pamr_weights makes them -> y [B, Q, H, W]. The pixel itself does not count. One
// thread per pixel and four maps, so that a weight is read once for four.
//
// include: common/index.wgsl
// include: common/neighbour.wgsl

struct Params {
    dilations: vec4<u32>,
    count: u32,          // D, at most 4
    width: u32,
    height: u32,
    maps: u32,           // Q
    images: u32,         // B
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> maps: array<f32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    let pixels = params.width * params.height;
    let fours = (params.maps + 3u) / 4u;
    let image = index / (pixels * fours);
    if (image >= params.images) {
        return;
    }
    let first = ((index / pixels) % fours) * 4u;
    let pixel = index % pixels;
    let size = vec2<u32>(params.width, params.height);
    let at = vec2<u32>(pixel % size.x, pixel / size.x);
    // Beyond the last map the last is read again and not stored.
    let plane = (image * params.maps + min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.maps - 1u))) * pixels;
    let weight = image * 8u * params.count * pixels + pixel;
    var sum = vec4<f32>(0.0);
    for (var p = 0u; p < 8u * params.count; p += 1u) {
        let n = neighbour(at, p % 8u, params.dilations[p / 8u], size);
        sum += weights[weight + p * pixels] * vec4<f32>(maps[plane.x + n], maps[plane.y + n], maps[plane.z + n], maps[plane.w + n]);
    }
    for (var j = 0u; j < min(4u, params.maps - first); j += 1u) {
        y[plane[j] + pixel] = sum[j];
    }
}
