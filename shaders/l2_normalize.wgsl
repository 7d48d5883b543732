// y = x / |x| per row; a zero row stays zero.
//
// x [R, D] -> y [R, D], f32 (similarities are never stored in half). One workgroup of 64 per row.
//
// include: common/act_{f32,f16}.wgsl
// include: common/index.wgsl
// include: common/reduce.wgsl

struct Params {
    rows: u32,
    width4: u32,     // D / 4
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Act4>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let row = linear_workgroup(group, groups);
    if (row >= params.rows) {
        return;
    }
    let base = row * params.width4;
    var squares = 0.0;
    for (var c = lane; c < params.width4; c += 64u) {
        let v = widen_act(x[base + c]);
        squares += dot(v, v);
    }
    squares = reduce_sum(lane, squares);
    let scale = select(0.0, inverseSqrt(squares), squares > 0.0);
    for (var c = lane; c < params.width4; c += 64u) {
        y[base + c] = widen_act(x[base + c]) * scale;
    }
}
