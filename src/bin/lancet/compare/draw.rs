//! One method's map over the image, by the method's own rule, at any size.

use image::{RgbaImage, imageops};
use lancet::Scores;
use lancet::explain::{Maps, stretched};
use lancet::reference::{mean_filter, overlay_texture, stretch_pixels, upsample_aligned};

/// The image that maps are drawn over.
#[derive(Debug)]
pub struct Drawing<'a> {
    rgba: &'a [u8],
    /// (width, height), pixels.
    size: [u32; 2],
}

/// A label's map of the first image at `size` (width, height), `[H, W]`: as the method has it.
pub fn map(rule: Maps, scores: &Scores, label: usize, size: [u32; 2]) -> Vec<f32> {
    let grid = scores.grid.map(|side| side as usize);
    let to = size.map(|side| side as usize);
    let patches = scores.map(0, label);
    let cells = match rule {
        Maps::Stretched => stretched(patches),
        Maps::Resized => stretch_pixels(patches, 1, grid, to),
        // The definition drops a class row in front.
        Maps::Smoothed => mean_filter(&std::iter::once(0.0).chain(patches.iter().copied()).collect::<Vec<_>>(), 1, grid),
    };
    upsample_aligned(&cells, 1, grid, to, rule.align())
}

impl<'a> Drawing<'a> {
    /// Over `[H, W, 4]` pixels of `size` (width, height).
    pub fn new(rgba: &'a [u8], size: [u32; 2]) -> Drawing<'a> {
        Drawing { rgba, size }
    }

    /// (width, height), pixels.
    pub fn size(&self) -> [u32; 2] {
        self.size
    }

    /// The map over the image, `[H, W, 4]`.
    pub fn overlay(&self, rule: Maps, scores: &Scores, label: usize) -> Vec<u8> {
        overlay_texture(&map(rule, scores, label, self.size), self.rgba)
    }

    /// The image scaled to about `side` pixels on its longer side.
    pub fn tile(&self, side: u32) -> RgbaImage {
        let whole = RgbaImage::from_raw(self.size[0], self.size[1], self.rgba.to_vec()).unwrap_or_default();
        let size = tile_size(self.size, side);
        if size[0] > self.size[0] {
            imageops::resize(&whole, size[0], size[1], imageops::FilterType::Triangle)
        } else {
            imageops::thumbnail(&whole, size[0], size[1])
        }
    }
}

/// (width, height) of a tile: the longer side is `side`, the shorter one at least a quarter of it.
fn tile_size([width, height]: [u32; 2], side: u32) -> [u32; 2] {
    let scale = f64::from(side) / f64::from(width.max(height).max(1));
    [width, height].map(|n| ((f64::from(n) * scale).round() as u32).max(side / 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_keep_the_shape_unless_nothing_would_be_seen() {
        assert_eq!(tile_size([480, 360], 160), [160, 120]);
        assert_eq!(tile_size([3, 4], 160), [120, 160]);
        assert_eq!(tile_size([4000, 10], 160), [160, 40]);
    }

    #[test]
    fn each_rule_draws_its_own_map() {
        let scores =
            Scores { images: 1, labels: 1, grid: [3, 1], class_cosines: vec![0.0], class_scores: vec![0.0], patches: vec![0.2, 0.2, 0.5] };
        assert_eq!(map(Maps::Stretched, &scores, 0, [3, 1]), [0.0, 0.0, 1.0]);
        // Two pixels lie between the cells: what is stretched is what they show.
        let pixels = map(Maps::Resized, &scores, 0, [2, 1]);
        assert!(pixels[0] == 0.0 && (pixels[1] - 1.0).abs() < 1e-6, "{pixels:?}");
        let smooth = map(Maps::Smoothed, &scores, 0, [3, 1]);
        assert!(smooth.iter().zip([0.2, 0.3, 0.4]).all(|(a, b)| (a - b).abs() < 1e-6), "{smooth:?}");
    }
}
