// Packed RGBA8 to the model's input: (x / 255 - mean) / std per channel, planes.
//
// rgba [B, H, W] -> pixels [B, 3, H, W] f32. One thread per pixel.
//
// include: common/index.wgsl

struct Params {
    mean: vec4<f32>,
    deviation: vec4<f32>,
    total: u32,      // B H W
    plane: u32,      // H W
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rgba: array<u32>;
@group(0) @binding(2) var<storage, read_write> pixels: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.total) {
        return;
    }
    let c = rgba[index];
    let v = (vec3<f32>(f32(c & 255u), f32((c >> 8u) & 255u), f32((c >> 16u) & 255u)) / 255.0 - params.mean.xyz) / params.deviation.xyz;
    let base = (index / params.plane) * 3u * params.plane + index % params.plane;
    pixels[base] = v.x;
    pixels[base + params.plane] = v.y;
    pixels[base + 2u * params.plane] = v.z;
}
