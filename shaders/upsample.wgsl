// Bilinear resize of maps, half-pixel centres or aligned corners, no antialias (also when shrinking), border clamped.
//
// maps [P, h, w] -> y [Q, R, W]: planes from `first` on, rows from `first_row` on. One thread per output value.
//
// include: common/index.wgsl
// include: common/bilinear.wgsl

struct Params {
    total: u32,          // Q R W
    from_width: u32,
    from_height: u32,
    to_width: u32,
    to_height: u32,      // H, of which only some rows are made
    first: u32,
    first_row: u32,
    rows: u32,           // R
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> maps: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.total) {
        return;
    }
    let to = vec2<u32>(params.to_width, params.to_height);
    let from_size = vec2<u32>(params.from_width, params.from_height);
    let at = vec2<u32>(index % to.x, params.first_row + (index / to.x) % params.rows);
    let b = between(at, from_size, to);
    let plane = (params.first + index / (to.x * params.rows)) * from_size.x * from_size.y;
    let top = plane + b.low.y * from_size.x;
    let bottom = plane + b.high.y * from_size.x;
    let upper = mix(maps[top + b.low.x], maps[top + b.high.x], b.t.x);
    let lower = mix(maps[bottom + b.low.x], maps[bottom + b.high.x], b.t.x);
    y[index] = mix(upper, lower, b.t.y);
}
