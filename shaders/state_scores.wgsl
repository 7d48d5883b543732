// Probabilities of states: softmax over the labels of cosines divided by a temperature.
//
// cosines [R, L] -> p [R, L], f32. One thread per row: states are few (two in AnoVL).
//
// include: common/index.wgsl

struct Params {
    rows: u32,       // R
    labels: u32,     // L
    temperature: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> cosines: array<f32>;
@group(0) @binding(2) var<storage, read_write> p: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let row = linear_workgroup(group, groups) * 64u + lane;
    if (row >= params.rows) {
        return;
    }
    let base = row * params.labels;
    var largest = cosines[base];
    for (var l = 1u; l < params.labels; l += 1u) {
        largest = max(largest, cosines[base + l]);
    }
    var sum = 0.0;
    for (var l = 0u; l < params.labels; l += 1u) {
        sum += exp((cosines[base + l] - largest) / params.temperature);
    }
    for (var l = 0u; l < params.labels; l += 1u) {
        p[base + l] = exp((cosines[base + l] - largest) / params.temperature) / sum;
    }
}
