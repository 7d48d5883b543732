// Bilinear resize of maps, half-pixel centres, no antialias (also when shrinking), border clamped.
//
// maps [P, h, w] -> rows first_row .. first_row + rows of y [P, H, W]. One thread per output value.
//
// include: common/index.wgsl

struct Params {
    total: u32,          // P rows W
    from_width: u32,
    from_height: u32,
    to_width: u32,
    to_height: u32,      // H, of which only some rows are made
    first_row: u32,
    rows: u32,
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
    let plane = (index / (to.x * params.rows)) * from_size.x * from_size.y;
    let source = max((vec2<f32>(at) + 0.5) * (vec2<f32>(from_size) / vec2<f32>(to)) - 0.5, vec2<f32>(0.0));
    let low = min(vec2<u32>(source), from_size - 1u);
    let high = min(low + 1u, from_size - 1u);
    let t = source - vec2<f32>(low);
    let top = plane + low.y * from_size.x;
    let bottom = plane + high.y * from_size.x;
    let upper = mix(maps[top + low.x], maps[top + high.x], t.x);
    let lower = mix(maps[bottom + low.x], maps[bottom + high.x], t.x);
    y[index] = mix(upper, lower, t.y);
}
