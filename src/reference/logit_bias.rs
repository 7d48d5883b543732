//! What a first pass found, as a bias for attention's scores in a second: `gain M / max(M) + window`, each image by its own
//! maximum.
//!
//! Source: ResCLIP, arXiv 2411.15851, equation of the semantic feedback refinement; gain is tau times lambda there.

use super::gaussian_window::NO_TOKEN;

/// The bias, padded as [`gaussian_window`](super::gaussian_window()) pads.
///
/// * `m`: `[B, T, T]`, with `tokens` = T; something of every image is positive
/// * `window`: `[T, R]`, R being T rounded up to a multiple of 4
///
/// Returns `[B, T, R]`.
pub fn logit_bias(m: &[f32], tokens: usize, gain: f32, window: Option<&[f32]>) -> Vec<f32> {
    assert!(m.len().is_multiple_of(tokens * tokens), "the matrix is not [B, {tokens}, {tokens}]");
    let wide = tokens.next_multiple_of(4);
    assert!(window.is_none_or(|w| w.len() == tokens * wide), "the window is not [{tokens}, {wide}]");
    let mut bias = vec![NO_TOKEN; m.len() / tokens * wide];
    for (image, bias) in m.chunks_exact(tokens * tokens).zip(bias.chunks_exact_mut(tokens * wide)) {
        let largest = f64::from(image.iter().copied().fold(0.0, f32::max));
        for (at, &v) in image.iter().enumerate() {
            let at = at / tokens * wide + at % tokens;
            bias[at] = (f64::from(gain) * f64::from(v) / largest + window.map_or(0.0, |w| f64::from(w[at]))) as f32;
        }
    }
    bias
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_by_its_own_maximum() {
        let m = [0.0, 2.0, 4.0, 1.0, 0.5, 0.0, 0.25, 0.0];
        let (a, b) = (NO_TOKEN, NO_TOKEN);
        assert_eq!(logit_bias(&m, 2, 2.0, None), [0.0, 1.0, a, b, 2.0, 0.5, a, b, 2.0, 0.0, a, b, 1.0, 0.0, a, b]);
        let window = [0.0, 1.0, a, b, 1.0, 8.0, a, b];
        assert_eq!(logit_bias(&m[..4], 2, 2.0, Some(&window)), [0.0, 2.0, a, b, 3.0, 8.5, a, b]);
    }
}
