//! What of an image the model sees: all of it at one size, or windows over it.

use crate::clip::preprocess::aspect_size;
use crate::clip::{ClipConfig, Image};
use crate::error::{Error, Result};
use crate::explain::segment::resize::resize_linear;
use crate::reference::Windows;
use std::borrow::Cow;

/// How an image goes through the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// All of it, squeezed to this size, (width, height): CLIP Surgery's way. Bicubic with antialias.
    Whole([u32; 2]),
    /// All of it on a grid of its own aspect, with about as many patches as a square of this side has. Bicubic with antialias.
    Aspect(u32),
    /// All of it, aspect kept, as the published segmentation harnesses resize; crop 0 there.
    Short(Short),
    /// As [`View::Short`], then square windows of `crop` pixels every `stride`; what they say is averaged.
    Windows {
        /// The resize before.
        short: Short,
        /// Side of a window, pixels; an image that is smaller is one window.
        crop: u32,
        /// From one window to the next, pixels; at most `crop`.
        stride: u32,
    },
}

/// Aspect kept: the shorter side becomes `side`, unless the longer one would exceed `long`. Bilinear on 8-bit samples
/// without antialias, as OpenCV does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// Pixels.
    pub side: u32,
    /// Pixels; 2048 in the published harnesses.
    pub long: u32,
}

impl Short {
    /// The size that an image of `size` (width, height) gets.
    pub fn of(self, size: [u32; 2]) -> [u32; 2] {
        let [short, long] = [size[0].min(size[1]), size[0].max(size[1])].map(f64::from);
        // A scale (2048, 336) names the longer limit first or second: the larger one is for the longer side.
        let (side, limit) = (f64::from(self.side.min(self.long)), f64::from(self.side.max(self.long)));
        let scale = (limit / long).min(side / short);
        size.map(|s| ((f64::from(s) * scale + 0.5) as u32).max(1))
    }
}

/// Where windows begin along an axis: every `stride`, the last one moved back so that it ends with the axis.
pub fn window_starts(length: u32, crop: u32, stride: u32) -> Vec<u32> {
    let count = length.saturating_sub(crop).div_ceil(stride) + 1;
    (0..count).map(|k| (k * stride + crop).min(length).saturating_sub(crop)).collect()
}

/// An image made ready: windows of one size that go through the model.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Size of the picture that the windows lie on, (width, height).
    pub input: [u32; 2],
    /// Size of a picture on its way to the model, and what the model makes of it.
    pub source: [u32; 2],
    pub model: [u32; 2],
    pub windows: Windows,
}

impl Layout {
    /// True if the model sees zeros around windows.
    pub fn pads(&self) -> bool {
        [self.windows.before, self.windows.after] != [[0; 2]; 2]
    }
}

impl View {
    /// Refuses what means nothing.
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::Input { what });
        match *self {
            View::Short(Short { side, long }) | View::Windows { short: Short { side, long }, .. } if side == 0 || long == 0 => {
                wrong(format!("an image resized to short side {side}, long side at most {long}: both must be at least 1"))
            }
            View::Windows { crop, stride, .. } if crop == 0 || stride == 0 || stride > crop => {
                wrong(format!("windows of {crop} pixels every {stride}: the step must be at least 1 and at most the window"))
            }
            _ => Ok(()),
        }
    }

    /// What happens to images of this size, (width, height); with `pad`, windows get zeros around them up to whole patches.
    pub(super) fn layout(&self, size: [u32; 2], config: &ClipConfig, pad: bool) -> Layout {
        let whole = |input: [u32; 2], source: [u32; 2]| Layout {
            input,
            source,
            model: input,
            windows: Windows {
                canvas: input.map(|s| s as usize),
                size: input.map(|s| s as usize),
                columns: vec![0],
                rows: vec![0],
                before: [0; 2],
                after: [0; 2],
            },
        };
        match *self {
            View::Whole(model) => whole(model, size),
            View::Aspect(side) => whole(aspect_size(size, config.patch, (side / config.patch).pow(2)), size),
            View::Short(short) => whole(short.of(size), short.of(size)),
            View::Windows { short, crop, stride } => {
                let input = short.of(size);
                let [columns, rows] = input.map(|s| window_starts(s, crop, stride));
                let window = input.map(|s| s.min(crop));
                let missing = window.map(|s| if pad { s.next_multiple_of(config.patch) - s } else { 0 });
                let wide = |starts: Vec<u32>| starts.into_iter().map(|s| s as usize).collect();
                let windows = Windows {
                    canvas: input.map(|s| s as usize),
                    size: window.map(|s| s as usize),
                    columns: wide(columns),
                    rows: wide(rows),
                    before: missing.map(|m| m as usize / 2),
                    after: missing.map(|m| m.div_ceil(2) as usize),
                };
                let model = [0, 1].map(|axis| window[axis] + missing[axis]);
                Layout { input, source: window, model, windows }
            }
        }
    }

    /// The pixels that windows are cut from, `[H, W, 4]` of the layout's size: the image itself where the model's own
    /// resize follows.
    pub(super) fn pixels<'a>(&self, image: &Image<'a>, layout: &Layout) -> Cow<'a, [u8]> {
        match self {
            View::Short(_) | View::Windows { .. } if layout.input != image.size() => {
                Cow::Owned(resize_linear(image.rgba(), image.size(), layout.input))
            }
            _ => Cow::Borrowed(image.rgba()),
        }
    }

    /// True if windows are cut from a picture that was resized here and not on the device.
    pub(super) fn resizes(&self) -> bool {
        matches!(self, View::Short(_) | View::Windows { .. })
    }
}

/// Copies a window out of `[H, W, 4]` pixels, appending it to `out`.
pub(super) fn cut(pixels: &[u8], width: usize, [x, y]: [usize; 2], size: [usize; 2], out: &mut Vec<u8>) {
    for row in y..y + size[1] {
        out.extend_from_slice(&pixels[(row * width + x) * 4..][..size[0] * 4]);
    }
}

/// Planes of windows with zeros around them: `[P, h, w]` -> `[P, H, W]`.
pub(super) fn pad(planes: &[f32], windows: &Windows) -> Vec<f32> {
    let [width, height] = windows.size;
    let [wide, high] = [0, 1].map(|axis| windows.before[axis] + windows.size[axis] + windows.after[axis]);
    let mut out = vec![0.0; planes.len() / (width * height) * wide * high];
    for (i, row) in planes.chunks_exact(width).enumerate() {
        let at = ((i / height) * high + windows.before[1] + i % height) * wide + windows.before[0];
        out[at..at + width].copy_from_slice(row);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_the_published_sizes() {
        assert_eq!(window_starts(336, 224, 112), [0, 112]);
        assert_eq!(window_starts(340, 224, 112), [0, 112, 116]);
        assert_eq!(window_starts(224, 224, 112), [0]);
        assert_eq!(window_starts(100, 224, 112), [0]);
        assert_eq!(window_starts(448, 224, 112), [0, 112, 224]);
        assert_eq!(window_starts(225, 224, 112), [0, 1]);
    }

    #[test]
    fn windows_cover_every_pixel() {
        for length in 1..300 {
            for (crop, stride) in [(1, 1), (7, 3), (64, 64), (112, 56), (224, 28)] {
                let starts = window_starts(length, crop, stride);
                let window = length.min(crop);
                let mut covered = 0;
                for &start in &starts {
                    assert!(start <= covered, "{length} {crop} {stride}: a gap before {start}");
                    covered = start + window;
                }
                assert_eq!(covered, length, "{length} {crop} {stride}");
            }
        }
    }

    #[test]
    fn the_aspect_is_kept() {
        let short = Short { side: 336, long: 2048 };
        assert_eq!(short.of([500, 375]), [448, 336]);
        assert_eq!(short.of([375, 500]), [336, 448]);
        assert_eq!(short.of([640, 427]), [504, 336]);
        // The long side decides: 4000 x 100 would become 13440 x 336.
        assert_eq!(short.of([4000, 100]), [2048, 51]);
        assert_eq!(short.of([1, 1]), [336, 336]);
    }

    #[test]
    fn padding_goes_around_a_window() {
        let windows = Windows { canvas: [2, 1], size: [2, 1], columns: vec![0], rows: vec![0], before: [0, 1], after: [1, 1] };
        assert_eq!(pad(&[1.0, 2.0, 3.0, 4.0], &windows)[..9], [0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(pad(&[1.0, 2.0, 3.0, 4.0], &windows)[9..], [0.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn a_window_is_cut_row_by_row() {
        let pixels: Vec<u8> = (0..4 * 3).flat_map(|i| [i; 4]).collect();
        let mut out = Vec::new();
        cut(&pixels, 4, [1, 1], [2, 2], &mut out);
        assert_eq!(out, [5, 6, 9, 10].map(|i| [i; 4]).concat());
    }
}
