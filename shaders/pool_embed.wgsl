// Tokens of a ResNet's attention pool: the mean of an image's pixels in front of them, positions added.
//
// x [B N, C], positions [1 + N, C] -> y [B (1 + N), C]; row 0 of an image is mean + positions[0], row 1 + n is
// x[n] + positions[1 + n]. One thread per four channels of a token.
//
// include: common/act_{f32,f16}.wgsl
// include: common/index.wgsl

struct Params {
    count4: u32,   // B (1 + N) C / 4
    width4: u32,   // C / 4
    tokens: u32,   // 1 + N
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Act4>;
@group(0) @binding(2) var<storage, read> positions: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<Act4>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.count4) {
        return;
    }
    let row = index / params.width4;
    let channel = index % params.width4;
    let token = row % params.tokens;
    let pixels = params.tokens - 1u;
    let first = row / params.tokens * pixels * params.width4 + channel;
    // A pixel is the mean of one row, the class token of all.
    let begin = select(token, 1u, token == 0u) - 1u;
    let end = select(token, pixels, token == 0u);
    var sum = vec4<f32>(0.0);
    for (var n = begin; n < end; n += 1u) {
        sum += widen_act(x[first + n * params.width4]);
    }
    y[index] = narrow_act(sum / f32(end - begin) + positions[token * params.width4 + channel]);
}
