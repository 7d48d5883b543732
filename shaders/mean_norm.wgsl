// y = scale times the mean length of an image's rows, or the root of that.
//
// x [B tokens, C] -> y [B], f32. One workgroup of 64 per image; a thread takes every 64th row.
//
// include: common/act_{f32,f16}.wgsl
// include: common/index.wgsl
// include: common/reduce.wgsl

struct Params {
    images: u32,
    tokens: u32,
    width4: u32,   // C / 4
    root: u32,     // 1: the square root of the result
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Act4>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let image = linear_workgroup(group, groups);
    if (image >= params.images) {
        return;
    }
    var lengths = 0.0;
    for (var row = lane; row < params.tokens; row += 64u) {
        let base = (image * params.tokens + row) * params.width4;
        var squares = 0.0;
        for (var c = 0u; c < params.width4; c += 1u) {
            let v = widen_act(x[base + c]);
            squares += dot(v, v);
        }
        lengths += sqrt(squares);
    }
    let mean = params.scale * reduce_sum(lane, lengths) / f32(params.tokens);
    if (lane == 0u) {
        y[image] = select(mean, sqrt(mean), params.root > 0u);
    }
}
