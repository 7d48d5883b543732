// y = mean over the k nearest other points of radius / their radius: above 1 where a point lies in a thinner place than they.
//
// distances [B, N, N], symmetric; radii [B, N], the distance to the k-th nearest -> y [B, N], f32. A local outlier factor with the
// point's own radius as reach, as SC-CLIP computes it. Of points at the same distance the lowest index counts first. Radii
// count as at least 1e-20: points that coincide have ratio 1. One thread per point, which reads its column.
//
// include: common/index.wgsl

struct Params {
    count: u32,   // B N
    n: u32,
    k: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> distances: array<f32>;
@group(0) @binding(2) var<storage, read> radii: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.count) {
        return;
    }
    let point = index % params.n;
    let image = index / params.n;
    let base = image * params.n * params.n + point;
    let radius = radii[index];
    var nearer = 0u;
    for (var j = 0u; j < params.n; j += 1u) {
        nearer += select(0u, 1u, j != point && distances[base + j * params.n] < radius);
    }
    var ties = params.k - min(nearer, params.k);
    var sum = 0.0;
    for (var j = 0u; j < params.n; j += 1u) {
        let distance = distances[base + j * params.n];
        let tie = distance == radius && ties > 0u;
        if (j != point && (distance < radius || tie)) {
            ties -= select(0u, 1u, tie);
            sum += max(radius, 1.0e-20) / max(radii[image * params.n + j], 1.0e-20);
        }
    }
    y[index] = sum / f32(params.k);
}
