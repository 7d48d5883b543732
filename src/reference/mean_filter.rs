//! Scores to maps without a stretch: each patch becomes the mean of the 3 x 3 patches around it, the border replicated.
//!
//! `[B, 1 + N, L]` scores become `[B, L, N]` maps: the class row is dropped and each label's patches lie together, as in
//! [`minmax`](super::minmax). Source: AnoVL (arXiv 2308.15939).

/// Drops the class row and smooths each label's map.
///
/// * `scores`: `[B, 1 + N, L]`, with `labels` = L and `grid` = (w, h), N = w h
///
/// Returns `[B, L, N]`.
pub fn mean_filter(scores: &[f32], labels: usize, grid: [usize; 2]) -> Vec<f32> {
    let [width, height] = grid;
    let tokens = 1 + width * height;
    assert_eq!(scores.len() % (tokens * labels), 0, "scores of {} values are not [B, {tokens}, {labels}]", scores.len());
    let mut out = Vec::with_capacity(scores.len());
    for image in scores.chunks_exact(tokens * labels) {
        for label in 0..labels {
            for y in 0..height {
                for x in 0..width {
                    // Clamping before the step back keeps it in unsigned numbers.
                    let rows = [y.max(1) - 1, y, (y + 1).min(height - 1)];
                    let columns = [x.max(1) - 1, x, (x + 1).min(width - 1)];
                    let at = |row: usize, column: usize| f64::from(image[(1 + row * width + column) * labels + label]);
                    let sum: f64 = rows.iter().map(|&r| columns.iter().map(|&c| at(r, c)).sum::<f64>()).sum();
                    out.push((sum / 9.0) as f32);
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_spreads_and_borders_count_twice() {
        // 3 x 2 patches behind a class row; two labels: one patch of 9 in the corner, a constant.
        let scores = [77.0, 77.0, 9.0, 4.0, 0.0, 4.0, 0.0, 4.0, 0.0, 4.0, 0.0, 4.0, 0.0, 4.0];
        assert_eq!(mean_filter(&scores, 2, [3, 2]), [4.0, 2.0, 0.0, 2.0, 1.0, 0.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0]);
        assert_eq!(mean_filter(&[5.0, 2.0], 1, [1, 1]), [2.0]);
    }
}
