// Activations stored as f16, four channels in two words. Needs no device feature; arithmetic stays f32.
alias Act4 = vec2<u32>;

fn widen_act(v: Act4) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y));
}

// pack2x16float of a value beyond 65504 is indeterminate in WGSL, so it is clamped first; then NaN, infinity and what was
// out of range get an exponent of all ones: they stay NaN or infinity, and the check of the result names them.
fn narrow_act(v: vec4<f32>) -> Act4 {
    let c = clamp(v, vec4<f32>(-65504.0), vec4<f32>(65504.0));
    let lost = !(abs(v) <= vec4<f32>(65504.0));
    let exponent = select(vec4<u32>(0u), vec4<u32>(0x7c00u), lost);
    return vec2<u32>(
        pack2x16float(c.xy) | exponent.x | (exponent.y << 16u),
        pack2x16float(c.zw) | exponent.z | (exponent.w << 16u),
    );
}

// Four f32 in a buffer of Act4, whatever Act4 is: here two elements, bit by bit.
const ACTS_OF_F32X4: u32 = 2u;

fn f32x4_low(v: vec4<f32>) -> Act4 {
    return bitcast<vec2<u32>>(v.xy);
}

fn f32x4_high(v: vec4<f32>) -> Act4 {
    return bitcast<vec2<u32>>(v.zw);
}
