// y = (x - mean) / sqrt(variance + eps) * gain + bias, per row, eight rows side by side
//
// As `layer_norm`, for CPU drivers, where a load costs as much as some twenty multiply-adds and a barrier more than that. A
// workgroup is 8 threads, each with a row of its own: no sum crosses threads. A row is read twice, eight channels per load.
// Gain and bias are shared: lane i reads the i-th eight of 64 channels, and the others get it by broadcast.
//
// Mean and variance come from one pass: those of eight channels, and Chan's formula to join them with the ones before, which
// cancels nothing. C a multiple of 8. Rows beyond the last repeat it and are not stored; all threads stay to the end.
//
// family: layer_norm
// needs: subgroup_int64
// include: common/act_{f32,f16}.wgsl
// include: common/act8_{act}.wgsl
// include: common/eight_floats.wgsl
// include: common/index.wgsl

struct Params {
    rows: u32,
    width4: u32,         // C / 4
    eps: f32,
    merge_tokens: u32,   // 1 + N, or 0
    x_row: u32,          // first row of x that is read
    class_row: u32,      // first row of class_x that is read
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Act8>;
@group(0) @binding(2) var<storage, read> class_x: array<Act8>;
@group(0) @binding(3) var<storage, read> gain: array<vec4<u64>>;
@group(0) @binding(4) var<storage, read> bias: array<vec4<u64>>;
@group(0) @binding(5) var<storage, read_write> y: array<Act8>;

struct Eight {
    low: vec4<f32>,
    high: vec4<f32>,
}

fn load(from_class: bool, row: u32, eight: u32) -> Eight {
    var v = Act8();
    if (from_class) {
        v = class_x[(params.class_row + row) * (params.width4 / 2u) + eight];
    } else {
        v = x[(params.x_row + row) * (params.width4 / 2u) + eight];
    }
    return Eight(low_acts(v), high_acts(v));
}

fn floats(v: vec4<u64>) -> Eight {
    return Eight(low_floats(v), high_floats(v));
}

// A thread's row, and what it takes to normalise it.
struct Row {
    index: u32,
    from_class: bool,
    mean: f32,
    scale: f32,
}

fn normalize(row: Row, eight: u32, gain_low: vec4<f32>, gain_high: vec4<f32>, bias_low: vec4<f32>, bias_high: vec4<f32>) {
    let width8 = params.width4 / 2u;
    if (eight >= width8) {
        return;
    }
    let v = load(row.from_class, min(row.index, params.rows - 1u), eight);
    let low = (v.low - row.mean) * row.scale * gain_low + bias_low;
    let high = (v.high - row.mean) * row.scale * gain_high + bias_high;
    if (row.index < params.rows) {
        y[row.index * width8 + eight] = eight_acts(low, high);
    }
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32, @builtin(subgroup_invocation_id) lane: u32) {
    let index = linear_workgroup(group, groups) * 8u + thread;
    let read = min(index, params.rows - 1u);
    let from_class = params.merge_tokens > 0u && read % max(params.merge_tokens, 1u) == 0u;
    let width8 = params.width4 / 2u;

    var mean = 0.0;
    var squares = 0.0;   // summed distances from the mean, squared
    for (var e = 0u; e < width8; e += 1u) {
        let v = load(from_class, read, e);
        let sums = v.low + v.high;
        let here = (sums.x + sums.y + (sums.z + sums.w)) / 8.0;
        let low = v.low - here;
        let high = v.high - here;
        let away = here - mean;
        let share = 1.0 / f32(e + 1u);
        mean += away * share;
        squares += dot(low, low) + dot(high, high) + away * away * (8.0 * f32(e) * share);
    }
    let row = Row(index, from_class, mean, inverseSqrt(squares / f32(8u * width8) + params.eps));

    let share = lane % 8u;
    for (var first = 0u; first < width8; first += 8u) {
        let at = min(first + share, width8 - 1u);
        let g = floats(gain[at]);
        let b = floats(bias[at]);
        normalize(row, first + 0u, subgroupBroadcast(g.low, 0u), subgroupBroadcast(g.high, 0u), subgroupBroadcast(b.low, 0u), subgroupBroadcast(b.high, 0u));
        normalize(row, first + 1u, subgroupBroadcast(g.low, 1u), subgroupBroadcast(g.high, 1u), subgroupBroadcast(b.low, 1u), subgroupBroadcast(b.high, 1u));
        normalize(row, first + 2u, subgroupBroadcast(g.low, 2u), subgroupBroadcast(g.high, 2u), subgroupBroadcast(b.low, 2u), subgroupBroadcast(b.high, 2u));
        normalize(row, first + 3u, subgroupBroadcast(g.low, 3u), subgroupBroadcast(g.high, 3u), subgroupBroadcast(b.low, 3u), subgroupBroadcast(b.high, 3u));
        normalize(row, first + 4u, subgroupBroadcast(g.low, 4u), subgroupBroadcast(g.high, 4u), subgroupBroadcast(b.low, 4u), subgroupBroadcast(b.high, 4u));
        normalize(row, first + 5u, subgroupBroadcast(g.low, 5u), subgroupBroadcast(g.high, 5u), subgroupBroadcast(b.low, 5u), subgroupBroadcast(b.high, 5u));
        normalize(row, first + 6u, subgroupBroadcast(g.low, 6u), subgroupBroadcast(g.high, 6u), subgroupBroadcast(b.low, 6u), subgroupBroadcast(b.high, 6u));
        normalize(row, first + 7u, subgroupBroadcast(g.low, 7u), subgroupBroadcast(g.high, 7u), subgroupBroadcast(b.low, 7u), subgroupBroadcast(b.high, 7u));
    }
}
