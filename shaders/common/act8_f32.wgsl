// Eight activations stored as f32, in one load of four 64-bit words.
alias Act8 = vec4<u64>;

fn low_acts(v: Act8) -> vec4<f32> {
    return low_floats(v);
}

fn high_acts(v: Act8) -> vec4<f32> {
    return high_floats(v);
}

fn eight_acts(low: vec4<f32>, high: vec4<f32>) -> Act8 {
    return eight_floats(low, high);
}

// Eight f32 in a buffer of Act8, whatever Act8 is: here one element, so that first and last are the same.
const ACTS_OF_F32X8: u32 = 1u;

fn f32x8_first(low: vec4<f32>, high: vec4<f32>) -> Act8 {
    return eight_floats(low, high);
}

fn f32x8_last(low: vec4<f32>, high: vec4<f32>) -> Act8 {
    return eight_floats(low, high);
}
