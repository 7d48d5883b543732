// y = distance of each point to its k-th nearest other one.
//
// distances [B, N, N], not negative, symmetric -> y [B, N], f32. One thread per point; it reads its column, which lies side by
// side with those of its neighbours. Non-negative floats are ordered like their bits, so the k-th smallest is found digit
// by digit: eight passes over the row, four bits each. A pass counts what lies below each of the 15 digits.
//
// include: common/index.wgsl

struct Params {
    count: u32,   // B N
    n: u32,
    k: u32,       // 1 .. N - 1
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> distances: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.count) {
        return;
    }
    let point = index % params.n;
    let base = index / params.n * params.n * params.n + point;
    var known = 0u;
    for (var pass_index = 0u; pass_index < 8u; pass_index += 1u) {
        let shift = 28u - 4u * pass_index;
        let t0 = known + (vec4<u32>(1u, 2u, 3u, 4u) << vec4<u32>(shift));
        let t1 = known + (vec4<u32>(5u, 6u, 7u, 8u) << vec4<u32>(shift));
        let t2 = known + (vec4<u32>(9u, 10u, 11u, 12u) << vec4<u32>(shift));
        let t3 = known + (vec4<u32>(13u, 14u, 15u, 15u) << vec4<u32>(shift));
        var below0 = vec4<u32>(0u);
        var below1 = vec4<u32>(0u);
        var below2 = vec4<u32>(0u);
        var below3 = vec4<u32>(0u);
        for (var j = 0u; j < params.n; j += 1u) {
            // The point itself is farther than anything.
            let bits = vec4<u32>(select(bitcast<u32>(distances[base + j * params.n]), 0xffffffffu, j == point));
            below0 += vec4<u32>(bits < t0);
            below1 += vec4<u32>(bits < t1);
            below2 += vec4<u32>(bits < t2);
            below3 += vec4<u32>(bits < t3);
        }
        // The digit: how many thresholds have fewer than k below them. The last one is there twice.
        let k = vec4<u32>(params.k);
        let reached = vec4<u32>(below0 < k) + vec4<u32>(below1 < k) + vec4<u32>(below2 < k)
            + vec4<u32>(below3 < k) * vec4<u32>(1u, 1u, 1u, 0u);
        known += (reached.x + reached.y + reached.z + reached.w) << shift;
    }
    y[index] = bitcast<f32>(known);
}
