// Each map stretched so that it is 0..1 over the pixels of a picture that it is resized to; a constant map becomes all zeros.
//
// maps [P, h, w] -> y [P, h, w]. One workgroup of 64 per map. Between cell centres a resized map has no bend, so its extremes
// are among the pixels next to a cell's centre, on either side of it: 4 h w of them, however large the picture.
//
// include: common/index.wgsl
// include: common/reduce.wgsl
// include: common/bilinear.wgsl

struct Params {
    maps: u32,           // P
    from_width: u32,
    from_height: u32,
    to_width: u32,
    to_height: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> maps: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let map = linear_workgroup(group, groups);
    if (map >= params.maps) {
        return;
    }
    let from_size = vec2<u32>(params.from_width, params.from_height);
    let to = vec2<u32>(params.to_width, params.to_height);
    let cells = from_size.x * from_size.y;
    let plane = map * cells;
    var lowest = 3.0e38;
    var highest = -3.0e38;
    var lowest_cell = 3.0e38;
    var highest_cell = -3.0e38;
    for (var n = lane; n < cells; n += 64u) {
        lowest_cell = min(lowest_cell, maps[plane + n]);
        highest_cell = max(highest_cell, maps[plane + n]);
    }
    for (var i = lane; i < 4u * cells; i += 64u) {
        let near = vec2<u32>(i % (2u * from_size.x), i / (2u * from_size.x));
        let centre = (vec2<f32>(near / 2u) + 0.5) * (vec2<f32>(to) / vec2<f32>(from_size)) - 0.5;
        // Signed: where the map shrinks, the first centre lies before the first pixel.
        let pixel = vec2<i32>(floor(centre)) + vec2<i32>(near % 2u);
        let at = vec2<u32>(clamp(pixel, vec2<i32>(0), vec2<i32>(to) - 1));
        let b = between(at, from_size, to);
        let top = plane + b.low.y * from_size.x;
        let bottom = plane + b.high.y * from_size.x;
        let upper = mix(maps[top + b.low.x], maps[top + b.high.x], b.t.x);
        let lower = mix(maps[bottom + b.low.x], maps[bottom + b.high.x], b.t.x);
        let v = mix(upper, lower, b.t.y);
        lowest = min(lowest, v);
        highest = max(highest, v);
    }
    lowest = -reduce_max(lane, -lowest);
    highest = reduce_max(lane, highest);
    // Blends of equal cells may differ in the last digit, which must not become a map.
    let flat = -reduce_max(lane, -lowest_cell) == reduce_max(lane, highest_cell);
    let range = highest - lowest;
    for (var n = lane; n < cells; n += 64u) {
        // Not `range > 0.0`: a map of NaN must stay NaN, and not turn into zeros.
        y[plane + n] = select((maps[plane + n] - lowest) / range, 0.0, flat || range == 0.0);
    }
}
