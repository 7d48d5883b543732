//! Pictures of a segmentation: the index picture, and colours over the image beside a legend.

use crate::sheet::{FONT_PX, INK, font, write_line};
use anyhow::{Result, bail};
use image::{Rgba, RgbaImage, imageops};
use lancet::{Classes, Segmentation};
use std::io::Write;

/// Longest side of the overlay's picture, pixels: a legend beside a larger one could not be read.
const SIDE: u32 = 1280;
const LEGEND: u32 = 300;
const LINE: u32 = 28;
const MARGIN: u32 = 12;
const SWATCH: u32 = 18;
/// How much of the class's colour covers the image.
const COVER: f32 = 0.55;

/// Class indices as PNG: 8 bit with the classes' colours, or 16 bit grey for more than 256 classes.
pub fn indexed(writer: &mut dyn Write, found: &Segmentation, classes: &Classes) -> Result<()> {
    let mut encoder = png::Encoder::new(writer, found.size[0], found.size[1]);
    if classes.list().len() > 256 {
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Sixteen);
        let bytes: Vec<u8> = found.class_of_pixel.iter().flat_map(|c| c.to_be_bytes()).collect();
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&bytes)?;
        return Ok(writer.finish()?);
    }
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(classes.colours().concat());
    let bytes: Vec<u8> = found.class_of_pixel.iter().map(|&c| c as u8).collect();
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&bytes)?;
    Ok(writer.finish()?)
}

/// The image in the classes' colours, outlines between them, and a legend of the classes that are there -> RGBA pixels and
/// their (width, height). A background keeps the image's own colours, paler.
pub fn overlay(rgba: &[u8], found: &Segmentation, classes: &Classes) -> Result<(Vec<u8>, [u32; 2])> {
    let [width, height] = found.size;
    let scale = (f64::from(SIDE) / f64::from(width.max(height))).min(1.0);
    let [w, h] = found.size.map(|n| ((f64::from(n) * scale).round() as u32).max(1));
    let Some(image) = RgbaImage::from_raw(width, height, rgba.to_vec()) else {
        bail!("an image of {} bytes is not {width}x{height}", rgba.len())
    };
    let image = if scale < 1.0 { imageops::thumbnail(&image, w, h) } else { image };
    let colours = classes.colours();
    let class_at = |x: u32, y: u32| {
        let nearest = |i: u32, to: u32, from: u32| (u64::from(i) * u64::from(from) / u64::from(to)) as usize;
        usize::from(found.class_of_pixel[nearest(y, h, height) * width as usize + nearest(x, w, width)])
    };

    let mut order: Vec<usize> = (0..classes.list().len()).filter(|&c| found.areas[c] > 0).collect();
    order.sort_by_key(|&c| std::cmp::Reverse(found.areas[c]));
    let size = [w + LEGEND + 3 * MARGIN, (h + 2 * MARGIN).max(order.len() as u32 * LINE + 2 * MARGIN)];
    let mut page = RgbaImage::from_pixel(size[0], size[1], Rgba([255; 4]));
    for (x, y, pixel) in image.enumerate_pixels() {
        let class = class_at(x, y);
        let edge = (x + 1 < w && class_at(x + 1, y) != class) || (y + 1 < h && class_at(x, y + 1) != class);
        let blend = |c: usize| {
            let (from, to) = (f32::from(pixel.0[c]), f32::from(colours[class][c]));
            match (edge, classes.has_background() && class == 0) {
                (true, _) => 255.0,
                (_, true) => 0.75 * from + 0.25 * 255.0,
                _ => (1.0 - COVER) * from + COVER * to,
            }
        };
        page.put_pixel(MARGIN + x, MARGIN + y, Rgba([blend(0) as u8, blend(1) as u8, blend(2) as u8, 255]));
    }
    let font = font();
    let total: u64 = found.areas.iter().sum();
    for (line, &class) in order.iter().enumerate() {
        let (x, y) = (w + 2 * MARGIN, MARGIN + line as u32 * LINE);
        let [r, g, b] = colours[class];
        for dy in 0..SWATCH {
            for dx in 0..SWATCH {
                page.put_pixel(x + dx, y + 3 + dy, Rgba([r, g, b, 255]));
            }
        }
        let share = 100.0 * found.areas[class] as f64 / total as f64;
        let text = format!("{share:>4.1} %  {}", classes.list()[class].title);
        if let Some(font) = &font {
            write_line(&mut page, font, &text, [x + SWATCH + 8, y], LEGEND - SWATCH - 8, FONT_PX, INK);
        }
    }
    Ok((page.into_raw(), size))
}
