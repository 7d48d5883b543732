// y = 1 where a score is above a quantile of its image's scores, else 0.
//
// scores [B, N], not negative -> y [B, N], u32. The quantile lies `fraction` of the way from the value of rank `rank` (from 0) to the
// next one. One workgroup of 64 per image. The value is found digit by digit, six bits each (non-negative floats are ordered
// like their bits): thread m counts the scores below the digit m + 1.
//
// include: common/index.wgsl
// include: common/reduce.wgsl

struct Params {
    images: u32,
    n: u32,
    rank: u32,
    fraction: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> scores: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let image = linear_workgroup(group, groups);
    if (image >= params.images) {
        return;
    }
    let base = image * params.n;
    var known = 0u;
    // The sign is zero: 31 bits, of which the first pass finds one.
    for (var shift = 36u; shift > 0u;) {
        shift -= 6u;
        let threshold = known + ((lane + 1u) << shift);
        var below = 0u;
        for (var j = 0u; j < params.n; j += 1u) {
            below += select(0u, 1u, bitcast<u32>(scores[base + j]) < threshold);
        }
        // Digit 63 has no threshold above it, and digits of the first pass no place beyond bit 31.
        let reached = lane < 63u && (shift < 30u || lane == 0u) && below <= params.rank;
        known += u32(reduce_sum(lane, select(0.0, 1.0, reached))) << shift;
    }
    let low = bitcast<f32>(known);
    // The value of the next rank: the same one again, or the smallest above it.
    var through = 0.0;
    var next = -1.0e38;
    for (var j = lane; j < params.n; j += 64u) {
        let score = scores[base + j];
        through += select(0.0, 1.0, score <= low);
        next = max(next, select(-1.0e38, -score, score > low));
    }
    let again = u32(reduce_sum(lane, through)) > params.rank + 1u;
    let above = -reduce_max(lane, next);
    var quantile = low;
    if (!again && params.fraction > 0.0) {
        quantile = low + params.fraction * (above - low);
    }
    for (var j = lane; j < params.n; j += 64u) {
        y[base + j] = select(0u, 1u, scores[base + j] > quantile);
    }
}
