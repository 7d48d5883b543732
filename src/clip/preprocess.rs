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

/// Source, resize and normalisation at the head of a plan. Bicubic with antialias on 8-bit samples, straight to the
/// model's size, aspect ratio not kept: what CLIP Surgery does.
///
/// # Errors
/// No image, a size of zero, or too large for the device.
pub fn plan_pixels(b: &mut PlanBuilder, input: &ImageInput, config: &ClipConfig) -> Result<PlannedPixels> {
    if input.images == 0 || input.size.contains(&0) {
        return Err(Error::Input { what: format!("{} image(s) of {}x{}: nothing to look at", input.images, input.size[0], input.size[1]) });
    }
    let smallest = config.patch;
    if input.model_size.iter().any(|&s| s < smallest) {
        let [w, h] = input.model_size;
        return Err(Error::Input {
            what: format!("input size {w}x{h} is smaller than one patch of {smallest} pixels; pass a larger --size"),
        });
    }
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
