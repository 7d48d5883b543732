// Weights stored as f16, four in two words. Needs no device feature.
alias Weight4 = vec2<u32>;

fn widen_weight(v: Weight4) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y));
}
