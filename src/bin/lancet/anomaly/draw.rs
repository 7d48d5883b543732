//! The picture of a map: the image under its colours, and their scale below.

use super::options::Range;
use crate::sheet::{INK, font, line_width, write_line};
use anyhow::{Result, bail};
use image::{Rgba, RgbaImage, imageops};
use lancet::explain::Anomaly;
use lancet::reference::{jet, overlay_texture};

/// Pictures smaller than this on their longer side are enlarged, so that the scale can be read.
const SMALLEST: u32 = 320;
const BAR: u32 = 14;
const LINE: u32 = 24;
const MARGIN: u32 = 8;
const FONT_PX: f32 = 17.0;

/// Colours from `range.low` to `range.high` over the image, and the scale -> RGBA pixels and their (width, height).
pub fn overlay(rgba: &[u8], found: &Anomaly, range: Range) -> Result<(Vec<u8>, [u32; 2])> {
    let [width, height] = found.size;
    let places: Vec<f32> = found.map.iter().map(|&v| range.place(v)).collect();
    let Some(picture) = RgbaImage::from_raw(width, height, overlay_texture(&places, rgba)) else {
        bail!("an image of {} bytes is not {width}x{height}", rgba.len())
    };
    let times = SMALLEST.div_ceil(width.max(height).max(1));
    let picture = match times {
        0 | 1 => picture,
        _ => imageops::resize(&picture, width * times, height * times, imageops::FilterType::Nearest),
    };
    let (low, high) = (format!("{:.4}", range.low), format!("{:.4}", range.high));
    let middle = format!("score {:.4}, image {:.4}", found.score, found.class_score);
    let font = font();
    let wide = |text: &str| font.as_ref().map_or(0, |f| line_width(f, text, FONT_PX) + 1);
    // Narrow pictures give way to the numbers below them.
    let width = picture.width().max(wide(&low) + wide(&high) + 2 * MARGIN).max(wide(&middle));
    let mut page = RgbaImage::from_pixel(width, picture.height() + BAR + 2 * LINE + 2 * MARGIN, Rgba([255; 4]));
    imageops::replace(&mut page, &picture, 0, 0);
    let top = picture.height() + MARGIN;
    for x in 0..width {
        let [r, g, b] = jet((255.0 * x as f32 / (width - 1).max(1) as f32) as u8);
        for y in 0..BAR {
            page.put_pixel(x, top + y, Rgba([r, g, b, 255]));
        }
    }
    if let Some(font) = &font {
        let below = top + BAR + 2;
        write_line(&mut page, font, &low, [0, below], width, FONT_PX, INK);
        write_line(&mut page, font, &high, [width - wide(&high), below], wide(&high), FONT_PX, INK);
        write_line(&mut page, font, &middle, [(width - wide(&middle)) / 2, below + LINE], wide(&middle), FONT_PX, INK);
    }
    let size = [page.width(), page.height()];
    Ok((page.into_raw(), size))
}
