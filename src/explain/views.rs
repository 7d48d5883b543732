//! A picture looked at five times: as it is, grey, blurred and flipped either way. What the views agree on counts.
//!
//! ```text
//! pixels [B, 3, H, W] ─ views ─> [5 B, 3, H, W] ─ the tower ─ cosines ─> [5 B (1 + N), L] ─ merge_views ─> [B (1 + N), L]
//! ```
//!
//! Source: the image engineering of ITACLIP (arXiv 2411.12044, section 3.2).

use crate::error::{Error, Result};
use crate::gpu::{PlanBuilder, Value};
use crate::ops::{self, Blur};

/// How five views of a picture become one set of scores. Works with any method; the tower runs five times as often.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "toml", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Views {
    /// What the upright views say counts so much, the flipped ones the rest; 0..1.
    pub upright_share: f32,
    /// Of the blurred view.
    pub blur: Blur,
}

impl Default for Views {
    fn default() -> Views {
        Views::ITACLIP
    }
}

impl Views {
    /// As published for most data sets; for PASCAL VOC with background and Cityscapes the share is 0.7.
    pub const ITACLIP: Views = Views { upright_share: 0.75, blur: Blur { taps: 11, sigma: 5.0 } };

    /// Refuses values that mean nothing.
    ///
    /// # Errors
    /// [`Error::Input`] names the value.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::Input { what });
        if !(0.0..=1.0).contains(&self.upright_share) {
            return wrong(format!("views: a share of {} for the upright ones; expected 0 to 1", self.upright_share));
        }
        let Blur { taps, sigma } = self.blur;
        if taps.is_multiple_of(2) || taps > 99 || !(sigma.is_finite() && sigma > 0.0) {
            return wrong(format!(
                "views: a blur over {taps} pixels with sigma {sigma}; expected an odd number up to 99 and a positive sigma"
            ));
        }
        Ok(())
    }

    /// Normalised pixels `[B, 3, H, W]` to those of all views, `[5 B, 3, H, W]`: what the tower reads.
    ///
    /// # Errors
    /// Shapes that do not fit, a picture smaller than the blur.
    pub fn plan_pixels(&self, b: &mut PlanBuilder, pixels: Value) -> Result<Value> {
        self.check()?;
        ops::views(b, "views", pixels, self.blur)
    }

    /// Cosines of all views `[5 B (1 + N), L]` to those of the pictures, `[B (1 + N), L]`; `grid` is the N patches, (width, height).
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn plan_cosines(&self, b: &mut PlanBuilder, cosines: Value, grid: [u32; 2]) -> Result<Value> {
        ops::merge_views(b, "merge_views", cosines, grid, self.upright_share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_nothing_is_refused() {
        Views::default().check().unwrap();
        let refused = |views: Views| views.check().unwrap_err().to_string();
        assert!(refused(Views { upright_share: 1.5, ..Views::default() }).contains("1.5"));
        assert!(refused(Views { blur: Blur { taps: 10, sigma: 5.0 }, ..Views::default() }).contains("odd"));
        assert!(refused(Views { blur: Blur { taps: 11, sigma: 0.0 }, ..Views::default() }).contains("sigma 0"));
    }
}
