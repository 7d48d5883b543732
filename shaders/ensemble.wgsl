// Prompt ensemble: per label the mean of its prompt embeddings, made a unit vector.
//
// x [L M, D], label by label, unit rows (CLIP) or not (AnoVL) -> y [L, D] unit rows. One workgroup of 64 per label.
//
// include: common/index.wgsl
// include: common/reduce.wgsl

struct Params {
    labels: u32,     // L
    templates: u32,  // M
    width4: u32,     // D / 4
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

fn mean(label: u32, c: u32) -> vec4<f32> {
    var sum = vec4<f32>(0.0);
    for (var t = 0u; t < params.templates; t += 1u) {
        sum += x[(label * params.templates + t) * params.width4 + c];
    }
    return sum / f32(params.templates);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let label = linear_workgroup(group, groups);
    if (label >= params.labels) {
        return;
    }
    var squares = 0.0;
    for (var c = lane; c < params.width4; c += 64u) {
        let v = mean(label, c);
        y[label * params.width4 + c] = v;
        squares += dot(v, v);
    }
    squares = reduce_sum(lane, squares);
    let scale = select(0.0, inverseSqrt(squares), squares > 0.0);
    // Each thread rescales what it wrote itself: no other thread's data is read.
    for (var c = lane; c < params.width4; c += 64u) {
        y[label * params.width4 + c] *= scale;
    }
}
