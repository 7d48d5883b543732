// y = factor x / |x| for every head of a row: `size` consecutive channels. A head of zeros stays zero.
//
// x [T, K], factor [images] -> y [T, K], stored as x is. Rows of image i take factor[i], or 1 without `scaled`.
// One thread per head of a row. The length is at least 1e-12, as in the originals.
//
// include: common/act_{f32,f16}.wgsl
// include: common/index.wgsl

struct Params {
    count: u32,        // heads of all rows, T K / size
    head4: u32,        // size / 4
    image_heads: u32,  // heads of an image's rows
    scaled: u32,       // 1: factor is read
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Act4>;
@group(0) @binding(2) var<storage, read> factor: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<Act4>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.count) {
        return;
    }
    let base = index * params.head4;
    var squares = 0.0;
    for (var c = 0u; c < params.head4; c += 1u) {
        let v = widen_act(x[base + c]);
        squares += dot(v, v);
    }
    var scale = 1.0 / max(sqrt(squares), 1.0e-12);
    if (params.scaled > 0u) {
        scale *= factor[index / params.image_heads];
    }
    for (var c = 0u; c < params.head4; c += 1u) {
        y[base + c] = narrow_act(widen_act(x[base + c]) * scale);
    }
}
