//! Open-vocabulary segmentation: a class for every pixel, a class being one or more names.
//!
//! ```text
//! windows ─ method's scores [K, 1+N, L] ─ stitch ─> [L, h, w] ─ upsample ─> [L, H, W] ─ pamr? ─ segment ─> class [H, W]
//! ```
//!
//! The harness that SCLIP introduced and its successors share, and CLIP Surgery's own use: architecture surgery, cosine.
//! Maps never exist for all names or the whole image: names go through in chunks, the image in bands of rows (see
//! [`Segmenter`]). What grows is the patches' scores `[K (1 + N), L]` and, for views that the device resizes, the picture
//! itself; each has to fit one binding.

mod bands;
pub mod classes;
pub mod closing;
pub mod clusters;
mod palette;
pub mod presets;
pub mod refine;
mod resize;
mod scoring;
mod segmenter;
pub mod view;

pub use classes::{Class, Classes};
pub use clusters::ClusterVote;
pub use palette::voc_colour;
pub use presets::Protocol;
pub use refine::{KeyLength, ScoreRefinement};
pub use segmenter::Segmenter;
pub use view::{Short, View};

use crate::clip::ClipConfig;
use crate::error::{Error, Result};

/// How scores become classes.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentOptions {
    /// What of the image the model sees.
    pub view: View,
    /// What scores are multiplied by before the softmax over all names. 40 to 65 in the published harnesses.
    pub logit_scale: f32,
    /// Pixels whose class is less likely than this become class 0. Needs a background.
    pub prob_thd: f32,
    /// Classes but the background that cover at most this share of what all of them cover are taken out, and the next best
    /// class takes their pixels. A pass more.
    pub area_thd: Option<f32>,
    /// Refinement along the image's colours.
    pub pamr: Option<Pamr>,
    /// For one pass over the whole image: from the grid to the model's input first and then to the image's size (NACLIP,
    /// ResCLIP), not straight from the grid (SCLIP). Windows always go by the input.
    pub through_input: bool,
    /// Clusters of patches vote on the classes of their pixels; of a view of the whole image. Confidences stay those of the
    /// pixels' own choice.
    pub cluster_vote: Option<ClusterVote>,
    /// A 3 x 3 morphological closing of the finished map: cracks and holes of a pixel or two go to the neighbour with the
    /// higher class index.
    pub closing: bool,
    /// Zeros around windows up to a multiple of the patch, so that no row or column of pixels is left out; what the model
    /// says of the zeros is cut off.
    pub pad: bool,
    /// Patches' scores times those of the class row, name by name, before windows are joined.
    pub class_row: bool,
    /// Names that no patch of a window finds so likely are taken out of that window, see [`ScoreRefinement`]; 0 for none.
    pub presence: f32,
    /// Divide each pixel's class probabilities by their sum, after the threshold: moves confidences, not classes.
    pub normalised: bool,
}

impl SegmentOptions {
    /// For everyday use: the whole image squeezed to the size that the model was trained on, as CLIP Surgery does, straight
    /// from the grid to the image's size, no threshold.
    pub fn new(config: &ClipConfig) -> SegmentOptions {
        SegmentOptions {
            view: View::Whole([config.image_size(); 2]),
            logit_scale: 40.0,
            prob_thd: 0.0,
            area_thd: None,
            pamr: None,
            through_input: false,
            cluster_vote: None,
            closing: false,
            pad: false,
            class_row: false,
            presence: 0.0,
            normalised: false,
        }
    }

    /// Refuses values that mean nothing.
    ///
    /// # Errors
    /// [`Error::Input`] names the value.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::Input { what });
        self.view.check()?;
        if !self.logit_scale.is_finite() || self.logit_scale <= 0.0 {
            return wrong(format!("logit scale {}: expected a positive number, e.g. 40", self.logit_scale));
        }
        if !(0.0..=1.0).contains(&self.prob_thd) {
            return wrong(format!("probability threshold {}: expected 0 to 1", self.prob_thd));
        }
        if self.area_thd.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            return wrong("area threshold: expected a share from 0 to 1".into());
        }
        ScoreRefinement { presence: self.presence, ..ScoreRefinement::NONE }.check()?;
        if self.pad && !matches!(self.view, View::Windows { .. }) {
            return wrong("padding is for windows: pass a view that has them".into());
        }
        if let Some(vote) = self.cluster_vote {
            vote.check()?;
            if matches!(self.view, View::Windows { .. }) {
                let what =
                    "clusters vote on a view of the whole image: each window has patches of its own, which correlate with no other's";
                return wrong(what.into());
            }
        }
        match &self.pamr {
            Some(pamr) => pamr.check(self.view),
            None => Ok(()),
        }
    }
}

/// Pixel-adaptive refinement (arXiv 2005.08104).
#[derive(Clone, Debug, PartialEq)]
pub struct Pamr {
    /// 10 in the published harnesses.
    pub iterations: u32,
    /// Distances of the neighbours, pixels, 1 to 4 of them; 8 and 16 in the published harnesses.
    pub dilations: Vec<u32>,
    /// Whose colours decide.
    pub guide: Guide,
}

/// The picture whose edges refinement keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guide {
    /// The image as it is.
    Image,
    /// The model's input stretched back to the image's size, as in the published harnesses; for views that keep the aspect
    /// by [`Short`].
    Input,
}

impl Default for Pamr {
    fn default() -> Pamr {
        Pamr { iterations: 10, dilations: vec![8, 16], guide: Guide::Image }
    }
}

impl Pamr {
    fn check(&self, view: View) -> Result<()> {
        let wrong = |what: String| Err(Error::Input { what });
        if !(1..=100).contains(&self.iterations) {
            return wrong(format!("refinement: {} iterations; expected 1 to 100", self.iterations));
        }
        if self.dilations.is_empty() || self.dilations.len() > 4 || self.dilations.iter().any(|d| !(1..=64).contains(d)) {
            return wrong(format!("refinement: dilations {:?}; expected 1 to 4 distances of 1 to 64 pixels", self.dilations));
        }
        if self.guide == Guide::Input && !view.resizes() {
            return wrong("refinement along the model's input needs a view that is resized to a short side; use the image".into());
        }
        Ok(())
    }

    /// Rows beyond which a pixel has no influence.
    fn reach(&self) -> u32 {
        self.iterations * self.dilations.iter().copied().max().unwrap_or(0)
    }
}

/// One image's classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Segmentation {
    /// (width, height), pixels: the image's.
    pub size: [u32; 2],
    /// Index into [`Classes::list`] of each pixel, `[H, W]`.
    pub class_of_pixel: Vec<u16>,
    /// Probability of the class that won each pixel, `[H, W]`: of its best name ([`SegmentOptions::normalised`]:
    /// its share of all classes'), before a threshold or a closing gave the pixel to another.
    pub confidence: Vec<f32>,
    /// Pixels of each class.
    pub areas: Vec<u64>,
    /// Mean confidence over each class's pixels; 0 where it has none.
    pub mean_confidence: Vec<f32>,
    /// Patches of one window, (width, height).
    pub grid: [u32; 2],
    /// Size of what the windows lie on, (width, height).
    pub input: [u32; 2],
    /// How many windows.
    pub windows: usize,
}

/// Classes that the area rule takes out: those but the first that cover at most `share` of what all but the first cover.
///
/// `areas`: pixels of each class.
pub fn too_small(areas: &[u64], share: f32) -> Vec<usize> {
    let rest = areas.get(1..).unwrap_or_default();
    let limit = rest.iter().sum::<u64>() as f64 * f64::from(share);
    rest.iter().enumerate().filter(|&(_, &area)| area as f64 <= limit).map(|(i, _)| i + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_rule_spares_the_background() {
        assert_eq!(too_small(&[5, 90, 10, 0], 0.1), [2, 3]);
        assert_eq!(too_small(&[0, 90, 11, 0], 0.1), [3]);
        assert_eq!(too_small(&[1000, 0], 0.5), [1]);
        assert!(too_small(&[7], 0.5).is_empty() && too_small(&[], 0.5).is_empty());
    }
}
