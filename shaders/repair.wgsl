// y = x, but a marked patch becomes the mean of its unmarked neighbours, if it has any.
//
// x [B (1 + N), C], marks [B, N] (1: marked), patches row by row of `width` -> y [B (1 + N), C]. Up to 8 neighbours; what lies outside the
// grid does not count. The class row is copied. One thread per four channels of a token.
//
// include: common/act_{f32,f16}.wgsl
// include: common/index.wgsl

struct Params {
    count: u32,    // B (1 + N) C / 4
    width4: u32,   // C / 4
    width: u32,    // patches in a row of the grid
    height: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Act4>;
@group(0) @binding(2) var<storage, read> marks: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<Act4>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.count) {
        return;
    }
    let n = params.width * params.height;
    let row = index / params.width4;
    let column = index % params.width4;
    let image = row / (1u + n);
    let token = row % (1u + n);
    if (token == 0u || marks[image * n + max(token, 1u) - 1u] == 0u) {
        y[index] = x[index];
        return;
    }
    let cell = vec2<i32>(i32((token - 1u) % params.width), i32((token - 1u) / params.width));
    var sum = vec4<f32>(0.0);
    var count = 0.0;
    for (var dy = -1; dy <= 1; dy += 1) {
        for (var dx = -1; dx <= 1; dx += 1) {
            let at = cell + vec2<i32>(dx, dy);
            if (at.x < 0 || at.y < 0 || at.x >= i32(params.width) || at.y >= i32(params.height)) {
                continue;
            }
            let other = u32(at.y) * params.width + u32(at.x);
            if (marks[image * n + other] == 0u) {
                sum += widen_act(x[(image * (1u + n) + 1u + other) * params.width4 + column]);
                count += 1.0;
            }
        }
    }
    if (count == 0.0) {
        y[index] = x[index];
    } else {
        y[index] = narrow_act(sum / count);
    }
}
