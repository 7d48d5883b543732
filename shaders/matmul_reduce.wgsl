// y = activation(sum over S of partial + bias) + residual: the second half of a product whose K was cut
//
// partial [S, M, N] f32, the sums of each slice, added in their order, so that the same product gives the same bits; bias and
// residuals as in common/matmul_operands.wgsl -> y [M, N]. One thread for four columns of a row.
//
// include: common/act_{f32,f16}.wgsl
// include: common/matmul_finish.wgsl
// include: common/gelu.wgsl
// include: common/index.wgsl

struct Params {
    m: u32,
    n4: u32,             // N / 4
    slices: u32,
    activation: u32,
    has_bias: u32,       // as in common/matmul_operands.wgsl
    has_residual: u32,
    split: u32,
    rest_row: u32,
    relu_last: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> residual: array<Act4>;
@group(0) @binding(4) var<storage, read> residual_rest: array<Act4>;
@group(0) @binding(5) var<storage, read_write> y: array<Act4>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = linear_workgroup(group, groups) * 64u + lane;
    let count = params.m * params.n4;
    if (i >= count) {
        return;
    }
    var sum = partial[i];
    for (var s = 1u; s < params.slices; s += 1u) {
        sum += partial[s * count + i];
    }
    finish(i / params.n4, i % params.n4, sum);
}
