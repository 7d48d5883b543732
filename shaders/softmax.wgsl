// p = exp(x - max) / sum of exp(x - max), per row.
//
// x [R, W] -> p [R, W], f32. One workgroup of 64 per row.
//
// include: common/index.wgsl
// include: common/reduce.wgsl

struct Params {
    rows: u32,
    width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> p: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let row = linear_workgroup(group, groups);
    if (row >= params.rows) {
        return;
    }
    let base = row * params.width;
    var largest = -3.0e38;
    for (var c = lane; c < params.width; c += 64u) {
        largest = max(largest, x[base + c]);
    }
    largest = reduce_max(lane, largest);
    var sum = 0.0;
    for (var c = lane; c < params.width; c += 64u) {
        sum += exp(x[base + c] - largest);
    }
    sum = reduce_sum(lane, sum);
    for (var c = lane; c < params.width; c += 64u) {
        p[base + c] = exp(x[base + c] - largest) / sum;
    }
}
