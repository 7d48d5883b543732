//! Feature surgery: takes out of every label's similarity what all labels share.
//!
//! With a set of L labels (cos is `[1 + N, L]`, row 0 the class token):
//!
//! ```text
//! p = softmax over labels of (sharpness * cos[0])       sharpness = 2
//! w = p / mean(p)                                       how present each label is in the image; mean 1
//! S[i, l] = w[l] cos[i, l] - mean over k of w[k] cos[i, k]
//! ```
//!
//! With a reference text R (the empty string), for single labels:
//!
//! ```text
//! S[i, l] = features[i] . (labels[l] - R) = cos[i, l] - cos[i, R]
//! ```
//!
//! Source: CLIP Surgery (Li et al., 2023), feature surgery. Its published code multiplies features and labels element by
//! element into `[N, L, D]`, subtracts the mean over labels and sums over D. Sums and means commute, so the products
//! collapse into the cosines above and never need to exist. A test below compares the two.

use super::softmax::softmax;

/// Feature surgery over a label set.
///
/// * `cos`: `[B, 1 + N, L]`, with `images` = B and `labels` = L
/// * `sharpness`: the factor in the softmax of the class token's cosines; 2 in CLIP Surgery
/// * `weight_minuend`: whether the label's own cosine carries its weight, as in the published code. Without it the same
///   number is subtracted from all labels of a row, so their order stays that of the cosines
///
/// Returns `[B, 1 + N, L]`. Weighted rows sum to 0; one label alone gives 0 everywhere.
pub fn feature_surgery_labels(cos: &[f32], images: usize, labels: usize, sharpness: f32, weight_minuend: bool) -> Vec<f32> {
    assert!(images > 0 && labels > 0, "{images} images and {labels} labels");
    assert_eq!(cos.len() % (images * labels), 0, "cos of {} values is not [{images}, 1 + N, {labels}]", cos.len());
    let mut out = Vec::with_capacity(cos.len());
    for image in cos.chunks_exact(cos.len() / images) {
        let sharpened: Vec<f32> = image[..labels].iter().map(|c| sharpness * c).collect();
        // The softmax sums to 1, so its mean is 1 / L.
        let weights: Vec<f64> = softmax(&sharpened, labels).iter().map(|&p| f64::from(p) * labels as f64).collect();
        for row in image.chunks_exact(labels) {
            let weighted: Vec<f64> = row.iter().zip(&weights).map(|(&c, w)| w * f64::from(c)).collect();
            let shared = weighted.iter().sum::<f64>() / labels as f64;
            for (&c, weighted) in row.iter().zip(weighted) {
                let minuend = if weight_minuend { weighted } else { f64::from(c) };
                out.push((minuend - shared) as f32);
            }
        }
    }
    out
}

/// Feature surgery against a reference text: each label's cosine less the reference's.
///
/// * `cos`: `[rows, L + 1]`, the last column being the reference text
///
/// Returns `[rows, L]`.
pub fn feature_surgery_reference(cos: &[f32], rows: usize, labels: usize) -> Vec<f32> {
    assert_eq!(cos.len(), rows * (labels + 1), "cos is not [{rows}, {labels} + 1]");
    cos.chunks_exact(labels + 1).flat_map(|row| row[..labels].iter().map(|c| c - row[labels])).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{l2_normalize, similarity};
    use super::*;

    const WIDTH: usize = 6;

    fn unit_rows(rows: usize, seed: usize) -> Vec<f32> {
        let values: Vec<f32> = (0..rows * WIDTH).map(|i| ((i * 7919 + seed) % 103) as f32 / 51.0 - 1.0).collect();
        l2_normalize(&values, WIDTH)
    }

    /// The published form: products `[N, L, D]`, less their mean over labels, summed over D.
    fn literal(features: &[f32], texts: &[f32], redundant: Option<&[f32]>) -> Vec<f64> {
        let labels = texts.len() / WIDTH;
        let cos = similarity(&features[..WIDTH], texts, WIDTH);
        let exponentials: Vec<f64> = cos.iter().map(|&c| (2.0 * f64::from(c)).exp()).collect();
        let mean = exponentials.iter().sum::<f64>() / labels as f64;
        let mut out = Vec::new();
        for feature in features.chunks_exact(WIDTH) {
            let product = |l: usize, d: usize| {
                let weight = if redundant.is_some() { 1.0 } else { exponentials[l] / mean };
                f64::from(feature[d]) * f64::from(texts[l * WIDTH + d]) * weight
            };
            for l in 0..labels {
                let terms = (0..WIDTH).map(|d| match redundant {
                    Some(redundant) => product(l, d) - f64::from(feature[d]) * f64::from(redundant[d]),
                    None => product(l, d) - (0..labels).map(|k| product(k, d)).sum::<f64>() / labels as f64,
                });
                out.push(terms.sum());
            }
        }
        out
    }

    fn assert_close(got: &[f32], want: &[f64]) {
        assert_eq!(got.len(), want.len());
        let worst = got.iter().zip(want).map(|(&a, b)| (f64::from(a) - b).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-6, "differs by {worst}");
    }

    #[test]
    fn collapsed_equals_literal() {
        let (features, texts) = (unit_rows(2 * 5, 3), unit_rows(4, 31));
        let cos = similarity(&features, &texts, WIDTH);
        let want: Vec<f64> = features.chunks_exact(5 * WIDTH).flat_map(|image| literal(image, &texts, None)).collect();
        assert_close(&feature_surgery_labels(&cos, 2, 4, 2.0, true), &want);

        let reference = unit_rows(1, 77);
        let cos = similarity(&features, &[texts.clone(), reference.clone()].concat(), WIDTH);
        assert_close(&feature_surgery_reference(&cos, 10, 4), &literal(&features, &texts, Some(&reference)));
    }

    #[test]
    fn rows_sum_to_zero() {
        let cos = similarity(&unit_rows(5, 3), &unit_rows(4, 31), WIDTH);
        for row in feature_surgery_labels(&cos, 1, 4, 2.0, true).chunks_exact(4) {
            assert!(row.iter().sum::<f32>().abs() < 1e-6, "{row:?}");
        }
    }

    #[test]
    fn one_label_alone_gives_zero() {
        assert_eq!(feature_surgery_labels(&[0.3, -0.2, 0.9], 1, 1, 2.0, true), [0.0; 3]);
    }

    #[test]
    fn an_unweighted_minuend_keeps_the_order_of_labels() {
        let cos = [0.1, 0.9, 0.2, 0.21, 0.2, 0.0];
        for (row, cos) in feature_surgery_labels(&cos, 1, 3, 2.0, false).chunks_exact(3).zip(cos.chunks_exact(3)) {
            assert!((row[0] - row[1] - (cos[0] - cos[1])).abs() < 1e-6);
            assert!((row[0] - row[2] - (cos[0] - cos[2])).abs() < 1e-6);
        }
    }
}
