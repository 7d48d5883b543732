// Five views of each picture: itself, grey, blurred, upside down, left to right.
//
// pixels [B, 3, H, W], normalised; taps [2 radius + 1], the blur along either axis -> y [5 B, 3, H, W], view by view.
// Beyond the border the picture is mirrored about its edge, which is not repeated; so radius < H and radius < W.
// One thread per pixel: 121 loads a channel at radius 5 are a thousandth of what the model then spends on the five.
//
// include: common/index.wgsl

struct Params {
    total: u32,      // B H W
    width: u32,
    height: u32,
    radius: u32,
}

// ITU-R BT.601's weights of red, green and blue, as image libraries round them.
const GREY = vec3<f32>(0.2989, 0.587, 0.114);

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> pixels: array<f32>;
@group(0) @binding(2) var<storage, read> taps: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

fn mirrored(i: u32, size: u32) -> u32 {
    let at = u32(abs(i32(i) - i32(params.radius)));
    return min(at, 2u * (size - 1u) - at);
}

fn load(at: u32, plane: u32) -> vec3<f32> {
    return vec3<f32>(pixels[at], pixels[at + plane], pixels[at + 2u * plane]);
}

fn store(at: u32, plane: u32, v: vec3<f32>) {
    y[at] = v.x;
    y[at + plane] = v.y;
    y[at + 2u * plane] = v.z;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.total) {
        return;
    }
    let plane = params.width * params.height;
    let image = (index / plane) * 3u * plane;
    let at = vec2<u32>(index % params.width, (index % plane) / params.width);
    var blurred = vec3<f32>(0.0);
    for (var j = 0u; j <= 2u * params.radius; j += 1u) {
        let row = image + mirrored(at.y + j, params.height) * params.width;
        var line = vec3<f32>(0.0);
        for (var i = 0u; i <= 2u * params.radius; i += 1u) {
            line += taps[i] * load(row + mirrored(at.x + i, params.width), plane);
        }
        blurred += taps[j] * line;
    }
    let here = image + index % plane;
    let view = 3u * params.total;
    let v = load(here, plane);
    store(here, plane, v);
    store(view + here, plane, vec3<f32>(dot(GREY, v)));
    store(2u * view + here, plane, blurred);
    store(3u * view + image + (params.height - 1u - at.y) * params.width + at.x, plane, v);
    store(4u * view + image + at.y * params.width + params.width - 1u - at.x, plane, v);
}
