//! Mask files: PNGs whose numbers mean classes.

use anyhow::{Context, Result, bail};
use lancet::clip::decode::MAX_PIXELS;
use std::io::BufReader;
use std::path::Path;

/// What a number that no class has stands for; a message, not a class.
const REFUSED: u16 = 0xfffd;

/// From numbers in a mask to classes.
pub struct Lut([u16; 256]);

impl std::fmt::Debug for Lut {
    /// Short: it is part of what tells two data sets apart.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes: Vec<u8> = self.0.iter().flat_map(|v| v.to_le_bytes()).collect();
        write!(f, "Lut({})", blake3::hash(&bytes).to_hex())
    }
}

impl Lut {
    /// `pairs` of (number, class); every other number is refused.
    pub fn new(pairs: impl IntoIterator<Item = (u8, u16)>) -> Lut {
        let mut lut = [REFUSED; 256];
        for (number, class) in pairs {
            lut[usize::from(number)] = class;
        }
        Lut(lut)
    }

    /// Numbers to classes.
    fn apply(&self, numbers: &[u8]) -> Result<Vec<u16>> {
        if let Some(&bad) = numbers.iter().find(|n| self.0[usize::from(**n)] == REFUSED) {
            bail!(
                "a pixel has the value {bad}, which stands for no class here; is it the mask of this data set, and not a picture of one?"
            );
        }
        Ok(numbers.iter().map(|n| self.0[usize::from(*n)]).collect())
    }
}

/// A mask of one number per pixel: 8-bit or smaller, grey or with a palette, whose colours are not looked at.
pub fn index(path: &Path, size: [u32; 2], lut: &Lut) -> Result<Vec<u16>> {
    let read = || {
        let (info, data) = decode(path)?;
        if !matches!(info.color_type, png::ColorType::Grayscale | png::ColorType::Indexed) || info.bit_depth == png::BitDepth::Sixteen {
            bail!("{:?} of {} bits, expected one number per pixel: grey or palette, at most 8 bits", info.color_type, info.bit_depth as u8);
        }
        same_size(&info, size)?;
        lut.apply(&unpack(&info, &data))
    };
    read().with_context(|| format!("mask {}", path.display()))
}

/// A mask of 24-bit numbers, red + 256 green + 65536 blue, as in panoptic sets.
pub fn rgb(path: &Path, size: [u32; 2], class: impl Fn(u32) -> Option<u16>) -> Result<Vec<u16>> {
    let read = || {
        let (info, data) = decode(path)?;
        let step = match (info.color_type, info.bit_depth) {
            (png::ColorType::Rgb, png::BitDepth::Eight) => 3,
            (png::ColorType::Rgba, png::BitDepth::Eight) => 4,
            (color, depth) => bail!("{color:?} of {} bits, expected colours of 8 bits whose bytes are a number", depth as u8),
        };
        same_size(&info, size)?;
        let id = |p: &[u8]| u32::from(p[0]) | u32::from(p[1]) << 8 | u32::from(p[2]) << 16;
        data.chunks_exact(step)
            .map(|p| class(id(p)).with_context(|| format!("a pixel has the id {}, which the JSON does not list", id(p))))
            .collect()
    };
    read().with_context(|| format!("mask {}", path.display()))
}

/// Pixels as they lie in the file.
fn decode(path: &Path) -> Result<(png::OutputInfo, Vec<u8>)> {
    let file = std::fs::File::open(path)?;
    let mut decoder = png::Decoder::new(BufReader::new(file));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let damaged = "cannot be decoded as PNG; is the file damaged or cut off?";
    let mut reader = decoder.read_info().context(damaged)?;
    let (w, h) = (reader.info().width, reader.info().height);
    if u64::from(w) * u64::from(h) > MAX_PIXELS {
        bail!("{w}x{h}: more than {MAX_PIXELS} pixels");
    }
    let bytes = reader.output_buffer_size().with_context(|| format!("{w}x{h} is too large"))?;
    let mut data = vec![0; bytes];
    let info = reader.next_frame(&mut data).context(damaged)?;
    data.truncate(info.buffer_size());
    Ok((info, data))
}

fn same_size(info: &png::OutputInfo, [w, h]: [u32; 2]) -> Result<()> {
    if [info.width, info.height] != [w, h] {
        bail!("is {}x{}, its image is {w}x{h}", info.width, info.height);
    }
    Ok(())
}

/// One number per byte; rows of less than 8 bits a pixel start at whole bytes.
fn unpack(info: &png::OutputInfo, data: &[u8]) -> Vec<u8> {
    let bits = info.bit_depth as usize;
    if bits == 8 {
        return data.to_vec();
    }
    let per_byte = 8 / bits;
    let number = |row: &[u8], x: usize| (row[x / per_byte] >> (8 - bits - x % per_byte * bits)) & ((1 << bits) - 1);
    data.chunks_exact(info.line_size).flat_map(|row| (0..info.width as usize).map(move |x| number(row, x))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, size: [u32; 2], color: png::ColorType, depth: png::BitDepth, data: &[u8]) {
        let mut encoder = png::Encoder::new(std::fs::File::create(path).unwrap(), size[0], size[1]);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == png::ColorType::Indexed {
            // All entries are one colour: who looks at colours sees nothing.
            encoder.set_palette(vec![7u8; 48]);
        }
        encoder.write_header().unwrap().write_image_data(data).unwrap();
    }

    #[test]
    fn palettes_are_not_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mask.png");
        let lut = Lut::new([(0, 10), (1, 11), (3, 13), (15, 25)]);
        write(&path, [3, 1], png::ColorType::Indexed, png::BitDepth::Eight, &[0, 3, 15]);
        assert_eq!(index(&path, [3, 1], &lut).unwrap(), [10, 13, 25]);
        // 4 bits: a row of 3 takes two bytes; 1 bit: a row of 3 takes one.
        write(&path, [3, 2], png::ColorType::Indexed, png::BitDepth::Four, &[0x03, 0xf0, 0x10, 0x00]);
        assert_eq!(index(&path, [3, 2], &lut).unwrap(), [10, 13, 25, 11, 10, 10]);
        write(&path, [3, 1], png::ColorType::Grayscale, png::BitDepth::One, &[0b1010_0000]);
        assert_eq!(index(&path, [3, 1], &lut).unwrap(), [11, 10, 11]);
    }

    #[test]
    fn what_is_no_mask_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mask.png");
        let lut = Lut::new([(0, 0)]);
        let refused = |size: [u32; 2], words: &[&str]| {
            let said = format!("{:#}", index(&path, size, &lut).unwrap_err());
            assert!(said.contains("mask.png") && words.iter().all(|w| said.contains(w)), "{said}");
        };
        refused([1, 1], &["No such file"]);
        write(&path, [2, 1], png::ColorType::Grayscale, png::BitDepth::Eight, &[0, 9]);
        refused([2, 1], &["the value 9"]);
        refused([2, 2], &["2x1", "2x2"]);
        write(&path, [1, 1], png::ColorType::Rgb, png::BitDepth::Eight, &[1, 2, 3]);
        refused([1, 1], &["Rgb", "palette"]);
        assert_eq!(rgb(&path, [1, 1], |id| (id == 0x03_02_01).then_some(5)).unwrap(), [5]);
        assert!(format!("{:#}", rgb(&path, [1, 1], |_| None).unwrap_err()).contains("197121"));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 20]).unwrap();
        refused([1, 1], &["damaged"]);
    }
}
