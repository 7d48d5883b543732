//! Cosines between image tokens and labels: `out = features labels^T`.
//!
//! Both sides are unit rows already, so a dot product is the cosine. No logit scale is applied.

use super::activation::Activation;
use super::matmul::matmul;

/// The dot product of every feature row with every label row.
///
/// * `features`: `[R, D]`, unit rows
/// * `labels`: `[L, D]`, unit rows
/// * `width`: D
///
/// Returns `[R, L]`.
pub fn similarity(features: &[f32], labels: &[f32], width: usize) -> Vec<f32> {
    let shape = [features.len() / width, width, labels.len() / width];
    matmul(features, labels, shape, None, Activation::None, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parallel_orthogonal_opposite() {
        assert_eq!(similarity(&[1.0, 0.0], &[1.0, 0.0, 0.0, 1.0, -1.0, 0.0], 2), [1.0, 0.0, -1.0]);
    }
}
