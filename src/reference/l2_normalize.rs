//! Unit rows: `out = x / sqrt(sum of x^2)`.
//!
//! Dot products of unit rows are the cosines CLIP compares images and texts by. A row of zeros stays zero.

/// Divides each row by its length; a row of zeros stays zero.
///
/// * `x`: `[rows, width]`
///
/// Returns `[rows, width]`.
pub fn l2_normalize(x: &[f32], width: usize) -> Vec<f32> {
    assert_eq!(x.len() % width, 0, "x of {} values is not [rows, {width}]", x.len());
    let wide: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
    wide.chunks_exact(width).flat_map(unit).map(|v| v as f32).collect()
}

/// One row divided by its length.
pub(super) fn unit(row: &[f64]) -> Vec<f64> {
    let length = row.iter().map(|v| v * v).sum::<f64>().sqrt();
    row.iter().map(|v| if length > 0.0 { v / length } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_four_five_and_zero() {
        assert_eq!(l2_normalize(&[3.0, -4.0, 0.0, 0.0], 2), [0.6, -0.8, 0.0, 0.0]);
    }
}
