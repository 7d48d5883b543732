// Eight activations stored as f32, in one load of four 64-bit words.
alias Act8 = vec4<u64>;

fn low_acts(v: Act8) -> vec4<f32> {
    return vec4<f32>(two_floats(v.x), two_floats(v.y));
}

fn high_acts(v: Act8) -> vec4<f32> {
    return vec4<f32>(two_floats(v.z), two_floats(v.w));
}

fn eight_acts(low: vec4<f32>, high: vec4<f32>) -> Act8 {
    return vec4<u64>(word_of(low.xy), word_of(low.zw), word_of(high.xy), word_of(high.zw));
}
