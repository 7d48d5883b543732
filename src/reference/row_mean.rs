//! The mean of each row.

/// The mean of each row of x `[R, width]` -> `[R]`.
pub fn row_mean(x: &[f32], width: usize) -> Vec<f32> {
    assert_eq!(x.len() % width, 0, "x of {} values is not [R, {width}]", x.len());
    x.chunks_exact(width).map(|row| (row.iter().map(|&v| f64::from(v)).sum::<f64>() / width as f64) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_rows() {
        assert_eq!(row_mean(&[1.0, 2.0, 6.0, -1.0, 0.0, 1.0], 3), [3.0, 0.0]);
    }
}
