// y = x + scale other, row by row; or its patches plus the class row of `other`.
//
// x, other [R, C] -> y [R, C]. `class_tokens` > 0 is 1 + N: patches take scale times the class row of their image in `other`, class
// rows of x are copied. One thread per four channels.
//
// include: common/act_{f32,f16}.wgsl
// include: common/index.wgsl

struct Params {
    count4: u32,         // R C / 4
    width4: u32,         // C / 4
    class_tokens: u32,   // 1 + N, or 0
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Act4>;
@group(0) @binding(2) var<storage, read> other: array<Act4>;
@group(0) @binding(3) var<storage, read_write> y: array<Act4>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.count4) {
        return;
    }
    var source = index;
    if (params.class_tokens > 0u) {
        let row = index / params.width4;
        let class_row = row - row % params.class_tokens;
        if (row == class_row) {
            y[index] = x[index];
            return;
        }
        source = class_row * params.width4 + index % params.width4;
    }
    y[index] = narrow_act(widen_act(x[index]) + params.scale * widen_act(other[source]));
}
