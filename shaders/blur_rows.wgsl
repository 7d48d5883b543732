// Each row blurred along its length and divided by its sum, with a class token's row and column of zeros in front.
//
// same [B, N, N], not negative, taps [K], K odd -> m [B, 1 + N, 1 + N] and the largest value of each row, peaks [B, 1 + N].
// Zeros beyond the ends of a row. One workgroup of 64 per row of m.
//
// include: common/index.wgsl
// include: common/reduce.wgsl

struct Params {
    rows: u32,           // B (1 + N)
    patches: u32,        // N
    taps: u32,           // K
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> same: array<f32>;
@group(0) @binding(2) var<storage, read> taps: array<f32>;
@group(0) @binding(3) var<storage, read_write> m: array<f32>;
@group(0) @binding(4) var<storage, read_write> peaks: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let row = linear_workgroup(group, groups);
    if (row >= params.rows) {
        return;
    }
    let patches = params.patches;
    let tokens = patches + 1u;
    let out = row * tokens;
    if (row % tokens == 0u) {
        for (var c = lane; c < tokens; c += 64u) {
            m[out + c] = 0.0;
        }
        if (lane == 0u) {
            peaks[row] = 0.0;
        }
        return;
    }
    let base = ((row / tokens) * patches + row % tokens - 1u) * patches;
    let half = params.taps / 2u;
    var sum = 0.0;
    var peak = 0.0;
    for (var j = lane; j < patches; j += 64u) {
        var value = 0.0;
        let end = min(params.taps, patches + half - j);
        for (var t = half - min(half, j); t < end; t += 1u) {
            value += taps[t] * same[base + j + t - half];
        }
        m[out + 1u + j] = value;
        sum += value;
        peak = max(peak, value);
    }
    sum = reduce_sum(lane, sum) + 1e-8;
    peak = reduce_max(lane, peak);
    // Each thread reads again what it wrote itself.
    for (var j = lane; j < patches; j += 64u) {
        m[out + 1u + j] /= sum;
    }
    if (lane == 0u) {
        m[out] = 0.0;
        peaks[row] = peak / sum;
    }
}
