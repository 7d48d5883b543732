// y[i] = x[rows[i]]: the end-of-text rows of packed texts.
//
// x [T, C], rows [S] -> y [S, C]. One thread per four channels.
//
// include: common/act_{f32,f16}.wgsl
// include: common/index.wgsl

struct Params {
    count4: u32,     // S C / 4
    width4: u32,     // C / 4
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Act4>;
@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<Act4>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.count4) {
        return;
    }
    y[index] = x[rows[index / params.width4] * params.width4 + index % params.width4];
}
