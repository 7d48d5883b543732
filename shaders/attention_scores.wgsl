// s = scale P Q^T per head, for maps that leave the GPU or are mixed before the softmax. Attention itself streams.
//
// qkv [B N, 3 C], B sequences of N tokens, P and Q any of q, k, v -> scores [B, H, N, N]. Causal: -1e30 right of the diagonal.
// One thread per score.
//
// include: common/act_{f32,f16}.wgsl
// include: common/index.wgsl

struct Params {
    tokens: u32,     // N
    heads: u32,      // H
    head4: u32,      // dh / 4
    width4: u32,     // C / 4
    scale: f32,
    causal: u32,
    query: u32,      // 0 query, 1 key, 2 value: what plays P
    key: u32,        // and Q
    total: u32,      // B H N N
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<Act4>;
@group(0) @binding(2) var<storage, read_write> scores: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.total) {
        return;
    }
    let key = index % params.tokens;
    let query = (index / params.tokens) % params.tokens;
    let head = (index / (params.tokens * params.tokens)) % params.heads;
    let image = index / (params.tokens * params.tokens * params.heads);
    let stride = 3u * params.width4;
    let p = (image * params.tokens + query) * stride + params.query * params.width4 + head * params.head4;
    let q = (image * params.tokens + key) * stride + params.key * params.width4 + head * params.head4;
    var sum = 0.0;
    for (var c = 0u; c < params.head4; c += 1u) {
        sum += dot(widen_act(qkv[p + c]), widen_act(qkv[q + c]));
    }
    scores[index] = select(sum * params.scale, -1.0e30, params.causal != 0u && key > query);
}
