//! Pixels to the model's input: resize as Pillow does, normalise.

use crate::clip::config::ClipConfig;
use crate::error::{Error, Result};
use crate::gpu::{PlanBuilder, Value};
use crate::ops;

/// An image on the CPU: RGBA, 8 bits a channel, rows from top to bottom. Alpha is ignored.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    size: [u32; 2],
    rgba: &'a [u8],
}

impl<'a> Image<'a> {
    /// From `[H, W, 4]` bytes; `size` is (width, height).
    ///
    /// # Errors
    /// A size of zero, or bytes that do not fit it.
    pub fn new(size: [u32; 2], rgba: &'a [u8]) -> Result<Image<'a>> {
        let expected = u64::from(size[0]) * u64::from(size[1]) * 4;
        if expected == 0 || rgba.len() as u64 != expected {
            return Err(Error::shape("image", "bytes", format!("{expected} for {}x{}", size[0], size[1]), rgba.len()));
        }
        Ok(Image { size, rgba })
    }

    /// From bytes whose number is known to be right.
    #[cfg(feature = "image")]
    pub(crate) fn trusted(size: [u32; 2], rgba: &'a [u8]) -> Image<'a> {
        debug_assert_eq!(rgba.len() as u64, u64::from(size[0]) * u64::from(size[1]) * 4);
        Image { size, rgba }
    }

    /// (width, height), pixels.
    pub fn size(&self) -> [u32; 2] {
        self.size
    }

    /// `[H, W, 4]`.
    pub fn rgba(&self) -> &'a [u8] {
        self.rgba
    }
}

/// How a host hands over its images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceKind {
    /// A buffer of packed RGBA8 pixels, `[B, H, W]`.
    #[default]
    Rgba8,
    /// One texture per image.
    Textures,
}

/// Images of one size on their way into a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageInput {
    /// How they arrive.
    pub kind: SourceKind,
    /// How many, B.
    pub images: u32,
    /// Their size, (width, height), pixels.
    pub size: [u32; 2],
    /// What the model sees, (width, height), pixels: the whole image squeezed to this size, without crop.
    pub model_size: [u32; 2],
}

/// The head of an image plan.
#[derive(Clone, Copy, Debug)]
pub struct PlannedPixels {
    /// The images as packed RGBA8 `[B, H, W]`, for overlays.
    pub source: Value,
    /// `[B, 3, h, w]`, f32, normalised.
    pub pixels: Value,
}

/// A model size, (width, height) in pixels, that keeps the shape of an image of `size` (width, height): multiples of `patch`,
/// together at most `patches` patches, nearly that many, in proportions near the image's.
///
/// Work and memory are those of a square of as many patches. An image longer than `patches` to 1 becomes one row or column.
/// The published CLIP Surgery squeezes every image to a square; another grid means resampled positions, so maps differ in
/// more than shape.
///
/// ```
/// use lancet::clip::preprocess::aspect_size;
/// assert_eq!(aspect_size([640, 480], 16, 196), [16 * 16, 12 * 16]);
/// assert_eq!(aspect_size([500, 500], 16, 196), [224, 224]);
/// ```
pub fn aspect_size(size: [u32; 2], patch: u32, patches: u32) -> [u32; 2] {
    let patches = patches.max(1);
    let aspect = f64::from(size[0].max(1)) / f64::from(size[1].max(1));
    // Distances are ratios: twice as wide is as far off as half as wide. Shape counts double.
    let miss = |[w, h]: [u32; 2]| 2.0 * (f64::from(w) / f64::from(h) / aspect).ln().abs() + (f64::from(patches) / f64::from(w * h)).ln();
    let grids = (1..=patches).flat_map(|h| {
        let wide = (f64::from(h) * aspect).min(f64::from(patches)) as u32;
        [wide, wide + 1].map(|w| [w.clamp(1, patches / h), h])
    });
    let grid = grids.min_by(|a, b| miss(*a).total_cmp(&miss(*b))).unwrap_or([1, 1]);
    grid.map(|n| n * patch)
}

/// Refuses what is smaller than a patch; (width, height), pixels.
pub(crate) fn check_model_size([width, height]: [u32; 2], config: &ClipConfig) -> Result<()> {
    let smallest = config.patch;
    if width < smallest || height < smallest {
        let what = format!("input size {width}x{height} is smaller than one patch of {smallest} pixels; pass a larger --size");
        return Err(Error::Input { what });
    }
    Ok(())
}

/// Source, resize and normalisation at the head of a plan. Bicubic with antialias on 8-bit samples, straight to the
/// model's size, aspect ratio not kept: what CLIP Surgery does.
///
/// # Errors
/// No image, a size of zero, or too large for the device.
pub fn plan_pixels(b: &mut PlanBuilder, input: &ImageInput, config: &ClipConfig) -> Result<PlannedPixels> {
    if input.images == 0 || input.size.contains(&0) {
        return Err(Error::Input { what: format!("{} image(s) of {}x{}: nothing to look at", input.images, input.size[0], input.size[1]) });
    }
    check_model_size(input.model_size, config)?;
    b.scope("preprocess", |b| {
        let source = match input.kind {
            SourceKind::Rgba8 => b.source_rgba8([input.images, input.size[1], input.size[0]])?,
            SourceKind::Textures => ops::load_texture(b, "load_texture", input.images, input.size)?,
        };
        let resized = ops::resize_u8(b, "resize_u8", source, input.model_size)?;
        let pixels = ops::normalize(b, "normalize", resized, config.mean, config.std)?;
        b.name(pixels, "pixels");
        Ok(PlannedPixels { source, pixels })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aspect_keeps_shape_and_budget() {
        assert_eq!(aspect_size([96, 96], 8, 144), [96, 96]);
        assert_eq!(aspect_size([480, 360], 8, 144), [14 * 8, 10 * 8]);
        assert_eq!(aspect_size([360, 480], 8, 144), [10 * 8, 14 * 8]);
        assert_eq!(aspect_size([10_000, 1], 16, 196), [196 * 16, 16]);
        assert_eq!(aspect_size([1, 10_000], 16, 196), [16, 196 * 16]);
        assert_eq!(aspect_size([7, 5], 14, 1), [14, 14]);
        for size in [[640, 480], [1920, 1080], [2000, 300], [37, 600], [131, 97]] {
            for patches in [49, 144, 196, 256, 1024] {
                let [w, h] = aspect_size(size, 16, patches).map(|n| n / 16);
                let turned = aspect_size([size[1], size[0]], 16, patches).map(|n| n / 16);
                assert_eq!((w * h, w.max(h)), (turned[0] * turned[1], turned[0].max(turned[1])), "{size:?} {patches}");
                assert!(w * h <= patches && w * h * 10 >= patches * 7, "{size:?} {patches}: {w}x{h}");
                let off = f64::from(w * size[1]) / f64::from(h * size[0]);
                assert!((0.7..1.4).contains(&off), "{size:?} {patches}: {w}x{h} is {off:.2} of the image's shape");
            }
        }
    }
}
