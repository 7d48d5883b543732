// y = window times scale times the mean of |p_i| |q_j| over all heads and pairs of an image's tokens: a bias of attention
// scores that knows places alone, as large as the scores would be.
//
// qkv [B tokens, 4 stride4], P and Q C columns of it each; window [tokens, R] -> y [B, tokens, R], f32. Padding of the window
// stays as it is. One workgroup of 64 per image.
//
// include: common/act_{f32,f16}.wgsl
// include: common/index.wgsl
// include: common/reduce.wgsl

struct Params {
    images: u32,
    tokens: u32,
    heads: u32,
    head4: u32,      // dh / 4
    stride4: u32,
    p_at4: u32,      // first column of P / 4
    q_at4: u32,
    row: u32,        // R
    scale: f32,
}

// Padding of a bias is as far below; scaled it would overflow.
const PADDING = -1.0e29;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<Act4>;
@group(0) @binding(2) var<storage, read> window: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

fn length_at(at: u32) -> f32 {
    var squares = 0.0;
    for (var c = 0u; c < params.head4; c += 1u) {
        let v = widen_act(qkv[at + c]);
        squares += dot(v, v);
    }
    return sqrt(squares);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let image = linear_workgroup(group, groups);
    if (image >= params.images) {
        return;
    }
    // The mean over pairs is the product of the means.
    var mean = 0.0;
    for (var head = 0u; head < params.heads; head += 1u) {
        var p = 0.0;
        var q = 0.0;
        for (var token = lane; token < params.tokens; token += 64u) {
            let at = (image * params.tokens + token) * params.stride4 + head * params.head4;
            p += length_at(at + params.p_at4);
            q += length_at(at + params.q_at4);
        }
        mean += reduce_sum(lane, p) * reduce_sum(lane, q);
    }
    let factor = params.scale * mean / (f32(params.heads) * f32(params.tokens) * f32(params.tokens));
    let count = params.tokens * params.row;
    for (var i = lane; i < count; i += 64u) {
        let w = window[i];
        y[image * count + i] = select(w * factor, w, w < PADDING);
    }
}
