// Where a pixel of a picture lies between the cells of a grid: half-pixel centres or aligned corners, border clamped.
override CORNERS = 0u;   // 1: the outer cells' centres lie on the outer pixels' centres, instead of edge on edge

struct Between {
    low: vec2<u32>,
    high: vec2<u32>,
    t: vec2<f32>,
}

fn between(at: vec2<u32>, from_size: vec2<u32>, to: vec2<u32>) -> Between {
    var source = max((vec2<f32>(at) + 0.5) * (vec2<f32>(from_size) / vec2<f32>(to)) - 0.5, vec2<f32>(0.0));
    if (CORNERS == 1u) {
        source = vec2<f32>(at) * (vec2<f32>(from_size - 1u) / vec2<f32>(max(to - 1u, vec2<u32>(1u))));
    }
    let low = min(vec2<u32>(source), from_size - 1u);
    return Between(low, min(low + 1u, from_size - 1u), source - vec2<f32>(low));
}
