// The activations of CLIP. The largest gap between the two GELUs is 0.02, so a wrong one is silent.

// x * sigmoid(1.702 x): every OpenAI checkpoint. exp overflows to inf for x < -52, and x / inf is -0: correct.
fn quick_gelu(x: vec4<f32>) -> vec4<f32> {
    return x / (1.0 + exp(-1.702 * x));
}

// erf for |x| < 1 by its Maclaurin series, so that small values keep their relative accuracy; beyond, one minus
// Abramowitz and Stegun 7.1.26 would lose 1.5e-7 absolute, hence the longer rational form of Numerical Recipes
// (erfccheb, fractional error below 1.2e-7).
fn erf(x: vec4<f32>) -> vec4<f32> {
    let a = abs(x);
    let s = x * x;
    let series = x * (1.1283791671 + s * (-0.3761263890 + s * (0.1128379167 + s * (-0.0268661706
        + s * (0.0052239776 + s * (-0.0008548327 + s * (0.0001205533 + s * (-0.0000149257
        + s * (0.0000016462 + s * -0.0000001637)))))))));
    let t = 1.0 / (1.0 + 0.5 * a);
    let tail = t * exp(-s - 1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418
        + t * (-0.18628806 + t * (0.27886807 + t * (-1.13520398 + t * (1.48851587
        + t * (-0.82215223 + t * 0.17087277)))))))));
    return select(sign(x) * (1.0 - tail), series, a < vec4<f32>(1.0));
}

// 0.5 x (1 + erf(x / sqrt 2)): LAION OpenCLIP checkpoints.
fn gelu(x: vec4<f32>) -> vec4<f32> {
    return 0.5 * x * (1.0 + erf(x * 0.70710678));
}

// Written so that NaN stays NaN, which max(x, 0) may lose.
fn relu(x: vec4<f32>) -> vec4<f32> {
    return select(x, vec4<f32>(0.0), x < vec4<f32>(0.0));
}

// kind: 0 none, 1 QuickGELU, 2 exact GELU, 3 ReLU (`Activation` in Rust).
fn activate(kind: u32, x: vec4<f32>) -> vec4<f32> {
    if (kind == 1u) {
        return quick_gelu(x);
    }
    if (kind == 2u) {
        return gelu(x);
    }
    if (kind == 3u) {
        return relu(x);
    }
    return x;
}
