//! Maps stretched to 0..1 over the pixels of a picture they are resized to: `out = (x - min) / (max - min)`, min and max over
//! the resized map's pixels. Cells may come out beyond 0..1 where no pixel lies on their centre; pixels do not.
//!
//! Resizing is linear and its weights sum to 1, so this before the resize is the same as 0..1 behind it. A constant map is 0
//! everywhere. Source: GEM (arXiv 2312.00878), whose heat maps are resized first.

use super::upsample;

/// Stretches each map so that it is 0..1 once it is resized, half-pixel centres.
///
/// * `maps`: `[P, h, w]`, with `planes` = P, `from` = (w, h)
///
/// Returns `[P, h, w]`.
pub fn stretch_pixels(maps: &[f32], planes: usize, from: [usize; 2], to: [usize; 2]) -> Vec<f32> {
    let pixels = upsample(maps, planes, from, to);
    let mut out = Vec::with_capacity(maps.len());
    for (map, pixels) in maps.chunks_exact(from[0] * from[1]).zip(pixels.chunks_exact(to[0] * to[1])) {
        let min = pixels.iter().copied().fold(f32::INFINITY, f32::min);
        let max = pixels.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // Blends of equal cells may differ in the last digit, which must not become a map.
        let flat = map.iter().all(|v| *v == map[0]);
        let range = f64::from(max) - f64::from(min);
        out.extend(map.iter().map(|&v| if flat || range == 0.0 { 0.0 } else { ((f64::from(v) - f64::from(min)) / range) as f32 }));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_0_to_1_and_cells_may_lie_beyond() {
        // Four pixels of three cells: 1, 2.25, 2.25, 1; the highest cell has no pixel on its centre.
        let out = stretch_pixels(&[1.0, 3.0, 1.0], 1, [3, 1], [4, 1]);
        assert_eq!(upsample(&out, 1, [3, 1], [4, 1]), [0.0, 1.0, 1.0, 0.0]);
        assert!(out[1] > 1.0 && out[0] == 0.0);
        assert_eq!(stretch_pixels(&[7.0, 7.0], 1, [2, 1], [5, 3]), [0.0, 0.0]);
        assert_eq!(stretch_pixels(&[0.0, 1.0], 1, [2, 1], [2, 1]), [0.0, 1.0]);
    }
}
