// Each map smoothed: the mean of 3 x 3 patches, the border replicated. Where `minmax` stretches, this keeps the scale.
//
// s [B, 1 + N, L], class row first -> maps [B, L, N], N = h w. One thread per output value.
//
// include: common/index.wgsl

struct Params {
    total: u32,      // B L N
    labels: u32,     // L
    width: u32,      // of the grid
    height: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> s: array<f32>;
@group(0) @binding(2) var<storage, read_write> maps: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.total) {
        return;
    }
    let patches = params.width * params.height;
    let map = index / patches;
    let x = i32(index % params.width);
    let y = i32((index % patches) / params.width);
    let last = vec2<i32>(i32(params.width), i32(params.height)) - 1;
    let first = (map / params.labels) * (1u + patches) + 1u;
    var sum = 0.0;
    for (var dy = -1; dy <= 1; dy += 1) {
        for (var dx = -1; dx <= 1; dx += 1) {
            let at = clamp(vec2<i32>(x + dx, y + dy), vec2<i32>(0), last);
            sum += s[(first + u32(at.y) * params.width + u32(at.x)) * params.labels + map % params.labels];
        }
    }
    maps[index] = sum / 9.0;
}
