//! A bias of attention scores that knows places alone: a window, as large as the scores would be.
//!
//! Source: the neighbourhood-only mode of NACLIP's code (arXiv 2404.08181), which takes one mean of |q| |k| over all heads and
//! pairs of tokens, the class token included.

use super::attention::Heads;
use super::logit_bias::NO_TOKEN;

/// `window` times `scale` times the mean of `|p_i| |q_j|` over heads and pairs of an image's tokens; padding stays.
///
/// * `qkv`: `[B tokens, k C]`, of which P and Q are `columns` of C
/// * `window`: `[tokens, R]`, as [`gaussian_window`](super::gaussian_window) makes it
///
/// Returns `[B, tokens, R]`.
pub fn window_bias(
    qkv: &[f32],
    window: &[f32],
    tokens: usize,
    stride: usize,
    columns: (usize, usize),
    heads: Heads,
    scale: f32,
) -> Vec<f32> {
    let width = heads.heads * heads.size;
    let image = |image: &[f32]| {
        let lengths = |column: usize, head: usize| -> f64 {
            let length = |row: &[f32]| {
                let part = &row[column * width + head * heads.size..][..heads.size];
                part.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt()
            };
            image.chunks_exact(stride).map(length).sum()
        };
        let sum: f64 = (0..heads.heads).map(|head| lengths(columns.0, head) * lengths(columns.1, head)).sum();
        let factor = f64::from(scale) * sum / (heads.heads * tokens * tokens) as f64;
        window.iter().map(|&w| if w == NO_TOKEN { w } else { (f64::from(w) * factor) as f32 }).collect::<Vec<_>>()
    };
    qkv.chunks_exact(tokens * stride).flat_map(image).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_over_heads_and_pairs() {
        // Two tokens, two heads of one channel; q, k, v.
        let qkv = [3.0, -1.0, 2.0, 4.0, 0.0, 0.0, 1.0, 1.0, 0.0, 2.0, 0.0, 0.0];
        // |q|: head 0 3 and 1, head 1 1 and 1; |k|: 2 and 0, 4 and 2. Mean: (4 * 2 + 2 * 6) / (2 * 4) = 2.5.
        let got = window_bias(
            &qkv,
            &[0.0, 1.0, NO_TOKEN, NO_TOKEN, 1.0, 0.5, NO_TOKEN, NO_TOKEN],
            2,
            6,
            (0, 1),
            Heads { heads: 2, size: 1 },
            2.0,
        );
        assert_eq!(got, [0.0, 5.0, NO_TOKEN, NO_TOKEN, 5.0, 2.5, NO_TOKEN, NO_TOKEN]);
    }
}
