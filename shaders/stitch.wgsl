// Scores of overlapping windows, patch by patch, to maps over the whole canvas.
//
// scores [B, K, 1 + N, L], class row first, K = rows x columns of windows, the same in each of B images; starts: x of each column, then y of each row
// -> canvas [B, Q, H, W] of labels first .. first + Q. Each pixel is the mean over the windows that cover it of their grid,
// read bilinearly (half-pixel centres, no antialias, the grid stretched over the window and its
// padding). One thread per pixel and label.
//
// include: common/index.wgsl

struct Params {
    total: u32,           // B Q H W
    width: u32,           // canvas
    height: u32,
    window_width: u32,    // all windows are of one size
    window_height: u32,
    grid_width: u32,
    grid_height: u32,
    columns: u32,
    rows: u32,
    labels: u32,          // L
    first: u32,
    count: u32,           // Q
    before_x: u32,        // padding left of and above each window
    before_y: u32,
    padded_width: u32,    // window and padding on either side
    padded_height: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> scores: array<f32>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read_write> canvas: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.total) {
        return;
    }
    let at = vec2<u32>(index % params.width, (index / params.width) % params.height);
    let plane = index / (params.width * params.height);
    let label = params.first + plane % params.count;
    let windows = (plane / params.count) * params.rows * params.columns;
    let window = vec2<u32>(params.window_width, params.window_height);
    let grid = vec2<u32>(params.grid_width, params.grid_height);
    let before = vec2<u32>(params.before_x, params.before_y);
    let scale = vec2<f32>(grid) / vec2<f32>(vec2<u32>(params.padded_width, params.padded_height));
    let tokens = 1u + grid.x * grid.y;
    var sum = 0.0;
    var visits = 0u;
    for (var row = 0u; row < params.rows; row += 1u) {
        let y = at.y - starts[params.columns + row];
        // Above the window the difference wraps around and is large.
        if (y >= window.y) {
            continue;
        }
        for (var column = 0u; column < params.columns; column += 1u) {
            let x = at.x - starts[column];
            if (x >= window.x) {
                continue;
            }
            let source = max((vec2<f32>(before + vec2<u32>(x, y)) + 0.5) * scale - 0.5, vec2<f32>(0.0));
            let low = min(vec2<u32>(source), grid - 1u);
            let high = min(low + 1u, grid - 1u);
            let t = source - vec2<f32>(low);
            // Row 0 is the class row.
            let patches = (windows + row * params.columns + column) * tokens + 1u;
            let top = patches + low.y * grid.x;
            let bottom = patches + high.y * grid.x;
            let upper = mix(scores[(top + low.x) * params.labels + label], scores[(top + high.x) * params.labels + label], t.x);
            let lower = mix(scores[(bottom + low.x) * params.labels + label], scores[(bottom + high.x) * params.labels + label], t.x);
            sum += mix(upper, lower, t.y);
            visits += 1u;
        }
    }
    canvas[index] = sum / f32(visits);
}
