// y = sharpness (s - mean of its image), and -1e30 where that is negative: added to scores, it hides what is less alike than usual.
//
// s [B, N, N], mean [B] -> y [B, N, N4], f32; N4 is N rounded up to a multiple of 4, columns beyond N are -1e30.
// One thread per element.
//
// include: common/index.wgsl

struct Params {
    total: u32,     // B N N4
    n: u32,
    padded: u32,    // N4
    sharpness: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> s: array<f32>;
@group(0) @binding(2) var<storage, read> mean: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.total) {
        return;
    }
    let row = index / params.padded;
    let column = index % params.padded;
    var bias = -1.0e30;
    if (column < params.n) {
        let above = s[row * params.n + column] - mean[row / params.n];
        bias = select(params.sharpness * above, -1.0e30, above < 0.0);
    }
    y[index] = bias;
}
