//! A linear layer: `out = act(x weight^T + bias) + residual`.
//!
//! `x` is `[M, K]`, `weight` `[N, K]` (output rows first, as checkpoints store it), `out` `[M, N]`.
//! The residual is added after the activation, so one kernel serves both halves of a transformer block.

use super::activation::Activation;

/// `act(x weight^T + bias) + residual`.
///
/// * `x`: `[M, K]`
/// * `weight`: `[N, K]`
/// * third argument: `[M, K, N]`
/// * `bias`: `[N]`
/// * `residual`: `[M, N]`
///
/// Returns `[M, N]`.
pub fn matmul(
    x: &[f32],
    weight: &[f32],
    [m, k, n]: [usize; 3],
    bias: Option<&[f32]>,
    activation: Activation,
    residual: Option<&[f32]>,
) -> Vec<f32> {
    assert_eq!(x.len(), m * k, "x is not [{m}, {k}]");
    assert_eq!(weight.len(), n * k, "weight is not [{n}, {k}]");
    assert!(bias.is_none_or(|bias| bias.len() == n), "bias is not [{n}]");
    assert!(residual.is_none_or(|residual| residual.len() == m * n), "residual is not [{m}, {n}]");

    let mut out = Vec::with_capacity(m * n);
    for row in 0..m {
        for column in 0..n {
            let sum = dot(&x[row * k..(row + 1) * k], &weight[column * k..(column + 1) * k]);
            let sum = sum + bias.map_or(0.0, |bias| f64::from(bias[column]));
            let value = activation.apply(sum) + residual.map_or(0.0, |residual| f64::from(residual[row * n + column]));
            out.push(value as f32);
        }
    }
    out
}

/// The dot product of two rows.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: [f32; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]; // [2, 3]
    const WEIGHT: [f32; 6] = [1.0, 0.0, -1.0, 0.0, 2.0, 0.0]; // [2, 3]

    #[test]
    fn plain() {
        assert_eq!(matmul(&X, &WEIGHT, [2, 3, 2], None, Activation::None, None), [-2.0, 4.0, -2.0, 10.0]);
    }

    #[test]
    fn activation_comes_after_the_bias_and_before_the_residual() {
        let out = matmul(&X, &WEIGHT, [2, 3, 2], Some(&[3.0, -4.0]), Activation::Gelu, Some(&[10.0, 20.0, 30.0, 40.0]));
        let want = [10.841_345, 20.0, 30.841_345, 46.0];
        assert!(out.iter().zip(want).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-5), "{out:?}");
    }
}
