// y = a / (sum of a + 1e-6) per row, a = s where it is at least beta, else 0: how patches take from each other.
//
// s [R, N] -> y [R, N4], f32; N4 is N rounded up to a multiple of 4, columns beyond N are 0. One workgroup of 64 per row.
//
// include: common/index.wgsl
// include: common/reduce.wgsl

struct Params {
    rows: u32,
    n: u32,
    padded: u32,   // N4
    beta: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> s: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let row = linear_workgroup(group, groups);
    if (row >= params.rows) {
        return;
    }
    let base = row * params.n;
    var sum = 0.0;
    for (var c = lane; c < params.n; c += 64u) {
        let v = s[base + c];
        sum += select(v, 0.0, v < params.beta);
    }
    let total = reduce_sum(lane, sum) + 1.0e-6;
    for (var c = lane; c < params.padded; c += 64u) {
        var v = 0.0;
        if (c < params.n) {
            v = s[base + c];
        }
        y[row * params.padded + c] = select(v, 0.0, v < params.beta || c >= params.n) / total;
    }
}
