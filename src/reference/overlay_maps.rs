//! Maps of a grid, resized and laid over their picture: [`upsample`] and [`overlay_texture`] in one step.

use crate::reference::{overlay_texture, upsample};

/// Resizes each map to the picture's size and blends its colours over the picture.
///
/// * `maps`: `[P, h, w]`, with `planes` = P and `from` = (w, h)
/// * `rgba`: `[H, W, 4]`, with `to` = (W, H)
///
/// Returns `[P, H, W, 4]` with alpha 255.
pub fn overlay_maps(maps: &[f32], planes: usize, from: [usize; 2], rgba: &[u8], to: [usize; 2]) -> Vec<u8> {
    upsample(maps, planes, from, to).chunks_exact(to[0] * to[1]).flat_map(|map| overlay_texture(map, rgba)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_map_over_the_same_picture() {
        // One cell each: a constant map, so every pixel has its colour, 0.6 of it over black.
        let out = overlay_maps(&[0.0, 1.0], 2, [1, 1], &[0; 8], [2, 1]);
        assert_eq!(out, [0, 0, 76, 255, 0, 0, 76, 255, 76, 0, 0, 255, 76, 0, 0, 255]);
    }
}
