//! The activations of CLIP's MLPs and ResNets, element by element.
//!
//! ```text
//! QuickGELU(x) = x / (1 + exp(-1.702 x))            OpenAI's checkpoints
//! GELU(x)      = x/2 (1 + erf(x / sqrt 2))          most LAION checkpoints
//! ReLU(x)      = max(x, 0)                          the image side of the ResNets
//! ```
//!
//! The first two differ by 0.02 at most, so taking the wrong one costs accuracy without any error.
//! Source: "Gaussian Error Linear Units" (Hendrycks, Gimpel, 2016).

/// Which activation a layer applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// The identity.
    None,
    /// `x * sigmoid(1.702 x)`.
    QuickGelu,
    /// `x * Phi(x)` with the exact error function.
    Gelu,
    /// `max(x, 0)`.
    Relu,
}

impl Activation {
    /// Applies the activation to one value.
    pub fn apply(self, x: f64) -> f64 {
        match self {
            Activation::None => x,
            Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
            Activation::Gelu => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
            // NaN stays NaN.
            Activation::Relu => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
        }
    }
}

/// `x * sigmoid(1.702 x)`.
pub fn quick_gelu(x: f32) -> f32 {
    Activation::QuickGelu.apply(f64::from(x)) as f32
}

/// `x/2 (1 + erf(x / sqrt 2))`.
pub fn gelu(x: f32) -> f32 {
    Activation::Gelu.apply(f64::from(x)) as f32
}

/// Applies `kind` to each value. Any shape; returns the same.
pub fn activation(x: &[f32], kind: Activation) -> Vec<f32> {
    x.iter().map(|&v| kind.apply(f64::from(v)) as f32).collect()
}

/// The error function to 1e-15: `2/sqrt(pi) exp(-x^2) * sum over n of 2^n x^(2n+1) / (1 * 3 * ... * (2n+1))`.
///
/// All terms have one sign, so nothing cancels. Beyond 6 the function is 1 to the last bit.
fn erf(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        odd += 2.0;
        term *= 2.0 * x * x / odd;
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert!((quick_gelu(1.0) - 0.845796).abs() < 1e-6);
        assert!((gelu(1.0) - 0.841345).abs() < 1e-6);
        assert!((gelu(-1.0) + 0.158655).abs() < 1e-6);
        assert_eq!(activation(&[-2.0, 0.0, 3.0], Activation::None), [-2.0, 0.0, 3.0]);
        assert_eq!((quick_gelu(0.0), gelu(0.0)), (0.0, 0.0));
        assert_eq!(activation(&[-2.0, 0.0, 3.0], Activation::Relu), [0.0, 0.0, 3.0]);
    }

    #[test]
    fn erf_to_fifteen_digits() {
        let table = [
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (3.0, 0.999_977_909_503_001_4),
            (4.5, 0.999_999_999_803_383_9),
        ];
        for (x, want) in table {
            assert!((erf(x) - want).abs() < 1e-15 && erf(-x) == -erf(x), "erf({x}) = {}, not {want}", erf(x));
        }
    }

    #[test]
    fn far_out() {
        assert_eq!((gelu(40.0), gelu(-40.0)), (40.0, 0.0));
        assert_eq!((quick_gelu(1e4), quick_gelu(-1e4)), (1e4, 0.0));
        assert!(gelu(f32::NAN).is_nan() && Activation::Relu.apply(f64::NAN).is_nan());
    }
}
