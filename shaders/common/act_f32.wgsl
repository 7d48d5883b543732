// Activations stored as f32, four channels at a time.
alias Act4 = vec4<f32>;

fn widen_act(v: Act4) -> vec4<f32> {
    return v;
}

fn narrow_act(v: vec4<f32>) -> Act4 {
    return v;
}
