// Where a pixel of a picture lies between the cells of a grid: half-pixel centres, border clamped.
struct Between {
    low: vec2<u32>,
    high: vec2<u32>,
    t: vec2<f32>,
}

fn between(at: vec2<u32>, from_size: vec2<u32>, to: vec2<u32>) -> Between {
    let source = max((vec2<f32>(at) + 0.5) * (vec2<f32>(from_size) / vec2<f32>(to)) - 0.5, vec2<f32>(0.0));
    let low = min(vec2<u32>(source), from_size - 1u);
    return Between(low, min(low + 1u, from_size - 1u), source - vec2<f32>(low));
}
