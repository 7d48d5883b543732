// Eight weights stored as f32, in one load of four 64-bit words.
alias Weight8 = vec4<u64>;

fn low_weights(v: Weight8) -> vec4<f32> {
    return low_floats(v);
}

fn high_weights(v: Weight8) -> vec4<f32> {
    return high_floats(v);
}
