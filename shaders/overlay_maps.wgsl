// Maps of a grid, resized, as JET colours over their image: `upsample` and the colours of `overlay_texture` without the map between them.
//
// maps [P, h, w] in 0..1, image [H, W] packed RGBA8 -> out [Q, H, W] packed RGBA8, opaque, plane q from map `first` + q.
// One thread per pixel, for all planes: where it lies between the cells is found once.
//
// include: common/index.wgsl
// include: common/bilinear.wgsl
// include: common/jet.wgsl

struct Params {
    from_width: u32,
    from_height: u32,
    width: u32,
    height: u32,
    first: u32,
    planes: u32,         // Q
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> maps: array<f32>;
@group(0) @binding(2) var<storage, read> image: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    let pixels = params.width * params.height;
    if (index >= pixels) {
        return;
    }
    let from_size = vec2<u32>(params.from_width, params.from_height);
    let b = between(vec2<u32>(index % params.width, index / params.width), from_size, vec2<u32>(params.width, params.height));
    let cells = from_size.x * from_size.y;
    let top = params.first * cells + b.low.y * from_size.x;
    let bottom = params.first * cells + b.high.y * from_size.x;
    let pixel = image[index];
    for (var q = 0u; q < params.planes; q += 1u) {
        let plane = q * cells;
        let upper = mix(maps[plane + top + b.low.x], maps[plane + top + b.high.x], b.t.x);
        let lower = mix(maps[plane + bottom + b.low.x], maps[plane + bottom + b.high.x], b.t.x);
        let c = blend(pixel, mix(upper, lower, b.t.y));
        out[q * pixels + index] = u32(c.x) | (u32(c.y) << 8u) | (u32(c.z) << 16u) | 0xff000000u;
    }
}
