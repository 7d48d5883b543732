// JET colours of a map blended over its image: 0.4 image + 0.6 colour.
//
// map [H, W] in 0..1, image [H, W] packed RGBA8 -> out [H, W] packed RGBA8, opaque. One thread per pixel.
//
// include: common/index.wgsl
// include: common/jet.wgsl

struct Params {
    pixels: u32,     // H W
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> map: array<f32>;
@group(0) @binding(2) var<storage, read> image: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.pixels) {
        return;
    }
    let c = blend(image[index], map[index]);
    out[index] = u32(c.x) | (u32(c.y) << 8u) | (u32(c.z) << 16u) | 0xff000000u;
}
