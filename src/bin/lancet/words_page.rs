//! A sentence coloured by how its words rank: as a picture, and as a page with a map behind each word.

use crate::output::png;
use crate::sheet::{INK, font, line_width, write_line};
use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, Rgba, RgbaImage, imageops};
use lancet::reference::jet;
use std::fmt::Write as _;

/// Longest side of the photograph in the picture, and in the page.
const PICTURE_SIDE: u32 = 560;
const PAGE_SIDE: u32 = 960;
/// Longest side of a map in the page, which the browser stretches over the photograph.
const MAP_SIDE: u32 = 256;
const MARGIN: u32 = 16;
const FONT_PX: f32 = 28.0;
const LINE: u32 = 46;
/// Backgrounds of the first, second and third word, and of the strongest of the others.
const RANKS: [[u8; 3]; 3] = [[200, 30, 30], [232, 115, 20], [245, 190, 40]];
const OTHERS: [u8; 3] = [150, 195, 235];

/// A word or sign of the caption.
#[derive(Debug)]
pub struct Shown {
    pub text: String,
    pub rank: Option<usize>,
    pub similarity: f32,
    /// `[H, W]`, 0..1.
    pub map: Vec<f32>,
}

/// Background and ink of each word: the first three have colours of their own, the others a shade by similarity.
fn colours(words: &[Shown]) -> Vec<([u8; 3], [u8; 3])> {
    let ranked = || words.iter().filter(|w| w.rank.is_some()).map(|w| w.similarity);
    let (low, high) = (ranked().fold(f32::MAX, f32::min), ranked().fold(f32::MIN, f32::max));
    let of = |word: &Shown| match word.rank {
        Some(rank @ 1..=3) => (RANKS[rank - 1], if rank < 3 { [255; 3] } else { INK }),
        Some(_) => {
            let strength = if high > low { (word.similarity - low) / (high - low) } else { 0.0 };
            (OTHERS.map(|c| (255.0 - strength * (255.0 - f32::from(c))) as u8), INK)
        }
        None => ([255; 3], INK),
    };
    words.iter().map(of).collect()
}

fn scaled(rgba: &[u8], [width, height]: [u32; 2], side: u32) -> RgbaImage {
    let whole = RgbaImage::from_raw(width, height, rgba.to_vec()).unwrap_or_default();
    let scale = (f64::from(side) / f64::from(width.max(height).max(1))).min(1.0);
    let to = |n: u32| ((f64::from(n) * scale).round() as u32).max(1);
    if scale < 1.0 { imageops::thumbnail(&whole, to(width), to(height)) } else { whole }
}

/// The photograph with the coloured caption below -> RGBA pixels and their (width, height).
pub fn caption(rgba: &[u8], size: [u32; 2], words: &[Shown]) -> (Vec<u8>, [u32; 2]) {
    let photo = scaled(rgba, size, PICTURE_SIDE);
    let width = photo.width().max(PICTURE_SIDE) + 2 * MARGIN;
    let Some(font) = font() else { return (photo.to_vec(), [photo.width(), photo.height()]) };
    // Places of the words, line by line.
    let (mut x, mut y) = (MARGIN, photo.height() + 2 * MARGIN);
    let mut places = Vec::new();
    for word in words {
        let wide = (line_width(&font, &word.text, FONT_PX) + 14).min(width - 2 * MARGIN);
        if x > MARGIN && x + wide > width - MARGIN {
            (x, y) = (MARGIN, y + LINE);
        }
        places.push([x, y, wide]);
        x += wide + 6;
    }
    let legend = y + LINE + 6;
    let height = legend + 28 + MARGIN;
    let mut page = RgbaImage::from_pixel(width, height, Rgba([255; 4]));
    imageops::replace(&mut page, &photo, i64::from((width - photo.width()) / 2), i64::from(MARGIN));
    let mut chip = |[x, y, wide]: [u32; 3], tall: u32, [r, g, b]: [u8; 3]| {
        for (px, py) in (y..y + tall).flat_map(|py| (x..x + wide).map(move |px| (px, py))) {
            page.put_pixel(px, py, Rgba([r, g, b, 255]));
        }
    };
    let colours = colours(words);
    for (place, (back, _)) in places.iter().zip(&colours) {
        chip(*place, LINE - 8, *back);
    }
    let keys = ["first", "second", "third", "others, by cosine"];
    let mut marks = Vec::new();
    let mut x = MARGIN;
    for (key, back) in keys.iter().zip(RANKS.iter().chain([&OTHERS])) {
        chip([x, legend + 4, 16], 16, *back);
        marks.push((key, x + 22));
        x += 22 + line_width(&font, key, 18.0) + 18;
    }
    for ((word, [x, y, wide]), (_, ink)) in words.iter().zip(places).zip(colours) {
        write_line(&mut page, &font, &word.text, [x + 7, y + 2], wide - 7, FONT_PX, ink);
    }
    for (key, x) in marks {
        write_line(&mut page, &font, key, [x, legend], width - x, 18.0, INK);
    }
    (page.into_raw(), [width, height])
}

fn data_uri(kind: &str, bytes: &[u8]) -> String {
    format!("data:image/{kind};base64,{}", STANDARD.encode(bytes))
}

fn jpeg(rgba: RgbaImage) -> Result<String> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 88).encode_image(&DynamicImage::ImageRgba8(rgba).to_rgb8())?;
    Ok(data_uri("jpeg", &bytes))
}

/// A map in colours, opaque: the page lays it over the photograph as the overlays do, 6 parts in 10.
fn heat(map: &[f32], size: [u32; 2]) -> Result<String> {
    let colours: Vec<u8> = map
        .iter()
        .flat_map(|&v| {
            let [r, g, b] = jet((255.0 * v.clamp(0.0, 1.0)) as u8);
            [r, g, b, 255]
        })
        .collect();
    let small = scaled(&colours, size, MAP_SIDE);
    let mut bytes = Vec::new();
    png(&mut bytes, small.as_raw(), [small.width(), small.height()])?;
    Ok(data_uri("png", &bytes))
}

const STYLE: &str = "
  body { font: 17px/1.5 system-ui, sans-serif; color: #181818; background: #fff; margin: 0 auto; padding: 1.2rem; max-width: 960px; }
  .view { position: relative; line-height: 0; }
  .view img { width: 100%; height: auto; }
  .view .heat { position: absolute; inset: 0; height: 100%; opacity: 0; }
  .view .heat.on { opacity: .6; }
  .sentence { font-size: 1.5rem; margin: 1rem 0; }
  .word { font: inherit; border: 2px solid transparent; border-radius: 4px; padding: 0 .3em; margin: .1em 0; cursor: pointer; }
  .word.on { border-color: #181818; }
  table { border-collapse: collapse; }
  th, td { text-align: left; padding: .1rem 1.2rem .1rem 0; border-bottom: 1px solid #ddd; }
  td.n { font-variant-numeric: tabular-nums; text-align: right; }
";

const SCRIPT: &str = "
  const words = [...document.querySelectorAll('.word')];
  let pinned = null;
  const show = (word) => {
    for (const w of words) {
      w.classList.toggle('on', w === word);
      document.getElementById('map-' + w.dataset.word).classList.toggle('on', w === word);
    }
  };
  for (const w of words) {
    w.addEventListener('pointerenter', () => show(w));
    w.addEventListener('pointerleave', () => show(pinned));
    w.addEventListener('focus', () => show(w));
    w.addEventListener('blur', () => show(pinned));
    w.addEventListener('click', () => { pinned = pinned === w ? null : w; show(pinned); });
  }
";

/// A page that needs nothing else: pointing at a word shows its map over the photograph, a click keeps it.
pub fn page(title: &str, rgba: &[u8], size: [u32; 2], words: &[Shown]) -> Result<String> {
    let title = htmlize::escape_text(title);
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<div class=\"view\">\n\
         <img src=\"{}\" alt=\"the photograph\">\n",
        jpeg(scaled(rgba, size, PAGE_SIDE))?
    );
    for (i, word) in words.iter().enumerate() {
        let alt = htmlize::escape_attribute(&word.text);
        writeln!(html, "<img class=\"heat\" id=\"map-{i}\" src=\"{}\" alt=\"heat map of {alt}\">", heat(&word.map, size)?)?;
    }
    html.push_str("</div>\n<p class=\"sentence\">\n");
    for (i, (word, (back, ink))) in words.iter().zip(colours(words)).enumerate() {
        let css = |[r, g, b]: [u8; 3]| format!("rgb({r} {g} {b})");
        let rank = word.rank.map(|r| format!(", rank {r}")).unwrap_or_default();
        writeln!(
            html,
            "<button class=\"word\" data-word=\"{i}\" style=\"background: {}; color: {}\" title=\"cosine {:.3}{rank}\">{}</button>",
            css(back),
            css(ink),
            word.similarity,
            htmlize::escape_text(&word.text)
        )?;
    }
    html.push_str("</p>\n<p>Point at a word to see where the image shows it; click to keep it.</p>\n<table>\n<tr><th>rank</th><th>word</th><th>cosine</th></tr>\n");
    let mut ranked: Vec<&Shown> = words.iter().filter(|w| w.rank.is_some()).collect();
    ranked.sort_by_key(|w| w.rank);
    for w in ranked {
        let (rank, text) = (w.rank.unwrap_or(0), htmlize::escape_text(&w.text));
        writeln!(html, "<tr><td class=\"n\">{rank}</td><td>{text}</td><td class=\"n\">{:.3}</td></tr>", w.similarity)?;
    }
    write!(html, "</table>\n<script>{SCRIPT}</script>\n</body>\n</html>\n")?;
    Ok(html)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str, rank: Option<usize>, similarity: f32) -> Shown {
        Shown { text: text.into(), rank, similarity, map: vec![0.0, 0.5, 0.9, 1.0] }
    }

    #[test]
    fn first_three_stand_out_and_others_by_similarity() {
        let words =
            [word("a", Some(5), 0.1), word("b", Some(1), 0.5), word(".", None, 0.6), word("c", Some(4), 0.2), word("d", Some(2), 0.4)];
        let colours = colours(&words);
        assert_eq!((colours[1].0, colours[4].0, colours[2].0), (RANKS[0], RANKS[1], [255; 3]));
        assert!(colours[0].0[0] > colours[3].0[0], "weaker is paler");
    }

    #[test]
    fn words_cannot_become_markup() {
        let words = [word("<script>alert(1)</script>", Some(1), 0.5), word("\"&'", Some(2), 0.4)];
        let html = page("<b>&", &[9; 16], [2, 2], &words).unwrap();
        assert_eq!(html.matches("<script>").count(), 1, "the page's own");
        assert!(html.contains("&lt;script>alert") || html.contains("&lt;script&gt;alert"));
        assert!(!html.contains("<b>") && !html.contains("of \"&'\""));
        assert_eq!(html.matches("data:image/png;base64,").count(), 2);
    }

    #[test]
    fn long_captions_wrap() {
        let long: Vec<Shown> = (0..40).map(|i| word("wordword", Some(i + 1), 0.1)).collect();
        let (_, [w, one]) = caption(&[9; 16], [2, 2], &long[..1]);
        let (pixels, [wide, many]) = caption(&[9; 16], [2, 2], &long);
        assert_eq!((w, pixels.len() as u32), (wide, wide * many * 4));
        assert!(many > one + 3 * LINE);
    }
}
