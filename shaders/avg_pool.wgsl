// y = mean of 2 x 2 pixels, stride 2: the anti-aliased stride of CLIP's ResNets. An odd last row or column is dropped.
//
// x [B H W, C] -> y [B (H / 2) (W / 2), C]. One thread per four channels of an output pixel.
//
// include: common/act_{f32,f16}.wgsl
// include: common/index.wgsl

struct Params {
    count4: u32,       // B (H / 2) (W / 2) C / 4
    width4: u32,       // C / 4
    map_width: u32,    // W
    map_height: u32,   // H
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
    let half_width = params.map_width / 2u;
    let half_height = params.map_height / 2u;
    let pixel = index / params.width4;
    let line = pixel / half_width;
    let image = line / half_height;
    let corner = (image * params.map_height + line % half_height * 2u) * params.map_width + pixel % half_width * 2u;
    let at = corner * params.width4 + index % params.width4;
    let below = at + params.map_width * params.width4;
    let upper = widen_act(x[at]) + widen_act(x[at + params.width4]);
    let lower = widen_act(x[below]) + widen_act(x[below + params.width4]);
    y[index] = narrow_act((upper + lower) * 0.25);
}
