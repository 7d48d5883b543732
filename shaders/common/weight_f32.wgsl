// Weights stored as f32, four at a time.
alias Weight4 = vec4<f32>;

fn widen_weight(v: Weight4) -> vec4<f32> {
    return v;
}
