// One axis of Pillow's antialiased bicubic resize on 8-bit samples, in its fixed-point arithmetic: exact.
//
// src [outer, input, inner] packed RGBA8 -> dst [outer, output, inner]. taps: first source index per output;
// weights [output, taps], 22-bit fixed point, zero-padded. Horizontal: outer = B H, inner = 1. Vertical: outer = B,
// inner = W. Each axis rounds and clips to 8 bits, horizontal first, as Pillow does.
// A thread makes eight pixels of the same weights: of neighbouring columns, or rows where inner is 1.
//
// include: common/index.wgsl

struct Params {
    total: u32,      // threads: outer output inner, of outer (inner 1) or inner an eighth, rounded up
    input: u32,
    output: u32,
    inner: u32,
    outer: u32,
    taps: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> src: array<u32>;
@group(0) @binding(2) var<storage, read> first: array<u32>;
@group(0) @binding(3) var<storage, read> weights: array<i32>;
@group(0) @binding(4) var<storage, read_write> dst: array<u32>;

fn add(sum: vec4<i32>, weight: i32, pixel: u32) -> vec4<i32> {
    return sum + weight * vec4<i32>(i32(pixel & 255u), i32((pixel >> 8u) & 255u), i32((pixel >> 16u) & 255u), i32(pixel >> 24u));
}

fn store(at: u32, sum: vec4<i32>) {
    let c = vec4<u32>(clamp(sum >> vec4<u32>(22u), vec4<i32>(0), vec4<i32>(255)));
    dst[at] = c.x | (c.y << 8u) | (c.z << 16u) | (c.w << 24u);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.total) {
        return;
    }
    // Neighbouring threads lie along the row, whichever axis it is.
    let rows = params.inner == 1u;
    let side = select((params.inner + 7u) / 8u, 1u, rows);
    let at = index / side % params.output;
    let line = index / (side * params.output);
    let i = index % side * 8u;
    let outer = select(line, line * 8u, rows);
    let count = select(min(8u, params.inner - i), min(8u, params.outer - outer), rows);
    let from_step = select(1u, params.input, rows);
    let to_step = select(1u, params.output, rows);
    // Those behind the last are the last once more.
    let e1 = min(1u, count - 1u) * from_step;
    let e2 = min(2u, count - 1u) * from_step;
    let e3 = min(3u, count - 1u) * from_step;
    let e4 = min(4u, count - 1u) * from_step;
    let e5 = min(5u, count - 1u) * from_step;
    let e6 = min(6u, count - 1u) * from_step;
    let e7 = min(7u, count - 1u) * from_step;
    var sum0 = vec4<i32>(1 << 21);
    var sum1 = vec4<i32>(1 << 21);
    var sum2 = vec4<i32>(1 << 21);
    var sum3 = vec4<i32>(1 << 21);
    var sum4 = vec4<i32>(1 << 21);
    var sum5 = vec4<i32>(1 << 21);
    var sum6 = vec4<i32>(1 << 21);
    var sum7 = vec4<i32>(1 << 21);
    let begin = first[at];
    for (var t = 0u; t < params.taps; t += 1u) {
        // Padding taps have weight 0 and may lie beyond the row.
        let source = min(begin + t, params.input - 1u);
        let from_here = (outer * params.input + source) * params.inner + i;
        let w = weights[at * params.taps + t];
        sum0 = add(sum0, w, src[from_here]);
        sum1 = add(sum1, w, src[from_here + e1]);
        sum2 = add(sum2, w, src[from_here + e2]);
        sum3 = add(sum3, w, src[from_here + e3]);
        sum4 = add(sum4, w, src[from_here + e4]);
        sum5 = add(sum5, w, src[from_here + e5]);
        sum6 = add(sum6, w, src[from_here + e6]);
        sum7 = add(sum7, w, src[from_here + e7]);
    }
    let to = (outer * params.output + at) * params.inner + i;
    store(to, sum0);
    if (count > 1u) { store(to + to_step, sum1); }
    if (count > 2u) { store(to + 2u * to_step, sum2); }
    if (count > 3u) { store(to + 3u * to_step, sum3); }
    if (count > 4u) { store(to + 4u * to_step, sum4); }
    if (count > 5u) { store(to + 5u * to_step, sum5); }
    if (count > 6u) { store(to + 6u * to_step, sum6); }
    if (count > 7u) { store(to + 7u * to_step, sum7); }
}
