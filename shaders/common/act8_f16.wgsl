// Eight activations stored as f16, in one load of four words.
alias Act8 = vec4<u32>;

fn low_acts(v: Act8) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y));
}

fn high_acts(v: Act8) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(v.z), unpack2x16float(v.w));
}

fn eight_acts(low: vec4<f32>, high: vec4<f32>) -> Act8 {
    return vec4<u32>(narrow_act(low), narrow_act(high));
}

// Eight f32 in a buffer of Act8, whatever Act8 is: here two elements, bit by bit.
const ACTS_OF_F32X8: u32 = 2u;

fn f32x8_first(low: vec4<f32>, high: vec4<f32>) -> Act8 {
    return bitcast<vec4<u32>>(low);
}

fn f32x8_last(low: vec4<f32>, high: vec4<f32>) -> Act8 {
    return bitcast<vec4<u32>>(high);
}
