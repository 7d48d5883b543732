// What a first pass found, as a bias for the scores of a second: gain M / max(M), and a window where there is one.
//
// m [B, T, T], the largest value of each of its rows, peaks [B, T], window [T, R] -> bias [B, T, R], T tokens, R at least T.
// Columns beyond T become -1e30: no softmax gives them weight. The maximum is an image's own. One workgroup of 64 per row.
//
// include: common/index.wgsl
// include: common/reduce.wgsl

struct Params {
    rows: u32,           // B T
    tokens: u32,         // T
    wide: u32,           // R
    gain: f32,
    windowed: u32,       // else `window` is not read
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> m: array<f32>;
@group(0) @binding(2) var<storage, read> peaks: array<f32>;
@group(0) @binding(3) var<storage, read> window: array<f32>;
@group(0) @binding(4) var<storage, read_write> bias: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let row = linear_workgroup(group, groups);
    if (row >= params.rows) {
        return;
    }
    let tokens = params.tokens;
    let first = (row / tokens) * tokens;
    var largest = 0.0;
    for (var c = lane; c < tokens; c += 64u) {
        largest = max(largest, peaks[first + c]);
    }
    largest = reduce_max(lane, largest);
    for (var c = lane; c < params.wide; c += 64u) {
        var value = -1.0e30;
        if (c < tokens) {
            value = params.gain * (m[row * tokens + c] / largest);
            if (params.windowed != 0u) {
                value += window[(row % tokens) * params.wide + c];
            }
        }
        bias[row * params.wide + c] = value;
    }
}
