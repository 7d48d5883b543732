//! ResCLIP's semantic feedback (arXiv 2411.15851): what a first pass through the tower says about the picture, as a relation
//! between patches that a second pass adds to its attention. All of it runs on the device, inside one plan.
//!
//! ```text
//! cosines [B (1 + N), L] ─ stitch ─> [B Q,H,W] ─ pamr, 10 times ─ segment ─> names [B,H W] ─ patch_modes ─> labels [B,N]
//!   ─ same_entity ─> [B,N,N] ─ blur_rows ─> M [B,1 + N,1 + N]; with gain and window: logit_bias
//! ```

use crate::error::{Error, Result};
use crate::gpu::{PlanBuilder, Value};
use crate::ops::{self, Related, Winner};
use crate::reference::Windows;
use crate::shape::DType;
use std::borrow::Cow;

/// Maps of a chunk of names, bytes.
const CHUNK_BYTES: u64 = 32 << 20;

/// How a first pass's cosines become a relation between patches.
#[derive(Clone, Debug, PartialEq)]
pub struct Feedback {
    /// Of the cosines, inside the softmax over names.
    pub logit_scale: f32,
    /// Pixels whose best name is less likely get name 0, whatever that is; 0 for none.
    pub threshold: f32,
    /// Iterations of refinement along the picture's colours, 0 to 100.
    pub iterations: u32,
    /// Its distances, pixels, 1 to 4 of them.
    pub dilations: Cow<'static, [u32]>,
    /// Two patches of one name have less to do with each other if another lies between them.
    pub path_rule: bool,
    /// Of the blur, patches.
    pub sigma: f32,
}

/// What [`Feedback::plan`] makes.
#[derive(Clone, Copy, Debug)]
pub struct FeedbackValues {
    /// The name of most of a patch's pixels, `[B, N]`, u32.
    pub labels: Value,
    /// What patches have to do with each other; goes into [`ops::logit_bias`].
    pub related: Related,
}

impl Feedback {
    /// As published; the threshold is one of several, tuned per data set from 0.1 to 0.5.
    pub const RESCLIP: Feedback =
        Feedback { logit_scale: 40.0, threshold: 0.1, iterations: 10, dilations: Cow::Borrowed(&[8, 16]), path_rule: true, sigma: 5.0 };

    /// Refuses values that mean nothing.
    ///
    /// # Errors
    /// [`Error::Input`] names the value.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::Input { what });
        if !(self.logit_scale > 0.0 && self.logit_scale.is_finite()) {
            return wrong(format!("feedback: logit scale {}; expected a positive number", self.logit_scale));
        }
        if !(0.0..=1.0).contains(&self.threshold) {
            return wrong(format!("feedback: threshold {}; expected a probability, 0 to 1", self.threshold));
        }
        if self.iterations > 100 {
            return wrong(format!("feedback: {} iterations of refinement; expected 0 to 100", self.iterations));
        }
        if self.dilations.is_empty() || self.dilations.len() > 4 || self.dilations.iter().any(|d| !(1..=64).contains(d)) {
            return wrong(format!("feedback: dilations {:?}; expected 1 to 4 distances of 1 to 64 pixels", self.dilations));
        }
        if !(self.sigma > 0.0 && self.sigma <= 1000.0) {
            return wrong(format!("feedback: sigma {}; expected a positive number of patches, at most 1000", self.sigma));
        }
        Ok(())
    }

    /// Appends everything from a first pass to the relation: normalised `pixels` `[B, 3, H, W]` and `cosines`
    /// `[B (1 + N), L]` of its tokens with L names, both f32; patches of `side` pixels. Memory is bounded by chunks of names,
    /// but for 64 bytes a pixel (at two dilations).
    ///
    /// # Errors
    /// What [`Feedback::check`] refuses, shapes that do not fit, too large for the device.
    pub fn plan(&self, b: &mut PlanBuilder, pixels: Value, cosines: Value, side: u32) -> Result<FeedbackValues> {
        const OP: &str = "feedback";
        self.check()?;
        let &[images, 3, height, width] = pixels.shape().dims() else {
            return Err(Error::shape(OP, "pixels", "[B, 3, H, W]", pixels.shape()));
        };
        if side == 0 || side > height.min(width) {
            return Err(Error::shape(OP, "side", format!("a patch that fits into {width}x{height} pixels"), side));
        }
        let (size, grid) = ([width, height], [width / side, height / side]);
        let tokens = 1 + u64::from(grid[0]) * u64::from(grid[1]);
        let (rows, names) = (cosines.shape().rows(), cosines.shape().width());
        if u64::from(rows) != u64::from(images) * tokens {
            return Err(Error::shape(OP, "cosines", format!("[{images} x {tokens}, L]"), cosines.shape()));
        }
        b.scope("feedback", |b| {
            let classes = self.plan_names(b, pixels, cosines, grid, names)?;
            let labels = ops::patch_modes(b, "patch_modes", classes, size, side)?;
            let same = ops::same_entity(b, "same_entity", labels, grid, self.path_rule)?;
            let related = ops::blur_rows(b, "blur_rows", same, self.sigma)?;
            b.name(related.matrix, "matrix");
            Ok(FeedbackValues { labels, related })
        })
    }

    /// The likeliest name of each pixel, `[B, H W]`.
    fn plan_names(&self, b: &mut PlanBuilder, pixels: Value, cosines: Value, grid: [u32; 2], names: u32) -> Result<Value> {
        let &[images, _, height, width] = pixels.shape().dims() else {
            return Err(Error::shape("feedback", "pixels", "[B, 3, H, W]", pixels.shape()));
        };
        // Names, not classes of several: each is its own.
        let rules = ops::segment_rules(&(0..names).collect::<Vec<_>>(), &[], self.threshold);
        let rules = b.gpu().clone().upload("lancet.rules", &[1 + names], DType::U32, &rules)?;
        let weights = match self.iterations {
            0 => None,
            _ => Some(ops::pamr_weights(b, "pamr_weights", pixels, &self.dilations)?),
        };
        // One window, the picture itself: the grid is stretched over pixels that no patch covers, too.
        let size = [width as usize, height as usize];
        let whole = Windows { canvas: size, size, columns: vec![0], rows: vec![0], before: [0; 2], after: [0; 2] };
        let winner = Winner::new(b, images, height * width, false)?;
        let maps_bytes = 4 * u64::from(images) * u64::from(height) * u64::from(width);
        let chunk = (CHUNK_BYTES / maps_bytes).clamp(1, u64::from(names)) as u32;
        for first in (0..names).step_by(chunk as usize) {
            let mut maps = ops::stitch(b, "stitch", cosines, grid, &whole, first..(first + chunk).min(names))?;
            if let Some(weights) = weights {
                for _ in 0..self.iterations {
                    maps = ops::pamr(b, "pamr", maps, weights, &self.dilations)?;
                }
            }
            ops::segment(b, "segment", maps, first, 0, &rules, self.logit_scale, &winner)?;
        }
        Ok(winner.classes)
    }
}
