// A map as JET colours over its image, straight into a texture that a host can draw. One call per map: `plane` picks it.
//
// maps [P, H, W] in 0..1, image [H, W] packed RGBA8 -> out, rgba8unorm, W x H. One thread per pixel.
//
// include: common/index.wgsl
// include: common/jet.wgsl

struct Params {
    width: u32,
    pixels: u32,     // H W
    plane: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> maps: array<f32>;
@group(0) @binding(2) var<storage, read> image: array<u32>;
@group(0) @binding(3) var out: texture_storage_2d<rgba8unorm, write>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.pixels) {
        return;
    }
    let c = blend(image[index], maps[params.plane * params.pixels + index]);
    let at = vec2<u32>(index % params.width, index / params.width);
    textureStore(out, at, vec4<f32>(vec3<f32>(c) / 255.0, 1.0));
}
