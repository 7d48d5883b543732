// One axis of Pillow's antialiased bicubic resize on 8-bit samples, in its fixed-point arithmetic: exact.
//
// src [outer, input, inner] packed RGBA8 -> dst [outer, output, inner]. taps: first source index per output;
// weights [output, taps], 22-bit fixed point, zero-padded. Horizontal: outer = B H, inner = 1. Vertical: outer = B,
// inner = W. Each axis rounds and clips to 8 bits, horizontal first, as Pillow does. One thread per output pixel.
//
// include: common/index.wgsl

struct Params {
    total: u32,      // outer output inner
    input: u32,
    output: u32,
    inner: u32,
    taps: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> src: array<u32>;
@group(0) @binding(2) var<storage, read> first: array<u32>;
@group(0) @binding(3) var<storage, read> weights: array<i32>;
@group(0) @binding(4) var<storage, read_write> dst: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.total) {
        return;
    }
    let i = index % params.inner;
    let at = (index / params.inner) % params.output;
    let outer = index / (params.inner * params.output);
    var sum = vec4<i32>(1 << 21);
    for (var t = 0u; t < params.taps; t += 1u) {
        // Padding taps have weight 0 and may lie beyond the row.
        let source = min(first[at] + t, params.input - 1u);
        let pixel = src[(outer * params.input + source) * params.inner + i];
        let w = weights[at * params.taps + t];
        sum += w * vec4<i32>(i32(pixel & 255u), i32((pixel >> 8u) & 255u), i32((pixel >> 16u) & 255u), i32(pixel >> 24u));
    }
    let c = vec4<u32>(clamp(sum >> vec4<u32>(22u), vec4<i32>(0), vec4<i32>(255)));
    dst[index] = c.x | (c.y << 8u) | (c.z << 16u) | (c.w << 24u);
}
