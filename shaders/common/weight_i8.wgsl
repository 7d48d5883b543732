// Weights stored as signed bytes, four in a word; their column's scale is applied to the sum.
alias Weight4 = u32;

fn widen_weight(v: Weight4) -> vec4<f32> {
    return signed_bytes(v);
}
