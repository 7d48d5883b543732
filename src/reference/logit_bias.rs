//! What a first pass found, as a bias for attention's scores in a second: `gain M / max(M) + window`, each image by its own
//! maximum.
//!
//! Source: ResCLIP, arXiv 2411.15851, equation of the semantic feedback refinement; gain is tau times lambda there.

/// What stands where a bias has a column but the sequence has no token: no softmax gives such a key any weight. Finite, so
/// that a difference of two is a number.
pub const NO_TOKEN: f32 = -1e30;

/// NACLIP's window (arXiv 2404.08181, section 3.2; sigma 5), by which patches look at their neighbourhood:
/// `G[a, b] = exp(-((ya - yb)^2 + (xa - xb)^2) / (2 sigma^2))` between patches, 0 in the class token's row and column. The
/// peak is 1, nothing is normalised.
///
/// As a bias `[1 + N, R]`, R being 1 + N rounded up to a multiple of 4, since kernels read a row four at a time; columns
/// beyond the last token hold [`NO_TOKEN`].
///
/// * `grid`: patches, (width, height)
/// * `sigma`: patches
pub fn gaussian_window(grid: [usize; 2], sigma: f32) -> Vec<f32> {
    let [width, height] = grid;
    let tokens = 1 + width * height;
    let wide = tokens.next_multiple_of(4);
    let variance = f64::from(sigma) * f64::from(sigma);
    let apart = |a: usize, b: usize| (a as f64 - b as f64).powi(2);
    let mut window = vec![NO_TOKEN; tokens * wide];
    for (a, row) in window.chunks_exact_mut(wide).enumerate() {
        row[..tokens].fill(0.0);
        if a == 0 {
            continue;
        }
        let (ya, xa) = ((a - 1) / width, (a - 1) % width);
        for (b, value) in row[1..tokens].iter_mut().enumerate() {
            *value = (-(apart(ya, b / width) + apart(xa, b % width)) / (2.0 * variance)).exp() as f32;
        }
    }
    window
}

/// The bias, padded as [`gaussian_window`] pads.
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

    #[test]
    fn one_at_the_patch_itself_and_e_to_the_minus_half_at_sigma() {
        // 6 wide, 2 high: 13 tokens in rows of 16.
        let window = gaussian_window([6, 2], 5.0);
        let at = |a: usize, b: usize| window[a * 16 + b];
        assert_eq!((at(3, 3), at(0, 0), at(0, 5), at(5, 0)), (1.0, 0.0, 0.0, 0.0));
        assert!((at(1, 6) - (-0.5f32).exp()).abs() < 1e-7, "five to the right");
        assert!((at(1, 7) - (-0.02f32).exp()).abs() < 1e-7, "one down, not six to the right");
        assert!((1..13).all(|a| (1..13).all(|b| at(a, b) == at(b, a))));
        assert!((0..13).all(|a| (13..16).all(|b| at(a, b) == NO_TOKEN)));
        assert_eq!(gaussian_window([1, 1], 5.0), [0.0, 0.0, NO_TOKEN, NO_TOKEN, 0.0, 1.0, NO_TOKEN, NO_TOKEN]);
    }
}
