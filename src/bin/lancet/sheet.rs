//! The contact sheet: the image and all overlays on one page, each with its label and score.

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};
use image::{RgbaImage, imageops};

/// Longest side of a tile's picture, pixels; up to twice that for long and thin ones.
const SIDE: u32 = 320;
const MARGIN: u32 = 12;
const CAPTION: u32 = 28;
pub const FONT_PX: f32 = 20.0;
/// What the captions of narrow pictures get, pixels.
const NARROW: u32 = 200;
/// Dark text.
pub const INK: [u8; 3] = [24; 3];

/// One picture with a caption.
#[derive(Clone, Debug)]
pub struct Tile {
    caption: String,
    picture: RgbaImage,
}

impl Tile {
    /// Scales `[H, W, 4]` pixels to a tile; small pictures by whole numbers, so that their pixels stay what they are. What
    /// follows the last two spaces of a caption is kept when the rest has to be cut.
    pub fn new(caption: &str, rgba: &[u8], [width, height]: [u32; 2]) -> Tile {
        let whole = RgbaImage::from_raw(width, height, rgba.to_vec()).unwrap_or_default();
        let (longer, shorter) = (f64::from(width.max(height).max(1)), f64::from(width.min(height).max(1)));
        // Beyond 3 : 2 a longer side makes up for the shorter one.
        let side = f64::from(SIDE) * (longer / shorter / 1.5).sqrt().clamp(1.0, 2.0);
        let scale = side / longer;
        let scaled = |n: u32| ((f64::from(n) * scale).round() as u32).max(1);
        let picture = if scale < 1.0 {
            imageops::thumbnail(&whole, scaled(width), scaled(height))
        } else {
            let times = scale as u32;
            imageops::resize(&whole, width * times, height * times, imageops::FilterType::Nearest)
        };
        Tile { caption: caption.to_owned(), picture }
    }
}

/// Tiles row by row on white -> RGBA pixels and their (width, height). The first tile's size is everybody's.
pub fn sheet(tiles: &[Tile]) -> (Vec<u8>, [u32; 2]) {
    let (tile_width, tile_height) = tiles.first().map_or((1, 1), |t| t.picture.dimensions());
    let font = font();
    // Narrow pictures give way to their captions, within reason.
    let caption_width = |t: &Tile| font.as_ref().map_or(0, |f| line_width(f, &t.caption, FONT_PX) + 1);
    let widest = tiles.iter().map(caption_width).max().unwrap_or(0).min(NARROW);
    let cell = [tile_width.max(widest) + MARGIN, tile_height + CAPTION + MARGIN];
    let columns = columns(tiles.len() as u32, cell);
    let rows = (tiles.len() as u32).div_ceil(columns);
    let size = [columns * cell[0] + MARGIN, rows * cell[1] + MARGIN];
    let mut page = RgbaImage::from_pixel(size[0], size[1], image::Rgba([255; 4]));
    for (i, tile) in tiles.iter().enumerate() {
        let x = MARGIN + (i as u32 % columns) * cell[0];
        let y = MARGIN + (i as u32 / columns) * cell[1];
        imageops::replace(&mut page, &tile.picture, i64::from(x), i64::from(y));
        if let Some(font) = &font {
            let caption = fitted(font, &tile.caption, cell[0] - MARGIN);
            write_line(&mut page, font, &caption, [x, y + tile_height + 2], cell[0] - MARGIN, FONT_PX, INK);
        }
    }
    (page.into_raw(), size)
}

/// As many columns as make the page nearest to 4 : 3.
fn columns(tiles: u32, cell: [u32; 2]) -> u32 {
    let shape = |columns: u32| {
        let rows = tiles.div_ceil(columns);
        (f64::from(columns * cell[0]) / f64::from(rows * cell[1]) / (4.0 / 3.0)).ln().abs()
    };
    (1..=tiles.max(1)).min_by(|a, b| shape(*a).total_cmp(&shape(*b))).unwrap_or(1)
}

/// A caption that is no wider than `width`: a long label is cut, with an ellipsis, before the score behind it is.
fn fitted(font: &FontRef<'_>, caption: &str, width: u32) -> String {
    let (label, score) = caption.rfind("  ").map_or((caption, ""), |at| caption.split_at(at));
    let cuts =
        std::iter::once(caption.to_owned()).chain(label.char_indices().rev().map(|(at, _)| format!("{}…{score}", label[..at].trim_end())));
    // Where not even that fits, the line is cut when it is drawn.
    cuts.into_iter().find(|text| line_width(font, text, FONT_PX) <= width).unwrap_or_else(|| caption.to_owned())
}

/// The one font.
pub fn font() -> Option<FontRef<'static>> {
    FontRef::try_from_slice(epaint_default_fonts::UBUNTU_LIGHT).ok()
}

/// How wide a line is, pixels.
pub fn line_width(font: &FontRef<'_>, text: &str, px: f32) -> u32 {
    let font = font.as_scaled(PxScale::from(px));
    text.chars().map(|c| font.h_advance(font.glyph_id(c))).sum::<f32>().ceil() as u32
}

/// One line of text `px` high, its top left corner at (x, y); what does not fit is cut.
pub fn write_line(page: &mut RgbaImage, font: &FontRef<'_>, text: &str, [x, y]: [u32; 2], width: u32, px: f32, ink: [u8; 3]) {
    let font = font.as_scaled(PxScale::from(px));
    let mut pen = point(x as f32, y as f32 + font.ascent());
    for c in text.chars() {
        let id = font.glyph_id(c);
        let advance = font.h_advance(id);
        if pen.x + advance > (x + width) as f32 {
            break;
        }
        if let Some(outline) = font.outline_glyph(id.with_scale_and_position(px, pen)) {
            let bounds = outline.px_bounds();
            outline.draw(|gx, gy, coverage| {
                let at = (bounds.min.x as i64 + i64::from(gx), bounds.min.y as i64 + i64::from(gy));
                if let (Ok(x), Ok(y)) = (u32::try_from(at.0), u32::try_from(at.1))
                    && let Some(pixel) = page.get_pixel_mut_checked(x, y)
                {
                    for (channel, ink) in pixel.0.iter_mut().zip(ink) {
                        *channel = (f32::from(*channel) * (1.0 - coverage) + f32::from(ink) * coverage) as u8;
                    }
                }
            });
        }
        pen.x += advance;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_wide_rather_than_long() {
        assert_eq!(columns(1, [332, 280]), 1);
        assert_eq!(columns(6, [332, 280]), 3);
        assert_eq!(columns(3, [652, 130]), 1);
        let tile = Tile::new("a label", &vec![10; 640 * 480 * 4], [640, 480]);
        let (pixels, [w, h]) = sheet(&[tile.clone(), tile]);
        assert_eq!(pixels.len() as u32, w * h * 4);
        assert!(pixels.chunks(4).any(|p| p[0] < 60), "the caption is drawn");
    }

    #[test]
    fn tiles_can_be_made_out() {
        let size = |w: u32, h: u32| Tile::new("", &vec![10; (w * h * 4) as usize], [w, h]).picture.dimensions();
        assert_eq!(size(640, 480), (320, 240));
        assert_eq!(size(40, 30), (320, 240));
        assert_eq!(size(300, 200), (300, 200));
        // Long ones are longer, so that there is something to see.
        assert_eq!(size(2000, 300), (640, 96));
        assert_eq!(size(1, 3000), (1, 640));
    }

    #[test]
    fn long_labels_are_cut_and_scores_are_not() {
        let font = font().unwrap();
        assert_eq!(fitted(&font, "a label  0.123", 320), "a label  0.123");
        let cut = fitted(&font, "a label that goes on and on and on  0.123", 200);
        assert!(cut.starts_with("a label") && cut.ends_with("…  0.123"), "{cut}");
        assert!(line_width(&font, &cut, FONT_PX) <= 200);
        // A narrow picture's cell is as wide as its caption.
        let (_, [w, _]) = sheet(&[Tile::new("a house in the woods  0.123", &[10; 20 * 200 * 4], [20, 200])]);
        assert!((150..=NARROW + 2 * MARGIN).contains(&w), "{w}");
    }
}
