//! Scores to heat maps: `out = (x - min) / (max - min)` over the patches of one image and label.
//!
//! `[B, 1 + N, L]` scores become `[B, L, N]` maps: the class row is dropped and each label's patches lie together.
//! A constant map is 0 everywhere (the published code divides 0 by 0 there). Source: CLIP Surgery's similarity map.

/// Drops the class row and stretches each label's map to 0..1; a constant map becomes 0.
///
/// * `scores`: `[B, 1 + N, L]`, with `images` = B, `tokens` = 1 + N and `labels` = L
///
/// Returns `[B, L, N]`.
pub fn minmax(scores: &[f32], images: usize, tokens: usize, labels: usize) -> Vec<f32> {
    assert_eq!(scores.len(), images * tokens * labels, "scores are not [{images}, {tokens}, {labels}]");
    let mut out = Vec::with_capacity(images * labels * (tokens - 1));
    for image in 0..images {
        for label in 0..labels {
            let map: Vec<f32> = (1..tokens).map(|token| scores[(image * tokens + token) * labels + label]).collect();
            let min = map.iter().copied().fold(f32::INFINITY, f32::min);
            let max = map.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let range = f64::from(max) - f64::from(min);
            for value in map {
                let above = f64::from(value) - f64::from(min);
                // NaN stays NaN: only a constant map is zeros.
                out.push(if range == 0.0 { 0.0 } else { (above / range) as f32 });
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_row_dropped_and_transposed() {
        // One image, 1 + 3 tokens, 2 labels; the second map is constant.
        let scores = [99.0, -99.0, 2.0, 7.0, 4.0, 7.0, 3.0, 7.0];
        assert_eq!(minmax(&scores, 1, 4, 2), [0.0, 1.0, 0.5, 0.0, 0.0, 0.0]);
    }
}
