//! How long an image's rows are on average: `out = scale mean(|x|)`, or the root of that.
//!
//! With the root of the head size under one as scale it is GEM's adaptive temperature.

/// The mean length of the rows of each image, times `scale`; with `root` the square root of that.
///
/// * `x`: `[B tokens, width]`
///
/// Returns `[B]`.
pub fn mean_norm(x: &[f32], tokens: usize, width: usize, scale: f32, root: bool) -> Vec<f32> {
    assert_eq!(x.len() % (tokens * width), 0, "x of {} values is not [B {tokens}, {width}]", x.len());
    let length = |row: &[f32]| row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
    let mean = |image: &[f32]| f64::from(scale) * image.chunks_exact(width).map(length).sum::<f64>() / tokens as f64;
    x.chunks_exact(tokens * width).map(mean).map(|m| if root { m.sqrt() } else { m } as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_four_five() {
        let x = [3.0, 4.0, 0.0, 11.0, 0.0, 0.0, 6.0, 8.0];
        assert_eq!(mean_norm(&x, 2, 2, 0.5, false), [4.0, 2.5]);
        assert_eq!(mean_norm(&x, 2, 2, 2.0, true), [4.0, 10f32.sqrt()]);
    }
}
