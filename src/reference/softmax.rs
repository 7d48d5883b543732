//! Softmax of rows: `out[j] = exp(x[j] - max) / sum over k of exp(x[k] - max)`.
//!
//! Subtracting the row's maximum leaves the value unchanged and keeps the exponentials from overflowing.

/// `exp(x - max) / sum` of each row.
///
/// * `x`: `[rows, width]`
///
/// Returns `[rows, width]`; every row sums to 1.
pub fn softmax(x: &[f32], width: usize) -> Vec<f32> {
    assert_eq!(x.len() % width, 0, "x of {} values is not [rows, {width}]", x.len());
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks_exact(width) {
        let max = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let exponentials: Vec<f64> = row.iter().map(|&v| (f64::from(v) - max).exp()).collect();
        let sum: f64 = exponentials.iter().sum();
        out.extend(exponentials.iter().map(|e| (e / sum) as f32));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_rows() {
        assert_eq!(softmax(&[5.0, 5.0, 1e4, -1e30], 2), [0.5, 0.5, 1.0, 0.0]);
        let out = softmax(&[0.0, 3f32.ln()], 2);
        assert!((out[0] - 0.25).abs() < 1e-7 && (out[1] - 0.75).abs() < 1e-7, "{out:?}");
    }
}
