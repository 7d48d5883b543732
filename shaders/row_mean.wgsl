// y = mean of each row.
//
// x [R, W] -> y [R], f32. One workgroup of 64 per row.
//
// include: common/index.wgsl
// include: common/reduce.wgsl

struct Params {
    rows: u32,
    width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let row = linear_workgroup(group, groups);
    if (row >= params.rows) {
        return;
    }
    var sum = 0.0;
    for (var c = lane; c < params.width; c += 64u) {
        sum += x[row * params.width + c];
    }
    let total = reduce_sum(lane, sum);
    if (lane == 0u) {
        y[row] = total / f32(params.width);
    }
}
