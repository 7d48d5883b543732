// Scores of five views of each picture to one: what flipped views say goes back to where it belongs.
//
// s [5 B, 1 + N, L], class row first, views as `views` makes them -> y [B, 1 + N, L] =
// share (mean of the three upright views) + (1 - share) (mean of the two flipped ones). One thread per value.
//
// include: common/index.wgsl

struct Params {
    total: u32,          // B (1 + N) L
    labels: u32,         // L
    grid_width: u32,
    grid_height: u32,
    share: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> s: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.total) {
        return;
    }
    let row = index / params.labels;
    let token = row % (1u + params.grid_width * params.grid_height);
    var down = token;
    var across = token;
    // The class row has no place to be flipped to.
    if (token > 0u) {
        let at = vec2<u32>((token - 1u) % params.grid_width, (token - 1u) / params.grid_width);
        down = 1u + (params.grid_height - 1u - at.y) * params.grid_width + at.x;
        across = token + params.grid_width - 1u - 2u * at.x;
    }
    let upright = s[index] + s[params.total + index] + s[2u * params.total + index];
    // Indices wrap around where the flipped token comes first; the sum is right again.
    let flipped = s[3u * params.total + index + (down - token) * params.labels]
        + s[4u * params.total + index + (across - token) * params.labels];
    y[index] = params.share * upright / 3.0 + (1.0 - params.share) * flipped / 2.0;
}
