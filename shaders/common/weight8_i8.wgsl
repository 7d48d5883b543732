// Eight weights stored as signed bytes, in one load of two words; their column's scale is applied to the sum.
alias Weight8 = vec2<u32>;

fn low_weights(v: Weight8) -> vec4<f32> {
    return signed_bytes(v.x);
}

fn high_weights(v: Weight8) -> vec4<f32> {
    return signed_bytes(v.y);
}
