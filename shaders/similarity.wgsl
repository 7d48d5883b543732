// s = F T^T: cosines of unit image features and unit label embeddings.
//
// features [R, D], labels [L, D] -> s [R, L], any L. One thread makes 4 rows x 4 labels; loads are clamped at the edges.
//
// include: common/index.wgsl

struct Params {
    rows: u32,
    labels: u32,
    width4: u32,     // D / 4
    tiles: u32,      // ceil(L / 4)
    total: u32,      // ceil(R / 4) * tiles
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> features: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> labels: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> s: array<f32>;

fn store(row: u32, label: u32, v: vec4<f32>) {
    if (row >= params.rows) {
        return;
    }
    for (var j = 0u; j < min(4u, params.labels - label); j += 1u) {
        s[row * params.labels + label + j] = v[j];
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.total) {
        return;
    }
    let row = (index / params.tiles) * 4u;
    let label = (index % params.tiles) * 4u;
    let f = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.rows - 1u)) * params.width4;
    let t = min(vec4<u32>(label) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.labels - 1u)) * params.width4;
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    var s2 = vec4<f32>(0.0);
    var s3 = vec4<f32>(0.0);
    for (var c = 0u; c < params.width4; c += 1u) {
        let b = mat4x4<f32>(labels[t.x + c], labels[t.y + c], labels[t.z + c], labels[t.w + c]);
        s0 += features[f.x + c] * b;
        s1 += features[f.y + c] * b;
        s2 += features[f.z + c] * b;
        s3 += features[f.w + c] * b;
    }
    store(row, label, s0);
    store(row + 1u, label, s1);
    store(row + 2u, label, s2);
    store(row + 3u, label, s3);
}
