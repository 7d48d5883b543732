// Which patches show one thing: 1 where two share their label, less where something else lies between them, else 0.
//
// labels [B, N] of a grid, steps [D + 1, S] pairs -> same [B, N, N]. D is the largest Chebyshev distance in the grid, S its
// longer side. With the path rule a pair at distance d looks at samples k = 0 .. d of the D + 1 between i and j, the first
// d / D of its way; where one has another label, the pair counts exp(-d / D). Not symmetric.
// A sample is i (1 - k / D) + j k / D, both products taken from `steps`, where they are rounded to f32 as the original
// rounds them: a product in here may be fused with the sum, and a tie then falls the other way. One thread per pair.
//
// include: common/index.wgsl

struct Params {
    total: u32,          // B N N
    width: u32,          // of the grid
    height: u32,
    side: u32,           // S
    path_rule: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read> steps: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> same: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.total) {
        return;
    }
    let cells = params.width * params.height;
    let j = index % cells;
    let i = (index / cells) % cells;
    let image = (index / (cells * cells)) * cells;
    let label = labels[image + i];
    if (labels[image + j] != label) {
        same[index] = 0.0;
        return;
    }
    let from_x = i % params.width;
    let from_y = i / params.width;
    let to_x = j % params.width;
    let to_y = j / params.width;
    let d = max(max(from_x, to_x) - min(from_x, to_x), max(from_y, to_y) - min(from_y, to_y));
    var between = false;
    if (params.path_rule != 0u) {
        // Sample 0 is i itself.
        for (var k = 1u; k <= d; k += 1u) {
            let row = k * params.side;
            // `round` takes ties to the even neighbour.
            let x = u32(round(steps[row + from_x].x + steps[row + to_x].y));
            let y = u32(round(steps[row + from_y].x + steps[row + to_y].y));
            if (labels[image + y * params.width + x] != label) {
                between = true;
                break;
            }
        }
    }
    // A single patch has D = 0, and nothing between.
    same[index] = select(1.0, exp(-f32(d) / f32(max(params.side, 2u) - 1u)), between);
}
