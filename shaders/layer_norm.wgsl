// y = (x - mean) / sqrt(variance + eps) * gain + bias, per row. Biased variance, statistics in f32.
//
// x, class_x [R, C], gain, bias [C] -> y [R, C]
// `merge_tokens` > 0: rows whose index is a multiple of it (the class token of each image) are read from class_x.
// That is the end of CLIP Surgery: patches from the new stream, class token from the ordinary one, without a copy.
// One workgroup of 64 per row; two passes over the row (mean, then variance: no cancellation).
//
// include: common/act_{f32,f16}.wgsl
// include: common/index.wgsl
// include: common/reduce.wgsl

struct Params {
    rows: u32,
    width4: u32,         // C / 4
    eps: f32,
    merge_tokens: u32,   // 1 + N, or 0
    x_row: u32,          // first row of x that is read
    class_row: u32,      // first row of class_x that is read
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Act4>;
@group(0) @binding(2) var<storage, read> class_x: array<Act4>;
@group(0) @binding(3) var<storage, read> gain: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<Act4>;

fn load(from_class: bool, row: u32, column: u32) -> vec4<f32> {
    if (from_class) {
        return widen_act(class_x[(params.class_row + row) * params.width4 + column]);
    }
    return widen_act(x[(params.x_row + row) * params.width4 + column]);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let row = linear_workgroup(group, groups);
    if (row >= params.rows) {
        return;
    }
    let from_class = params.merge_tokens > 0u && row % max(params.merge_tokens, 1u) == 0u;
    let count = f32(params.width4 * 4u);

    var sum = 0.0;
    for (var c = lane; c < params.width4; c += 64u) {
        let v = load(from_class, row, c);
        sum += v.x + v.y + v.z + v.w;
    }
    let mean = reduce_sum(lane, sum) / count;

    var squares = 0.0;
    for (var c = lane; c < params.width4; c += 64u) {
        let d = load(from_class, row, c) - mean;
        squares += dot(d, d);
    }
    let scale = inverseSqrt(reduce_sum(lane, squares) / count + params.eps);

    for (var c = lane; c < params.width4; c += 64u) {
        let v = (load(from_class, row, c) - mean) * scale * gain[c] + bias[c];
        y[row * params.width4 + c] = narrow_act(v);
    }
}
