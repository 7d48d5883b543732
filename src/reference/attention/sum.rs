//! Weighted sums of attentions over the same values, as the methods after CLIP Surgery use them (SCLIP, arXiv 2312.01597;
//! NACLIP, arXiv 2404.08181): several similarities, each with a softmax of its own, P and Q possibly of another block than V.

use super::{Heads, Segment};
use crate::reference::matmul::dot;
use crate::reference::softmax::softmax;

/// One softmax of the sum.
#[derive(Clone, Copy, Debug)]
pub struct SumTerm<'a> {
    /// Where P and Q lie, `[T, k C]`.
    pub source: &'a [f32],
    /// Which C columns of it P is, and which Q.
    pub columns: (usize, usize),
    /// What the softmax is multiplied by.
    pub weight: f32,
    /// Multiplies the dot products.
    pub scale: f32,
    /// Added to the scores: `[len, stride]` with its stride, or as many of them as there are segments, in their order.
    pub bias: Option<(&'a [f32], usize)>,
}

/// `sum of weight * softmax(scale * P Q^T + bias) V` per head and segment.
///
/// * `terms`: at least one
/// * `values`: V, `[T, C]`
/// * `segments`: the sequences; tokens in none of them come out as 0
///
/// Returns `[T, C]`, C = H * size.
pub fn attention_sum(terms: &[SumTerm<'_>], values: &[f32], segments: &[Segment], heads: Heads) -> Vec<f32> {
    let width = heads.heads * heads.size;
    let tokens = values.len() / width;
    let mut out = vec![0.0f64; values.len()];
    for term in terms {
        let stride = term.source.len() / tokens;
        for (number, segment) in segments.iter().enumerate() {
            let (start, len) = (segment.start as usize, segment.len as usize);
            for head in 0..heads.heads {
                let part = |token: usize, column: usize| &term.source[token * stride + column * width + head * heads.size..][..heads.size];
                for i in 0..len {
                    let scores: Vec<f32> = (0..len)
                        .map(|j| {
                            let product = f64::from(term.scale) * dot(part(start + i, term.columns.0), part(start + j, term.columns.1));
                            let bias = term.bias.map_or(0.0, |(table, stride)| {
                                let matrix = if table.len() > len * stride { number * len * stride } else { 0 };
                                table[matrix + i * stride + j]
                            });
                            (product + f64::from(bias)) as f32
                        })
                        .collect();
                    for (j, &p) in softmax(&scores, len).iter().enumerate() {
                        let value = &values[(start + j) * width + head * heads.size..][..heads.size];
                        let sums = &mut out[(start + i) * width + head * heads.size..][..heads.size];
                        sums.iter_mut().zip(value).for_each(|(o, &v)| *o += f64::from(term.weight * p) * f64::from(v));
                    }
                }
            }
        }
    }
    out.into_iter().map(|o| o as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{Projection, attention};

    const HEADS: Heads = Heads { heads: 2, size: 2 };

    #[test]
    fn one_term_of_weight_one_is_attention_and_weights_are_not_normalised() {
        let qkv: Vec<f32> = (0..5 * 12).map(|i| ((i * 7919 + 13) % 101) as f32 / 50.0 - 1.0).collect();
        let values: Vec<f32> = qkv.chunks(12).flat_map(|row| row[8..].to_vec()).collect();
        let segments = [Segment { start: 0, len: 2 }, Segment { start: 2, len: 3 }];
        let want = attention(&qkv, &segments, HEADS, 0.7, false, (Projection::Query, Projection::Key));
        let term = SumTerm { source: &qkv, columns: (0, 1), weight: 1.0, scale: 0.7, bias: None };
        for (terms, factor) in [(vec![term], 1.0), (vec![term, term], 2.0)] {
            let got = attention_sum(&terms, &values, &segments, HEADS);
            assert!(got.iter().zip(&want).all(|(g, w)| (g - factor * w).abs() < 1e-6), "{got:?} is not {factor} x {want:?}");
        }
    }

    #[test]
    fn a_bias_alone_chooses_the_keys() {
        let (source, values) = (vec![1.0; 6 * 4], (0..6 * 4).map(|i| i as f32).collect::<Vec<_>>());
        // Token i looks at token (i + 1) % 3 of its sequence; the second sequence the other way round.
        let one = [-1e30, 0.0, -1e30, -1e30, -1e30, 0.0, 0.0, -1e30, -1e30];
        let other = [-1e30, -1e30, 0.0, 0.0, -1e30, -1e30, -1e30, 0.0, -1e30];
        let bias = [one, other].concat();
        let term = SumTerm { source: &source, columns: (0, 0), weight: 1.0, scale: 0.0, bias: Some((&bias, 3)) };
        let segments = [Segment { start: 0, len: 3 }, Segment { start: 3, len: 3 }];
        let got = attention_sum(&[term], &values, &segments, HEADS);
        let order = [1, 2, 0, 5, 3, 4];
        assert_eq!(got, order.iter().flat_map(|&t: &usize| values[t * 4..][..4].to_vec()).collect::<Vec<_>>());
    }
}
