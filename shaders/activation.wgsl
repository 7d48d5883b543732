// y = QuickGELU(x), exact GELU(x) or ReLU(x), element by element. In the towers it is fused into `matmul`; this is the kernel alone.
//
// x [.., C] -> y [.., C]. One thread per four elements.
//
// include: common/act_{f32,f16}.wgsl
// include: common/gelu.wgsl
// include: common/index.wgsl

struct Params {
    count4: u32,
    kind: u32,   // as in `activate`
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Act4>;
@group(0) @binding(2) var<storage, read_write> y: array<Act4>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.count4) {
        return;
    }
    y[index] = narrow_act(activate(params.kind, widen_act(x[index])));
}
