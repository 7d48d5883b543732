//! What stands out: scores above a quantile of all.

/// 1 where a score is above the quantile, else 0.
///
/// * `scores`: `[B, n]`, not negative
/// * `quantile`: 0 to 1; between two ranks it is interpolated linearly
///
/// Returns `[B, n]`.
pub fn outliers(scores: &[f32], n: usize, quantile: f64) -> Vec<u32> {
    let mut out = Vec::new();
    for image in scores.chunks_exact(n) {
        let mut sorted = image.to_vec();
        sorted.sort_by(f32::total_cmp);
        let (rank, fraction) = quantile_rank(n, quantile);
        let low = sorted[rank];
        let limit = if fraction > 0.0 { low + fraction * (sorted[rank + 1] - low) } else { low };
        out.extend(image.iter().map(|&s| u32::from(s > limit)));
    }
    out
}

/// The rank below a quantile of n values, and how far it lies on the way to the next.
pub(crate) fn quantile_rank(n: usize, quantile: f64) -> (usize, f32) {
    let place = quantile.clamp(0.0, 1.0) * (n - 1) as f64;
    (place as usize, place.fract() as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_percent_of_196_are_ten() {
        let scores: Vec<f32> = (0..196).map(|i| ((i * 37) % 196) as f32).collect();
        let out = outliers(&scores, 196, 0.95);
        assert_eq!(out.iter().sum::<u32>(), 10);
        assert!(scores.iter().zip(&out).all(|(&s, &o)| (o == 1) == (s > 185.0)));
    }

    #[test]
    fn equal_scores_have_none() {
        assert_eq!(outliers(&[1.0; 31], 31, 0.95), [0; 31]);
        assert_eq!(outliers(&[1.0, 2.0, 3.0], 3, 1.0), [0; 3]);
        assert_eq!(outliers(&[1.0, 2.0, 3.0], 3, 0.0), [0, 1, 1]);
    }
}
