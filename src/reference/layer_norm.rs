//! Layer normalisation of rows: `out = (x - mean) / sqrt(var + eps) * gain + bias`.
//!
//! Mean and variance run over the row; the variance is the biased one (divided by C). CLIP has eps = 1e-5 everywhere.
//! Source: "Layer Normalization" (Ba, Kiros, Hinton, 2016).

/// Normalises each row: `(x - mean) / sqrt(var + eps) * gain + bias`.
///
/// * `x`: `[rows, C]`
/// * `gain`, `bias`: `[C]`; their length is the width
///
/// Returns `[rows, C]`.
pub fn layer_norm(x: &[f32], gain: &[f32], bias: &[f32], eps: f32) -> Vec<f32> {
    let width = gain.len();
    assert_eq!(bias.len(), width, "bias is not [{width}]");
    assert_eq!(x.len() % width, 0, "x of {} values is not [rows, {width}]", x.len());
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks_exact(width) {
        let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / width as f64;
        let variance = row.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / width as f64;
        let scale = 1.0 / (variance + f64::from(eps)).sqrt();
        for ((&v, &gain), &bias) in row.iter().zip(gain).zip(bias) {
            out.push(((f64::from(v) - mean) * scale * f64::from(gain) + f64::from(bias)) as f32);
        }
    }
    out
}

/// [`layer_norm`] of two streams of equal shape: the class rows come from `class_x`, all others from `x`.
///
/// CLIP Surgery ends like this: patches from the new path, the class token from the original one.
///
/// * `x`, `class_x`: `[B, tokens, C]`; every row whose index is a multiple of `tokens` is read from `class_x`
/// * `gain`, `bias`: `[C]`
///
/// Returns `[B, tokens, C]`.
pub fn layer_norm_merged(x: &[f32], class_x: &[f32], tokens: usize, gain: &[f32], bias: &[f32], eps: f32) -> Vec<f32> {
    let width = gain.len();
    assert_eq!(x.len(), class_x.len(), "x has {} values, class_x {}", x.len(), class_x.len());
    assert_eq!(x.len() % (tokens * width), 0, "x of {} values is not [B, {tokens}, {width}]", x.len());
    let mut merged = x.to_vec();
    for class_row in (0..x.len()).step_by(tokens * width) {
        merged[class_row..class_row + width].copy_from_slice(&class_x[class_row..class_row + width]);
    }
    layer_norm(&merged, gain, bias, eps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_row_becomes_the_bias() {
        assert_eq!(layer_norm(&[3.5; 4], &[2.0; 4], &[1.0, -2.0, 0.0, 7.0], 1e-5), [1.0, -2.0, 0.0, 7.0]);
    }

    #[test]
    fn plus_minus_one_stays() {
        assert_eq!(layer_norm(&[9.0, 11.0], &[1.0, 1.0], &[0.0, 0.0], 0.0), [-1.0, 1.0]);
    }

    #[test]
    fn class_rows_come_from_the_other_stream() {
        let (patches, class) = ([9.0, 11.0].repeat(4), [11.0, 9.0].repeat(4));
        let out = layer_norm_merged(&patches, &class, 2, &[1.0; 2], &[0.0; 2], 0.0);
        assert_eq!(out, [1.0, -1.0, -1.0, 1.0, 1.0, -1.0, -1.0, 1.0]);
    }
}
