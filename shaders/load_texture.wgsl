// A host's texture as packed RGBA8 pixels, so that everything behind it is the same as for a buffer.
//
// source: any filterable or unfilterable float texture in 0..1, W x H -> pixels [H, W]. One thread per pixel.
// An sRGB view arrives linearised: hosts pass a non-sRGB view, because CLIP wants the encoded values.
//
// include: common/index.wgsl

struct Params {
    width: u32,
    pixels: u32,     // H W
    offset: u32,     // first pixel of this image in the batch
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var source: texture_2d<f32>;
@group(0) @binding(2) var<storage, read_write> pixels: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.pixels) {
        return;
    }
    let at = vec2<u32>(index % params.width, index / params.width);
    pixels[params.offset + index] = pack4x8unorm(textureLoad(source, at, 0));
}
