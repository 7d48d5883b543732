//! Image files to RGBA pixels: orientation applied, alpha flattened on white, sizes limited.

use crate::clip::preprocess::Image;
use crate::error::{Error, Result};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Largest image that is decoded, pixels: a decompression bomb is refused from its header.
pub const MAX_PIXELS: u64 = 128 << 20;

/// A decoded image file.
#[derive(Clone, Debug)]
pub struct Decoded {
    size: [u32; 2],
    rgba: Vec<u8>,
}

impl Decoded {
    /// Opens a PNG, JPEG or WebP file of any colour type and depth. EXIF orientation is applied, alpha is flattened on
    /// white, 16 bits become 8.
    ///
    /// # Errors
    /// No such file, another format, damaged or cut off, or more than [`MAX_PIXELS`].
    pub fn open(path: impl AsRef<Path>) -> Result<Decoded> {
        let path = path.as_ref();
        let (orientation, decoder) = header(path)?;
        let mut image = DynamicImage::from_decoder(decoder).map_err(|e| damaged(path, &e))?;
        image.apply_orientation(orientation);
        let mut rgba = image.into_rgba8();
        for pixel in rgba.pixels_mut() {
            flatten(&mut pixel.0);
        }
        Ok(Decoded { size: [rgba.width(), rgba.height()], rgba: rgba.into_raw() })
    }

    /// (width, height) that [`Decoded::open`] would find, from the file's header.
    ///
    /// # Errors
    /// As far as the header tells, those of [`Decoded::open`].
    pub fn size_of(path: impl AsRef<Path>) -> Result<[u32; 2]> {
        use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
        let (orientation, decoder) = header(path.as_ref())?;
        let (w, h) = decoder.dimensions();
        Ok(if matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH) { [h, w] } else { [w, h] })
    }

    /// (width, height), pixels.
    pub fn size(&self) -> [u32; 2] {
        self.size
    }

    /// `[H, W, 4]`, opaque.
    pub fn rgba(&self) -> &[u8] {
        &self.rgba
    }

    /// For an [`crate::Explainer`].
    pub fn image(&self) -> Image<'_> {
        Image::trusted(self.size, &self.rgba)
    }
}

/// Checks all that can be known before pixels are decoded.
fn header(path: &Path) -> Result<(Orientation, impl ImageDecoder)> {
    let bad = |what: String| Error::Image { path: path.to_owned(), what };
    let file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
    if file.metadata().map_err(|e| Error::io(path, e))?.is_dir() {
        return Err(bad("is a folder, expected an image file".into()));
    }
    let mut reader = BufReader::new(file);
    let format = ImageReader::new(&mut reader).with_guessed_format().map_err(|e| Error::io(path, e))?.format();
    let format = format.ok_or_else(|| bad("not an image: expected PNG, JPEG or WebP".into()))?;
    match format {
        ImageFormat::Png | ImageFormat::WebP => {}
        ImageFormat::Jpeg => check_jpeg_end(&mut reader).map_err(bad)?,
        other => return Err(bad(format!("{other:?} is not read; convert it to PNG, JPEG or WebP"))),
    }
    reader.seek(SeekFrom::Start(0)).map_err(|e| Error::io(path, e))?;
    let mut reader = ImageReader::with_format(reader, format);
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(MAX_PIXELS * 8);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|e| damaged(path, &e))?;
    let (w, h) = decoder.dimensions();
    if u64::from(w) * u64::from(h) > MAX_PIXELS {
        return Err(bad(format!(
            "{w}x{h} is {} megapixels, at most {} are read; scale it down",
            u64::from(w) * u64::from(h) / 1_000_000,
            MAX_PIXELS / 1_000_000
        )));
    }
    Ok((decoder.orientation().map_err(|e| damaged(path, &e))?, decoder))
}

fn damaged(path: &Path, e: &image::ImageError) -> Error {
    Error::Image { path: path.to_owned(), what: format!("cannot be decoded: {e}; is the file damaged or cut off?") }
}

/// Over white, rounded.
fn flatten(pixel: &mut [u8; 4]) {
    let alpha = u32::from(pixel[3]);
    for c in &mut pixel[..3] {
        *c = ((u32::from(*c) * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
    }
    pixel[3] = 255;
}

/// A JPEG that was cut off decodes to grey without an error in every lenient decoder: look for its end marker.
fn check_jpeg_end(file: &mut (impl Read + Seek)) -> Result<(), String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut bytes)).map_err(|e| e.to_string())?;
    if jpeg_is_whole(&bytes) { Ok(()) } else { Err("the JPEG is cut off: it has no end marker; fetch it again".into()) }
}

/// True if an end marker follows the first scan. Segments before it are skipped by their length, because a thumbnail
/// inside them is a JPEG with an end of its own; entropy-coded data cannot contain the marker; cameras append data behind.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xda;
    const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = bytes.get(at..at + 4).and_then(|b| <&[u8; 4]>::try_from(b).ok()) {
        match marker {
            START_OF_SCAN => return bytes[at..].windows(2).any(|w| w == END_OF_IMAGE),
            // Fill bytes and markers without a length.
            0xff => at += 1,
            0x01 | 0xd0..=0xd8 => at += 2,
            _ => at += 2 + usize::from(u16::from_be_bytes([high, low])),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbnail_does_not_end_the_jpeg() {
        let thumbnail = [0xff, 0xe1, 0, 6, 0xff, 0xd9, 0, 0];
        let scan = [0xff, 0xda, 0, 2, 1, 2, 3];
        let cut = [&[0xff, 0xd8][..], &thumbnail, &scan].concat();
        assert!(!jpeg_is_whole(&cut));
        assert!(jpeg_is_whole(&[&cut[..], &[0xff, 0xd9]].concat()));
        assert!(!jpeg_is_whole(&cut[..10]));
    }

    #[test]
    fn transparent_becomes_white() {
        for (from, to) in [([10, 20, 30, 255], [10, 20, 30, 255]), ([10, 20, 30, 0], [255; 4]), ([0, 0, 0, 128], [127, 127, 127, 255])] {
            let mut pixel = from;
            flatten(&mut pixel);
            assert_eq!(pixel, to);
        }
    }
}
