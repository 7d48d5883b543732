//! Rows of a matrix over pairs of patches, blurred along their length, divided by their sum, and given a class token:
//!
//! ```text
//! m[1 + i, 1 + j] = sum over t of g[t] same[i, j + t - half] / (sum over j of the same + 1e-8),   m[0, .] = m[., 0] = 0
//! ```
//!
//! g is a Gaussian that sums to 1, zeros stand beyond the ends. A row of the matrix is a picture written row by row, so the
//! blur runs across the edges of the picture: that is what the published code does. Its ReLU in between changes nothing,
//! since no term is negative.
//!
//! Source: ResCLIP's code, arXiv 2411.15851; sigma 5.

/// A Gaussian that sums to 1: min(`length`, 6 `sigma` + 1) taps, one more if that is even.
pub fn gaussian_taps(length: usize, sigma: f32) -> Vec<f32> {
    let size = length.min((6.0 * sigma + 1.0) as usize).max(1) | 1;
    let half = (size / 2) as f64;
    let at = |t: usize| (-(t as f64 - half).powi(2) / (2.0 * f64::from(sigma).powi(2))).exp();
    let sum: f64 = (0..size).map(at).sum();
    (0..size).map(|t| (at(t) / sum) as f32).collect()
}

/// Blurs and divides.
///
/// * `same`: `[B, N, N]`, with `patches` = N
/// * `taps`: `[K]`, K odd, from [`gaussian_taps`]
///
/// Returns `[B, 1 + N, 1 + N]` and the largest value of each row, `[B, 1 + N]`.
pub fn blur_rows(same: &[f32], patches: usize, taps: &[f32]) -> (Vec<f32>, Vec<f32>) {
    assert!(same.len().is_multiple_of(patches * patches), "pairs are not [B, {patches}, {patches}]");
    assert!(taps.len() % 2 == 1, "{} taps have no middle", taps.len());
    let half = taps.len() / 2;
    let (mut m, mut peaks) = (Vec::new(), Vec::new());
    for image in same.chunks_exact(patches * patches) {
        m.extend(vec![0.0; 1 + patches]);
        peaks.push(0.0);
        for row in image.chunks_exact(patches) {
            let tap = |j: usize, t: usize| (j + t).checked_sub(half).and_then(|at| row.get(at)).map_or(0.0, |&v| f64::from(v));
            let blurred: Vec<f64> = (0..patches).map(|j| taps.iter().enumerate().map(|(t, &g)| f64::from(g) * tap(j, t)).sum()).collect();
            let sum = blurred.iter().sum::<f64>() + 1e-8;
            m.push(0.0);
            m.extend(blurred.iter().map(|v| (v / sum) as f32));
            peaks.push((blurred.iter().copied().fold(0.0, f64::max) / sum) as f32);
        }
    }
    (m, peaks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_sum_to_one_and_ends_are_zeros() {
        let (m, peaks) = blur_rows(&[0.0, 4.0, 1.0, 1.0], 2, &[0.25, 0.5, 0.25]);
        // Row 1: 0 x 0.5 + 4 x 0.25 = 1 and 4 x 0.5 = 2. Row 2: 0.75 both.
        let third = |v: f32| (v / 3.0 * 1e6).round() / 1e6;
        let near: Vec<f32> = m.iter().map(|v| (v * 1e6).round() / 1e6).collect();
        assert_eq!(near, [0.0, 0.0, 0.0, 0.0, third(1.0), third(2.0), 0.0, 0.5, 0.5]);
        assert_eq!(peaks, [0.0, m[5], m[8]]);
    }

    #[test]
    fn taps_are_odd_and_sum_to_one() {
        for (length, taps) in [(1, 1), (2, 3), (7, 7), (16, 17), (31, 31), (32, 31), (1024, 31)] {
            let g = gaussian_taps(length, 5.0);
            assert_eq!(g.len(), taps, "of {length}");
            assert!((g.iter().sum::<f32>() - 1.0).abs() < 1e-6 && g[0] == g[taps - 1]);
        }
    }
}
