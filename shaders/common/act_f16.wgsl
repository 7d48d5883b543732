// Activations stored as f16, four channels in two words. Needs no device feature; arithmetic stays f32.
alias Act4 = vec2<u32>;

fn widen_act(v: Act4) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y));
}

// Clamped: pack2x16float of a value beyond 65504 is indeterminate in WGSL.
fn narrow_act(v: vec4<f32>) -> Act4 {
    let c = clamp(v, vec4<f32>(-65504.0), vec4<f32>(65504.0));
    return vec2<u32>(pack2x16float(c.xy), pack2x16float(c.zw));
}
