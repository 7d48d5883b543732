//! The contact sheet: a row for each method, a column for each label, the image in the corner.

use super::draw::{Drawing, map};
use super::truth::{Measured, Truth};
use crate::sheet::{INK, font, line_width, write_line};
use image::{Rgba, RgbaImage, imageops};
use lancet::reference::overlay_texture;
use lancet::{Method, Scores};

/// Longer side of a cell's picture, pixels.
const SIDE: u32 = 160;
const GAP: u32 = 6;
const LINE: u32 = 22;
const FONT_PX: f32 = 17.0;
const SMALL_PX: f32 = 14.0;
const GREY: [u8; 3] = [105; 3];
/// Labels on one page; more make more pages.
const COLUMNS: usize = 16;

/// Pages of RGBA pixels, and their (width, height): one for each sixteen labels.
pub fn pages(
    drawing: &Drawing<'_>,
    labels: &[String],
    methods: &[(&Method, &Scores)],
    truth: Option<&Truth>,
    measured: &[Measured],
) -> Vec<(Vec<u8>, [u32; 2])> {
    let tile = drawing.tile(SIDE);
    let starts = (0..labels.len()).step_by(COLUMNS);
    starts.map(|first| page(&tile, first, &labels[first..labels.len().min(first + COLUMNS)], methods, truth, measured)).collect()
}

fn page(
    tile: &RgbaImage,
    first: usize,
    labels: &[String],
    methods: &[(&Method, &Scores)],
    truth: Option<&Truth>,
    measured: &[Measured],
) -> (Vec<u8>, [u32; 2]) {
    let font = font();
    let wide = |text: &str, px: f32| font.as_ref().map_or(0, |f| line_width(f, text, px) + 1);
    let [width, height] = [tile.width(), tile.height().max(2 * LINE)];
    let gutter = methods.iter().map(|(m, _)| wide(&m.name, FONT_PX)).max().unwrap_or(0).max(width) + 2 * GAP;
    let (column, row) = (width.max(SIDE / 2) + GAP, height + GAP);
    let header = GAP + height + LINE;
    let size = [gutter + column * labels.len() as u32, header + row * methods.len() as u32];
    let mut sheet = RgbaImage::from_pixel(size[0], size[1], Rgba([255; 4]));
    let write = |sheet: &mut RgbaImage, text: &str, at: [u32; 2], room: u32, px: f32, ink: [u8; 3]| {
        if let Some(font) = &font {
            write_line(sheet, font, &cut(text, |t| wide(t, px) <= room), at, room, px, ink);
        }
    };

    imageops::replace(&mut sheet, tile, i64::from(GAP), i64::from(GAP));
    for (i, label) in labels.iter().enumerate() {
        let left = gutter + column * i as u32;
        if let Some(shown) = truth.and_then(|t| t.shown(first + i, tile)) {
            imageops::replace(&mut sheet, &shown, i64::from(left), i64::from(GAP));
        }
        write(&mut sheet, label, [left, GAP + height + 1], column - GAP, FONT_PX, INK);
    }
    for (at, (method, scores)) in methods.iter().enumerate() {
        let top = header + row * at as u32;
        let note = measured.get(at).map(Measured::note);
        let lines = if note.is_some() { 2 } else { 1 };
        let name_at = top + (height - lines * LINE) / 2;
        write(&mut sheet, &method.name, [GAP, name_at], gutter - GAP, FONT_PX, INK);
        if let Some(note) = note {
            write(&mut sheet, &note, [GAP, name_at + LINE], gutter - GAP, SMALL_PX, GREY);
        }
        for i in 0..labels.len() {
            let map = map(method.maps, scores, first + i, [tile.width(), tile.height()]);
            if let Some(cell) = RgbaImage::from_raw(tile.width(), tile.height(), overlay_texture(&map, tile.as_raw())) {
                imageops::replace(&mut sheet, &cell, i64::from(gutter + column * i as u32), i64::from(top));
            }
        }
    }
    (sheet.into_raw(), size)
}

/// A text that is cut, with an ellipsis, until it fits.
fn cut(text: &str, fits: impl Fn(&str) -> bool) -> String {
    if fits(text) {
        return text.to_owned();
    }
    let shorter = text.char_indices().rev().map(|(at, _)| format!("{}…", text[..at].trim_end()));
    shorter.into_iter().find(|t| fits(t)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(labels: usize) -> Scores {
        let patches = (0..labels).flat_map(|_| [0.0, 0.1, 0.2, 0.3]).collect();
        Scores { images: 1, labels, grid: [2, 2], class_cosines: vec![0.0; labels], class_scores: vec![0.0; labels], patches }
    }

    #[test]
    fn rows_are_methods_and_columns_labels() {
        let rgba = vec![128; 40 * 30 * 4];
        let drawing = Drawing::new(&rgba, [40, 30]);
        let scores = scores(20);
        let labels: Vec<String> = (0..20).map(|i| format!("label {i}")).collect();
        let methods = [(&Method::CLIP, &scores), (&Method::SURGERY, &scores)];
        let pages = pages(&drawing, &labels, &methods, None, &[]);
        // Sixteen labels and four.
        assert_eq!(pages.len(), 2);
        let ([w, h], [w_rest, h_rest]) = (pages[0].1, pages[1].1);
        assert_eq!((w - w_rest, h), (12 * (SIDE + GAP), h_rest));
        assert_eq!(pages[0].0.len() as u32, w * h * 4);
        // The last cell's coldest and warmest corners: 4 parts of 128 and 6 of blue or red.
        let at = |x: u32, y: u32| &pages[0].0[((y * w + x) * 4) as usize..][..3];
        assert_eq!(at(w - GAP - SIDE, h - GAP - 120), [51, 51, 128]);
        assert_eq!(at(w - GAP - 1, h - GAP - 1), [128, 51, 51]);
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(cut("a long name", |t| t.chars().count() <= 7), "a long…");
        assert_eq!(cut("short", |_| true), "short");
        assert_eq!(cut("x", |_| false), "");
    }
}
