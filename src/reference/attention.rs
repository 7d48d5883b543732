//! Multi-head attention over packed sequences: `out = softmax(scale * P Q^T) V` per head and segment.
//!
//! Sequences of any lengths lie end to end in one matrix of T tokens; a segment names the tokens of one. A token attends
//! only to its own segment. P and Q are any two of the three projections:
//!
//! * (query, key): "Attention Is All You Need" (Vaswani et al., 2017), the attention CLIP was trained with
//! * (value, value): CLIP Surgery (Li et al., 2023), where a token attends most to itself and to tokens alike
//!
//! Texts that share their beginnings are a trie instead: each distinct beginning is one token, in depth-first order, and a
//! token attends to those that lead to it. [`attention_trie`] is that; a sequence under a causal mask is a trie of one branch.
//!
//! The values are V in either case, and scale is `size^-0.5` in CLIP. Rows of `qkv` are `[q | k | v]`, and head h owns
//! columns `h * size .. (h+1) * size` of each third, as of the output.

mod sum;

pub use sum::{SumTerm, attention_sum};

use super::attention_scores::{MASKED, attention_scores};
use super::matmul::dot;
use super::softmax::softmax;
use super::unit_values::unit_values;

/// The tokens `start .. start + len` of a packed matrix: one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First token.
    pub start: u32,
    /// Number of tokens.
    pub len: u32,
}

/// How the width splits into heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Number of heads H.
    pub heads: usize,
    /// Channels per head.
    pub size: usize,
}

/// One of the three projections of a token, or what is made of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projection {
    /// What a token looks for.
    Query,
    /// What a token offers to be found by.
    Key,
    /// What a token hands over.
    Value,
    /// The value of each head divided by its length, as [`unit_values`](super::unit_values) has it for length 1.
    UnitValue,
}

impl Heads {
    /// One head's rows of one projection within a segment: `len` rows of `size` values out of `qkv`, `[T, 3 * H * size]`.
    pub(super) fn slice(self, qkv: &[f32], segment: Segment, head: usize, which: Projection) -> Vec<Vec<f32>> {
        let width = self.heads * self.size;
        assert_eq!(qkv.len() % (3 * width), 0, "qkv of {} values is not [T, 3 * {width}]", qkv.len());
        let tokens = segment.start as usize..(segment.start + segment.len) as usize;
        let row = |token: usize| {
            let row = &qkv[token * 3 * width..][..3 * width];
            match which {
                Projection::UnitValue => unit_values(row, self, 1.0)[3 * width + head * self.size..][..self.size].to_vec(),
                _ => row[which as usize * width + head * self.size..][..self.size].to_vec(),
            }
        };
        tokens.map(row).collect()
    }
}

/// `softmax(scale * P Q^T) V` per head and segment.
///
/// * `qkv`: `[T, 3 * H * size]`, queries, keys and values beside each other
/// * `segments`: the sequences; tokens in none of them come out as 0
/// * `causal`: token i attends to tokens 0 ..= i of its segment only
/// * `path`: which projections P and Q are
///
/// Returns `[T, H * size]`.
pub fn attention(qkv: &[f32], segments: &[Segment], heads: Heads, scale: f32, causal: bool, path: (Projection, Projection)) -> Vec<f32> {
    attention_capped(qkv, segments, heads, scale, None, causal, path)
}

/// As [`attention`], the scores `c tanh(score / c)` before the softmax where there is a cap c (arXiv 2410.11087: 30).
pub fn attention_capped(
    qkv: &[f32],
    segments: &[Segment],
    heads: Heads,
    scale: f32,
    cap: Option<f32>,
    causal: bool,
    path: (Projection, Projection),
) -> Vec<f32> {
    let width = heads.heads * heads.size;
    let mut out = vec![0.0; qkv.len() / 3];
    for &segment in segments {
        let len = segment.len as usize;
        let mut scores = attention_scores(qkv, &[segment], heads, scale, causal, path);
        if let Some(cap) = cap.map(f64::from) {
            // What a causal mask hides stays hidden.
            let visible = scores.iter_mut().filter(|s| **s > MASKED);
            visible.for_each(|s| *s = (cap * (f64::from(*s) / cap).tanh()) as f32);
        }
        let map = softmax(&scores, len.max(1));
        for head in 0..heads.heads {
            let values = heads.slice(qkv, segment, head, Projection::Value);
            for i in 0..len {
                let weights = &map[(head * len + i) * len..][..len];
                let row = (segment.start as usize + i) * width + head * heads.size;
                for c in 0..heads.size {
                    let terms = weights.iter().zip(&values).map(|(&w, v)| f64::from(w) * f64::from(v[c]));
                    out[row + c] = terms.sum::<f64>() as f32;
                }
            }
        }
    }
    out
}

/// `softmax(scale * P Q^T) V` per head over a trie, T tokens in depth-first order.
///
/// * `qkv`: `[T, 3 * H * size]`, queries, keys and values beside each other
/// * `ends`: `[T]`, behind the last descendant of each token: token i attends to token j if `j <= i < ends[j]`
/// * `path`: which projections P and Q are
///
/// Returns `[T, H * size]`.
pub fn attention_trie(qkv: &[f32], ends: &[u32], heads: Heads, scale: f32, path: (Projection, Projection)) -> Vec<f32> {
    let all = Segment { start: 0, len: ends.len() as u32 };
    let mut out = vec![0.0; qkv.len() / 3];
    for head in 0..heads.heads {
        let [p, q, v] = [path.0, path.1, Projection::Value].map(|which| heads.slice(qkv, all, head, which));
        for i in 0..ends.len() {
            let seen: Vec<usize> = (0..=i).filter(|&j| i < ends[j] as usize).collect();
            let scores: Vec<f32> = seen.iter().map(|&j| (f64::from(scale) * dot(&p[i], &q[j])) as f32).collect();
            let weights = softmax(&scores, seen.len());
            for c in 0..heads.size {
                let terms = seen.iter().zip(&weights).map(|(&j, &w)| f64::from(w) * f64::from(v[j][c]));
                out[(i * heads.heads + head) * heads.size + c] = terms.sum::<f64>() as f32;
            }
        }
    }
    out
}

/// The attention weights alone: `softmax(scale * P Q^T)`. Arguments as for [`attention_scores`].
///
/// Returns `[B, H, len, len]`; every row sums to 1.
pub fn attention_map(
    qkv: &[f32],
    segments: &[Segment],
    heads: Heads,
    scale: f32,
    causal: bool,
    path: (Projection, Projection),
) -> Vec<f32> {
    let len = segments.first().map_or(1, |segment| segment.len.max(1) as usize);
    softmax(&attention_scores(qkv, segments, heads, scale, causal, path), len)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADS: Heads = Heads { heads: 2, size: 2 };
    const VV: (Projection, Projection) = (Projection::Value, Projection::Value);

    fn qkv(tokens: usize) -> Vec<f32> {
        (0..tokens * 12).map(|i| ((i * 7919 + 13) % 101) as f32 / 50.0 - 1.0).collect()
    }

    #[test]
    fn a_cap_bounds_what_scores_may_differ_by() {
        let (qkv, all) = (qkv(3), [Segment { start: 0, len: 3 }]);
        let with = |scale, cap| attention_capped(&qkv, &all, HEADS, scale, cap, false, VV);
        let near = |a: Vec<f32>, b: Vec<f32>| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(near(with(1.0, Some(1e6)), attention(&qkv, &all, HEADS, 1.0, false, VV)), "a far cap changes nothing");
        assert!(near(with(1e6, Some(1e-6)), with(0.0, None)), "a cap of nothing is the mean");
        assert!(!near(with(1.0, Some(0.5)), with(1.0, None)));
    }

    #[test]
    fn without_scale_it_is_the_mean_of_the_values() {
        let qkv = qkv(3);
        let out = attention(&qkv, &[Segment { start: 0, len: 3 }], HEADS, 0.0, false, VV);
        for (c, &got) in out[..4].iter().enumerate() {
            let mean = (qkv[8 + c] + qkv[20 + c] + qkv[32 + c]) / 3.0;
            assert!((got - mean).abs() < 1e-6, "channel {c}: {got}, not {mean}");
        }
    }

    #[test]
    fn a_single_token_keeps_its_values() {
        let qkv = qkv(1);
        assert_eq!(attention(&qkv, &[Segment { start: 0, len: 1 }], HEADS, 0.7, true, VV), qkv[8..12]);
    }

    #[test]
    fn packing_changes_nothing() {
        let qkv = qkv(7);
        let path = (Projection::Query, Projection::Key);
        let packed = [Segment { start: 0, len: 3 }, Segment { start: 3, len: 4 }];
        let both = attention(&qkv, &packed, HEADS, 0.7, true, path);
        let first = attention(&qkv[..3 * 12], &packed[..1], HEADS, 0.7, true, path);
        let second = attention(&qkv[3 * 12..], &[Segment { start: 0, len: 4 }], HEADS, 0.7, true, path);
        assert_eq!(both, [first, second].concat());
    }

    #[test]
    fn a_trie_is_its_branches_one_by_one() {
        // 0 - 1 - 2
        //       \- 3 - 4        and 5 alone
        let (qkv, ends) = (qkv(6), [5, 5, 3, 5, 5, 6]);
        let path = (Projection::Query, Projection::Key);
        let got = attention_trie(&qkv, &ends, HEADS, 0.7, path);
        for branch in [&[0, 1, 2][..], &[0, 1, 3, 4], &[5]] {
            let packed: Vec<f32> = branch.iter().flat_map(|&t| qkv[t * 12..][..12].to_vec()).collect();
            let want = attention(&packed, &[Segment { start: 0, len: branch.len() as u32 }], HEADS, 0.7, true, path);
            for (&t, want) in branch.iter().zip(want.chunks(4)) {
                assert_eq!(&got[t * 4..][..4], want, "token {t} of {branch:?}");
            }
        }
    }

    #[test]
    fn causal_weights_are_lower_triangular() {
        let map = attention_map(&qkv(4), &[Segment { start: 0, len: 4 }], HEADS, 0.7, true, VV);
        for (i, row) in map.chunks_exact(4).enumerate() {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            assert!(row[i % 4 + 1..].iter().all(|&w| w == 0.0), "row {i}: {row:?}");
        }
    }
}
