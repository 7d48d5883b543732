//! The end of a product whose K was cut: `out = act(sum of slices + bias) + residual`.

use super::activation::Activation;

/// `act(sum over S of partial + bias) + residual`.
///
/// * `partial`: `[S, M, N]`, the products of each slice of K
/// * second argument: `[S, M, N]`
/// * `bias`: `[N]`
/// * `residual`: `[M, N]`
///
/// Returns `[M, N]`.
pub fn matmul_reduce(
    partial: &[f32],
    [slices, m, n]: [usize; 3],
    bias: Option<&[f32]>,
    activation: Activation,
    residual: Option<&[f32]>,
) -> Vec<f32> {
    assert_eq!(partial.len(), slices * m * n, "partial is not [{slices}, {m}, {n}]");
    assert!(bias.is_none_or(|bias| bias.len() == n), "bias is not [{n}]");
    assert!(residual.is_none_or(|residual| residual.len() == m * n), "residual is not [{m}, {n}]");
    (0..m * n)
        .map(|i| {
            let sum: f64 = (0..slices).map(|s| f64::from(partial[s * m * n + i])).sum();
            let sum = sum + bias.map_or(0.0, |bias| f64::from(bias[i % n]));
            (activation.apply(sum) + residual.map_or(0.0, |residual| f64::from(residual[i]))) as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_added_before_anything_else() {
        // Two slices of [1, 2]: sums -1 and 5, with the bias -2 and 8.
        let out = matmul_reduce(&[-3.0, 1.0, 2.0, 4.0], [2, 1, 2], Some(&[-1.0, 3.0]), Activation::Relu, Some(&[10.0, 20.0]));
        assert_eq!(out, [10.0, 28.0]);
    }
}
