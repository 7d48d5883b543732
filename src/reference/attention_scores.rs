//! The logits of attention: `scores[b, h, i, j] = scale * P[i] . Q[j]`, one matrix per segment and head.
//!
//! P and Q are any two of the query, key and value projections: (query, key) is the ordinary attention, (value, value)
//! that of CLIP Surgery, (query, query) and (key, key) that of SCLIP. With a causal mask, entries j > i are -1e30, a finite
//! stand-in for minus infinity that keeps NaN out of the shaders.

use super::attention::{Heads, Projection, Segment};
use super::matmul::dot;

/// What a masked entry holds: its softmax is 0.
pub(super) const MASKED: f32 = -1e30;

/// `scale * P Q^T` per segment and head, with entries j > i set to -1e30 when `causal`.
///
/// * `qkv`: `[T, 3 * H * size]`, queries, keys and values beside each other
/// * `segments`: B segments of one length `len`
/// * `path`: which projections P and Q are
///
/// Returns `[B, H, len, len]`.
pub fn attention_scores(
    qkv: &[f32],
    segments: &[Segment],
    heads: Heads,
    scale: f32,
    causal: bool,
    path: (Projection, Projection),
) -> Vec<f32> {
    assert!(segments.windows(2).all(|pair| pair[0].len == pair[1].len), "segments differ in length: {segments:?}");
    let mut out = Vec::new();
    for segment in segments {
        for head in 0..heads.heads {
            let [p, q] = [path.0, path.1].map(|which| heads.slice(qkv, *segment, head, which));
            for (i, p) in p.iter().enumerate() {
                for (j, q) in q.iter().enumerate() {
                    let masked = causal && j > i;
                    out.push(if masked { MASKED } else { (f64::from(scale) * dot(p, q)) as f32 });
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
    fn two_tokens_one_head() {
        let qkv = [1.0, 10.0, 100.0, 2.0, 20.0, 200.0]; // [2, 3]: q, k, v of each token
        let scores = |causal, path| attention_scores(&qkv, &[Segment { start: 0, len: 2 }], Heads { heads: 1, size: 1 }, 0.5, causal, path);
        assert_eq!(scores(false, (Projection::Query, Projection::Key)), [5.0, 10.0, 10.0, 20.0]);
        assert_eq!(scores(true, (Projection::Value, Projection::Value)), [5e3, -1e30, 1e4, 2e4]);
    }
}
