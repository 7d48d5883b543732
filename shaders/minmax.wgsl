// Each map to 0..1 over its patches; a constant map becomes all zeros.
//
// s [B, 1 + N, L], class row first -> maps [B, L, N]. One workgroup of 64 per image and label.
//
// include: common/index.wgsl
// include: common/reduce.wgsl

struct Params {
    maps: u32,       // B L
    tokens: u32,     // 1 + N
    labels: u32,     // L
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> s: array<f32>;
@group(0) @binding(2) var<storage, read_write> maps: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let map = linear_workgroup(group, groups);
    if (map >= params.maps) {
        return;
    }
    let patches = params.tokens - 1u;
    let first = (map / params.labels) * params.tokens + 1u;
    let label = map % params.labels;
    var lowest = 3.0e38;
    var highest = -3.0e38;
    for (var n = lane; n < patches; n += 64u) {
        let v = s[(first + n) * params.labels + label];
        lowest = min(lowest, v);
        highest = max(highest, v);
    }
    lowest = -reduce_max(lane, -lowest);
    highest = reduce_max(lane, highest);
    let range = highest - lowest;
    for (var n = lane; n < patches; n += 64u) {
        let v = s[(first + n) * params.labels + label];
        // Not `range > 0.0`: a map of NaN must stay NaN, and not turn into zeros.
        maps[map * patches + n] = select((v - lowest) / range, 0.0, range == 0.0);
    }
}
