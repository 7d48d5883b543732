//! Points on a picture: green discs for what was named, red ones for what was not.

use anyhow::Result;
use image::{Rgba, RgbaImage, imageops};
use lancet::Image;
use lancet::explain::{Renderer, stretched};
use lancet::gpu::Gpu;
use std::sync::Arc;

/// Pictures smaller than this on their longer side are enlarged, so that discs can be told apart.
const SMALLEST: u32 = 480;
const POSITIVE: [f32; 3] = [40.0, 205.0, 65.0];
const NEGATIVE: [f32; 3] = [235.0, 45.0, 50.0];
const WHITE: [f32; 3] = [255.0; 3];
const DARK: [f32; 3] = [20.0; 3];

/// Draws `coords` (x, y) with `labels` (1 positive, 0 negative) on `[H, W, 4]` pixels. `cell` is the size of the cells the
/// points are centres of: discs stay apart. Returns pixels and their (width, height).
pub fn marked(rgba: &[u8], size: [u32; 2], coords: &[[u32; 2]], labels: &[u8], cell: [f32; 2]) -> (Vec<u8>, [u32; 2]) {
    let mut page = RgbaImage::from_raw(size[0], size[1], rgba.to_vec()).unwrap_or_default();
    let enlarged = SMALLEST.div_ceil(size[0].max(size[1]).max(1));
    if enlarged > 1 {
        page = imageops::resize(&page, size[0] * enlarged, size[1] * enlarged, imageops::FilterType::Nearest);
    }
    let scale = enlarged as f32;
    let longer = page.width().max(page.height()) as f32;
    // A third of a cell at most, so that neighbours leave the picture between them visible.
    let radius = (longer / 90.0).min(cell[0].min(cell[1]) * scale / 3.0).max(2.5);
    let line = (radius / 4.0).clamp(1.0, 4.0);
    // The weak ones first: what the user asked for lies on top.
    for wanted in [0, 1] {
        for (&[x, y], _) in coords.iter().zip(labels).filter(|(_, label)| **label == wanted) {
            let at = [(x as f32 + 0.5) * scale, (y as f32 + 0.5) * scale];
            disc(&mut page, at, radius + 1.7 * line, DARK, 0.55);
            disc(&mut page, at, radius + line, WHITE, 1.0);
            disc(&mut page, at, radius, if wanted == 1 { POSITIVE } else { NEGATIVE }, 1.0);
        }
    }
    let size = [page.width(), page.height()];
    (page.into_raw(), size)
}

/// The image under the mean of its heat maps, `[h * w]` scores of the grid (width, height) each.
pub fn heat(gpu: &Arc<Gpu>, maps: &[&[f32]], grid: [u32; 2], image: &Image<'_>) -> Result<Vec<u8>> {
    let mut mean = vec![0.0; (grid[0] * grid[1]) as usize];
    for map in maps {
        for (sum, v) in mean.iter_mut().zip(stretched(map)) {
            *sum += v / maps.len() as f32;
        }
    }
    Ok(pollster::block_on(Renderer::new(gpu, grid, image)?.draw(&mean))?.overlay)
}

/// A disc with a soft edge of one pixel.
fn disc(page: &mut RgbaImage, [x, y]: [f32; 2], radius: f32, colour: [f32; 3], opacity: f32) {
    let from = |c: f32| (c - radius - 1.0).max(0.0) as u32;
    let to = |c: f32, side: u32| ((c + radius + 2.0).max(0.0) as u32).min(side);
    for py in from(y)..to(y, page.height()) {
        for px in from(x)..to(x, page.width()) {
            let distance = (px as f32 + 0.5 - x).hypot(py as f32 + 0.5 - y);
            let share = (radius - distance + 0.5).clamp(0.0, 1.0) * opacity;
            let Rgba(pixel) = page.get_pixel_mut(px, py);
            for (channel, c) in pixel[..3].iter_mut().zip(colour) {
                *channel = (f32::from(*channel) * (1.0 - share) + c * share).round() as u8;
            }
            pixel[3] = 255;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discs_lie_where_the_points_are() {
        let (pixels, [w, h]) = marked(&[128; 60 * 40 * 4], [60, 40], &[[0, 0], [30, 20], [59, 39]], &[1, 0, 1], [10.0, 10.0]);
        // Eight times as large: 480 pixels or more.
        assert_eq!([w, h], [480, 320]);
        let at = |x: u32, y: u32| &pixels[((y * w + x) * 4) as usize..][..3];
        assert_eq!(at(244, 164), [235, 45, 50]);
        assert_eq!(at(4, 4), [40, 205, 65]);
        assert_eq!(at(476, 316), [40, 205, 65]);
        assert_eq!(at(120, 80), [128; 3]);
    }
}
