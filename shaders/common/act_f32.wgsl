// Activations stored as f32, four channels at a time.
alias Act4 = vec4<f32>;

fn widen_act(v: Act4) -> vec4<f32> {
    return v;
}

fn narrow_act(v: vec4<f32>) -> Act4 {
    return v;
}

// Four f32 in a buffer of Act4, whatever Act4 is: here one element, so that low and high are the same.
const ACTS_OF_F32X4: u32 = 1u;

fn f32x4_low(v: vec4<f32>) -> Act4 {
    return v;
}

fn f32x4_high(v: vec4<f32>) -> Act4 {
    return v;
}
