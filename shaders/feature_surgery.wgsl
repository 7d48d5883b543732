// Removal of what all labels share (CLIP Surgery), in its collapsed form: no [N, L, D] tensor.
//
// cosines [B, 1 + N, W] -> s [B, 1 + N, L], class row first in both.
// `reference` = 0, W = L: w = softmax over labels of (sharpness cos[class row]) / its mean, per image;
//     s[i, c] = w_c cos[i, c] - mean over k of w_k cos[i, k]   (minuend unweighted if weight_minuend = 0)
// `reference` = 1, W = L + 1: the last column is the text to subtract (the empty string);
//     s[i, c] = cos[i, c] - cos[i, L]
// One workgroup of 64 per row; the weights of the image are summed again for each row, which costs as much as the row.
//
// include: common/index.wgsl
// include: common/reduce.wgsl

struct Params {
    rows: u32,              // B (1 + N)
    tokens: u32,            // 1 + N
    labels: u32,            // L
    width: u32,             // W
    sharpness: f32,         // 2 in the original, not the logit scale
    weight_minuend: u32,
    reference: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> cosines: array<f32>;
@group(0) @binding(2) var<storage, read_write> s: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let row = linear_workgroup(group, groups);
    if (row >= params.rows) {
        return;
    }
    let base = row * params.width;
    if (params.reference != 0u) {
        let shared_part = cosines[base + params.labels];
        for (var c = lane; c < params.labels; c += 64u) {
            s[row * params.labels + c] = cosines[base + c] - shared_part;
        }
        return;
    }

    let class_row = (row / params.tokens) * params.tokens * params.width;
    var largest = -3.0e38;
    for (var c = lane; c < params.labels; c += 64u) {
        largest = max(largest, params.sharpness * cosines[class_row + c]);
    }
    largest = reduce_max(lane, largest);
    // w_c = e_c L / sum e, so the mean over labels of w cos is (sum of e cos) / (sum of e).
    var sum = 0.0;
    var weighted = 0.0;
    for (var c = lane; c < params.labels; c += 64u) {
        let e = exp(params.sharpness * cosines[class_row + c] - largest);
        sum += e;
        weighted += e * cosines[base + c];
    }
    sum = reduce_sum(lane, sum);
    let shared_part = reduce_sum(lane, weighted) / sum;
    for (var c = lane; c < params.labels; c += 64u) {
        let e = exp(params.sharpness * cosines[class_row + c] - largest);
        let w = select(1.0, e * f32(params.labels) / sum, params.weight_minuend != 0u);
        s[row * params.labels + c] = w * cosines[base + c] - shared_part;
    }
}
