// Eight weights stored as f32, in one load of four 64-bit words.
alias Weight8 = vec4<u64>;

fn low_weights(v: Weight8) -> vec4<f32> {
    return vec4<f32>(two_floats(v.x), two_floats(v.y));
}

fn high_weights(v: Weight8) -> vec4<f32> {
    return vec4<f32>(two_floats(v.z), two_floats(v.w));
}
