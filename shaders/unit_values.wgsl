// q, k, v and, beside them, the values of each head divided by their length: u = length v / (|v| + 1e-6).
//
// qkv [T, 3 C] -> y [T, 4 C], columns [q | k | v | u]; head a owns channels a dh .. (a + 1) dh of each. `length` is the
// length of every u. One thread per head of a row.
//
// include: common/act_{f32,f16}.wgsl
// include: common/index.wgsl

struct Params {
    count: u32,    // T H
    heads: u32,    // H
    head4: u32,    // dh / 4
    length: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<Act4>;
@group(0) @binding(2) var<storage, read_write> y: array<Act4>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.count) {
        return;
    }
    let width4 = params.heads * params.head4;
    let row = index / params.heads;
    let head = index % params.heads * params.head4;
    let take = row * 3u * width4 + head;
    let put = row * 4u * width4 + head;
    var squares = 0.0;
    for (var c = 0u; c < params.head4; c += 1u) {
        y[put + c] = qkv[take + c];
        y[put + width4 + c] = qkv[take + width4 + c];
        let v = qkv[take + 2u * width4 + c];
        y[put + 2u * width4 + c] = v;
        let wide = widen_act(v);
        squares += dot(wide, wide);
    }
    let scale = params.length / (sqrt(squares) + 1.0e-6);
    for (var c = 0u; c < params.head4; c += 1u) {
        y[put + 3u * width4 + c] = narrow_act(widen_act(qkv[take + 2u * width4 + c]) * scale);
    }
}
