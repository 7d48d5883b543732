// y = activation(conv3x3(x) + bias) as `conv3x3` defines it, 50 x 8 by subgroups
//
// The product that `conv3x3` describes by the tile of `matmul_subgroup_50x8`, for the same kind of device: one thread makes 50
// pixels by 8 channels. A step along K is a tap and eight channels of it; each lane knows where its seven pixels lie, so a tap
// costs it no more than an addition and a test. C and N multiples of 8.
//
// family: conv3x3
// needs: subgroup_int64
// include: common/act_{f32,f16}.wgsl
// include: common/weight_{f32,f16}.wgsl
// include: common/act8_{act}.wgsl
// include: common/weight8_{weight}.wgsl
// include: common/eight_floats.wgsl
// include: common/conv3x3_params.wgsl
// include: common/subgroup_tile_50x8.wgsl
// include: common/tile.wgsl
// include: common/tile8.wgsl
// include: common/gelu.wgsl

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Act8>;
@group(0) @binding(2) var<storage, read> weight: array<Weight8>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<u64>>;
@group(0) @binding(4) var<storage, read_write> y: array<Act8>;

// A pixel: its row in x, and its place in its map.
struct RowBase {
    row: u32,
    place: u32,
}

// A tap and an eight of its channels.
struct Step {
    dx: u32,
    dy: u32,
    channel: u32,
}

fn row_base(row: u32) -> RowBase {
    return RowBase(min(row, params.rows - 1u), place(row));
}

fn step_at(k: u32) -> Step {
    let c8 = params.c4 / 2u;
    let tap = k / c8;
    return Step(tap % 3u, tap / 3u, k - tap * c8);
}

fn load_row(base: RowBase, step: Step) -> Act8 {
    let inside = is_inside(base.place, step.dx, step.dy);
    let pixel = base.row + step.dy * params.map_width + step.dx - params.map_width - 1u;
    return select(Act8(), x[select(0u, pixel * (params.c4 / 2u) + step.channel, inside)], inside);
}

fn low_row(v: Act8) -> vec4<f32> {
    return low_acts(v);
}

fn high_row(v: Act8) -> vec4<f32> {
    return high_acts(v);
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32,
        @builtin(subgroup_invocation_id) lane: u32) {
    let eight = group.x * 8u + thread;
    let row = group.y * 50u;
    let n8 = params.n4 / 2u;
    let k8 = 9u * (params.c4 / 2u);
    make_tile(thread, lane, row, eight, params.n4, k8, 0u, k8);
    if (eight < n8) {
        let b = bias[eight];
        for (var r = row; r < min(row + 50u, params.rows); r += 1u) {
            let sum = parked[thread * 50u + r - row];
            let low = activate(params.activation, low_floats(sum) + low_floats(b));
            let high = activate(params.activation, high_floats(sum) + high_floats(b));
            y[r * n8 + eight] = eight_acts(low, high);
        }
    }
}
