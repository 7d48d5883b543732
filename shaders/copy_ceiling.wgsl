// y = x, four words a thread: to see how many bytes a second a kernel can read and write on a device.
//
// x [R, 4] -> y [R, 4]. Neighbouring threads copy neighbouring vectors.
//
// include: common/index.wgsl

struct Params {
    count: u32,      // R
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u32>>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 256u + lane;
    if (index < params.count) {
        y[index] = x[index];
    }
}
