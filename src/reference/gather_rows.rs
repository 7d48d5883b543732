//! Picks rows out of a matrix: `out[i] = x[rows[i]]`.
//!
//! CLIP reads a text's feature at its end-of-text token and an image's at its class token.

/// The named rows of `x`, in that order; a row may be named more than once.
///
/// * `x`: `[R, width]`
/// * `rows`: `[K]`
///
/// Returns `[K, width]`.
pub fn gather_rows(x: &[f32], width: usize, rows: &[u32]) -> Vec<f32> {
    assert_eq!(x.len() % width, 0, "x of {} values is not [R, {width}]", x.len());
    rows.iter().flat_map(|&row| &x[row as usize * width..][..width]).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_order_and_repeats() {
        let x = [0.0, 1.0, 10.0, 11.0, 20.0, 21.0];
        assert_eq!(gather_rows(&x, 2, &[2, 0, 2]), [20.0, 21.0, 0.0, 1.0, 20.0, 21.0]);
    }
}
