// y = 8 chains z <- z scale + x from z = x, x + 1, .. x + 7, summed: nothing but multiply-adds, to see how many a device does.
//
// x [T] -> y [T]. One thread per element. 8 chains hide the latency of one another, and with x and the scale they fit into the 16
// registers that a CPU has; on a GPU, workgroups hide the rest. A round is 32 links of each chain, written out so that the loop itself
// weighs nothing: 2 x 8 x 32 operations.
//
// include: common/index.wgsl

struct Params {
    count: u32,      // T
    rounds: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

fn four_links(z: vec4<f32>, s: vec4<f32>, x: vec4<f32>) -> vec4<f32> {
    return fma(fma(fma(fma(z, s, x), s, x), s, x), s, x);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.count) {
        return;
    }
    let v = vec4(x[index]);
    let s = vec4(params.scale);
    var a = v + vec4(0.0, 1.0, 2.0, 3.0);
    var b = v + vec4(4.0, 5.0, 6.0, 7.0);
    for (var round = 0u; round < params.rounds; round++) {
        a = four_links(a, s, v);
        b = four_links(b, s, v);
        a = four_links(a, s, v);
        b = four_links(b, s, v);
        a = four_links(a, s, v);
        b = four_links(b, s, v);
        a = four_links(a, s, v);
        b = four_links(b, s, v);
        a = four_links(a, s, v);
        b = four_links(b, s, v);
        a = four_links(a, s, v);
        b = four_links(b, s, v);
        a = four_links(a, s, v);
        b = four_links(b, s, v);
        a = four_links(a, s, v);
        b = four_links(b, s, v);
    }
    let sums = a + b;
    y[index] = (sums.x + sums.y) + (sums.z + sums.w);
}
