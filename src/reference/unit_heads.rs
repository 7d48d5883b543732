//! Heads of a row as directions: `out = factor x / |x|` for every `size` consecutive channels.
//!
//! Their dot products are cosines. GEM (section 3 of its paper) attends by such rows, times a temperature per image; its root is put
//! on both sides.

/// Divides every `size` channels by their length, at least 1e-12; zeros stay zeros.
///
/// * `x`: `[T, K]`, K a multiple of `size`
/// * `factors`: `[B]`, one for the rows of each image; empty for 1
///
/// Returns `[T, K]`.
pub fn unit_heads(x: &[f32], size: usize, factors: &[f32]) -> Vec<f32> {
    assert_eq!(x.len() % (size * factors.len().max(1)), 0, "x of {} values is not {} images of heads of {size}", x.len(), factors.len());
    let part = x.len() / factors.len().max(1);
    let unit = |(i, head): (usize, &[f32])| {
        let length = head.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt().max(1e-12);
        let factor = factors.get(i * size / part).map_or(1.0, |&f| f64::from(f));
        head.iter().map(move |&v| (factor * f64::from(v) / length) as f32).collect::<Vec<_>>()
    };
    x.chunks_exact(size).enumerate().flat_map(unit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_head_alone_and_each_image_its_factor() {
        let x = [3.0, 4.0, 0.0, 0.0, 0.0, -2.0, 6.0, 8.0];
        assert_eq!(unit_heads(&x, 2, &[]), [0.6, 0.8, 0.0, 0.0, 0.0, -1.0, 0.6, 0.8]);
        assert_eq!(unit_heads(&x, 2, &[5.0, 10.0]), [3.0, 4.0, 0.0, 0.0, 0.0, -10.0, 6.0, 8.0]);
    }
}
