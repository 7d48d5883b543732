//! Affinities as a bias of attention scores: how far above an image's mean, and nothing below it.
//!
//! ```text
//! out = sharpness (s - mean)   where that is not negative, else -1e30
//! ```

/// What [`affinity_bias`] puts in place of minus infinity: its exponential is 0, and it can be computed with.
const HIDDEN: f32 = -1e30;

/// Affinities above their mean, times `sharpness`.
///
/// * `s`: `[B, n, n]`
/// * `mean`: `[B]`
///
/// Returns `[B, n, n4]`, n4 being n rounded up to a multiple of 4; the columns beyond n are -1e30.
pub fn affinity_bias(s: &[f32], mean: &[f32], n: usize, sharpness: f32) -> Vec<f32> {
    assert_eq!(s.len(), mean.len() * n * n, "s is [{}, {n}, {n}]", mean.len());
    let mut out = Vec::new();
    for (image, &mean) in s.chunks_exact(n * n).zip(mean) {
        for row in image.chunks_exact(n) {
            let above = row.iter().map(|&v| v - mean);
            out.extend(above.map(|above| if above < 0.0 { HIDDEN } else { sharpness * above }));
            out.resize(out.len().next_multiple_of(4), HIDDEN);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_the_mean_is_hidden() {
        let out = affinity_bias(&[1.0, 0.5, 0.25, 0.25], &[0.5], 2, 3.0);
        assert_eq!(out, [1.5, 0.0, HIDDEN, HIDDEN, HIDDEN, HIDDEN, HIDDEN, HIDDEN]);
    }
}
