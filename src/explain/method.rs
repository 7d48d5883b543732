//! Every method as a value of plain data. A user's own is a struct literal, not a new code path.

use crate::clip::{ClipConfig, PoolPath, PositionRule, Term, VisionConfig, VisionPath};
use crate::error::{Error, Result};
use crate::explain::segment::Protocol;
use crate::explain::views::Views;
use crate::gpu::{PlanBuilder, Value};
use crate::ops::{self, Resize, Surgery};
use crate::reference::{Align, Projection};
use std::borrow::Cow;

/// How image tokens and labels become scores.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "toml", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case", deny_unknown_fields))]
pub enum Score {
    /// The cosine.
    Cosine,
    /// Label-set feature surgery: minus what all labels share at that place. Needs two labels or more.
    LabelSet {
        /// Inside the softmax over labels that weights them by presence; 2 in the original.
        sharpness: f32,
        /// Weight the minuend too, as the original's code does.
        weight_minuend: bool,
    },
    /// Minus the cosine with the empty string.
    EmptyText,
    /// The labels are states of one thing: softmax over them of the cosines. Needs two labels or more.
    States {
        /// What cosines are divided by; 1 in AnoVL.
        temperature: f32,
    },
}

/// How scores of patches become a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "toml", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Maps {
    /// Stretched to 0..1 from the weakest patch to the strongest, then resized with half-pixel centres.
    Stretched,
    /// Resized with half-pixel centres, then stretched to 0..1 from the weakest pixel to the strongest (GEM). Maps of the grid
    /// are stretched by patches, as with `Stretched`.
    Resized,
    /// Kept on their scale: the mean of 3 x 3 patches, then resized with aligned corners.
    Smoothed,
}

impl Maps {
    /// How maps of the grid are resized.
    pub fn align(self) -> Align {
        match self {
            Maps::Stretched | Maps::Resized => Align::Centres,
            Maps::Smoothed => Align::Corners,
        }
    }

    /// What is done to maps `[P, N]` of the grid for a picture before they are resized to it.
    pub(super) fn plan_pixels(self, b: &mut PlanBuilder, maps: Value, resize: Resize) -> Result<Value> {
        match self {
            Maps::Resized => ops::stretch_pixels(b, "stretch_pixels", maps, resize),
            Maps::Stretched | Maps::Smoothed => Ok(maps),
        }
    }
}

/// A training-free dense-CLIP method.
#[derive(Clone, Debug, PartialEq)]
pub struct Method {
    /// What `--method` takes.
    pub name: Cow<'static, str>,
    /// One line, with the paper.
    pub about: Cow<'static, str>,
    /// What happens in the last blocks of the vision tower.
    pub vision: VisionPath,
    /// From features to scores.
    pub score: Score,
    /// From scores to maps.
    pub maps: Maps,
    /// Positions for square grids other than the trained one; other shapes go by [`PositionRule::Bicubic`] where the
    /// published rule is for squares only.
    pub positions: PositionRule,
    /// Looks at a picture five times, and lets the views' cosines decide together.
    pub views: Option<Views>,
    /// The harness that it was published with: how it segments the usual data sets.
    pub protocol: Option<Protocol>,
}

const DUAL_VALUE_VALUE: VisionPath = VisionPath {
    blocks: 6,
    dual: true,
    terms: Cow::Borrowed(&[Term::of(Projection::Value, Projection::Value)]),
    mlp: false,
    ordinary_class_row: true,
    pool: Some(POOL_VALUE_VALUE),
    ..VisionPath::ORDINARY
};

/// What the published code does to a ResNet: q, k and v of all rows are v, of the class row too.
const POOL_VALUE_VALUE: PoolPath =
    PoolPath { attention: Some((Projection::Value, Projection::Value)), sharpness: 1.0, ordinary_class_row: false };

/// What it intends, by a comment and a branch that is never taken.
const POOL_UNIT_VALUES: PoolPath =
    PoolPath { attention: Some((Projection::UnitValue, Projection::UnitValue)), sharpness: 8.0, ordinary_class_row: true };

impl Method {
    /// Plain CLIP: every token's cosine. Its maps are inverted on real models; the baseline.
    pub const CLIP: Method = Method {
        name: Cow::Borrowed("clip"),
        about: Cow::Borrowed("plain CLIP, every token projected (arXiv 2103.00020)"),
        vision: VisionPath::ORDINARY,
        score: Score::Cosine,
        maps: Maps::Stretched,
        positions: PositionRule::Bilinear,
        views: None,
        protocol: None,
    };

    /// MaskCLIP's idea: the values of the last block, projected, without residual and MLP.
    pub const MASK_CLIP: Method = Method {
        name: Cow::Borrowed("maskclip"),
        about: Cow::Borrowed("values of the last block, no residual, no MLP (arXiv 2112.01071)"),
        vision: VisionPath {
            blocks: 1,
            terms: Cow::Borrowed(&[]),
            residual: false,
            mlp: false,
            pool: Some(PoolPath { attention: None, ..PoolPath::ORDINARY }),
            ..VisionPath::ORDINARY
        },
        score: Score::Cosine,
        maps: Maps::Stretched,
        positions: PositionRule::Bicubic,
        views: None,
        protocol: None,
    };

    /// CLIP Surgery with a label set: v-v attention on a second stream in the last 6 blocks, minus what labels share.
    pub const SURGERY: Method = Method {
        name: Cow::Borrowed("surgery"),
        about: Cow::Borrowed("CLIP Surgery: v-v second stream, label-set feature surgery (arXiv 2304.05653)"),
        vision: DUAL_VALUE_VALUE,
        score: Score::LabelSet { sharpness: 2.0, weight_minuend: true },
        maps: Maps::Stretched,
        positions: PositionRule::Bilinear,
        views: None,
        protocol: None,
    };

    /// CLIP Surgery for one text: minus the empty string.
    pub const SURGERY_ONE_LABEL: Method = Method {
        name: Cow::Borrowed("surgery-empty-text"),
        about: Cow::Borrowed("CLIP Surgery for single texts: minus the empty string (arXiv 2304.05653)"),
        vision: DUAL_VALUE_VALUE,
        score: Score::EmptyText,
        maps: Maps::Stretched,
        positions: PositionRule::Bilinear,
        views: None,
        protocol: None,
    };

    /// CLIP Surgery's architecture alone: cosines of the second stream. What it uses for segmentation.
    pub const SURGERY_ARCHITECTURE: Method = Method {
        name: Cow::Borrowed("surgery-architecture"),
        about: Cow::Borrowed("CLIP Surgery without feature surgery (arXiv 2304.05653)"),
        vision: DUAL_VALUE_VALUE,
        score: Score::Cosine,
        maps: Maps::Stretched,
        positions: PositionRule::Bilinear,
        views: None,
        protocol: None,
    };

    /// CLIP Surgery with the ResNet's attention pool as its authors mean it: unit values, 8 times sharper, ordinary class row.
    /// On a ViT the same as [`Method::SURGERY`].
    pub const SURGERY_RESNET_INTENDED: Method = Method {
        name: Cow::Borrowed("surgery-resnet-intended"),
        about: Cow::Borrowed("CLIP Surgery, ResNets as intended: unit values, 8 times sharper (arXiv 2304.05653)"),
        vision: VisionPath { pool: Some(POOL_UNIT_VALUES), ..DUAL_VALUE_VALUE },
        score: Score::LabelSet { sharpness: 2.0, weight_minuend: true },
        maps: Maps::Stretched,
        positions: PositionRule::Bilinear,
        views: None,
        protocol: None,
    };

    /// All presets; programs, tests and benches iterate over it.
    pub const ALL: &[Method] = &[
        Method::SURGERY,
        Method::SURGERY_ONE_LABEL,
        Method::SURGERY_ARCHITECTURE,
        Method::SURGERY_RESNET_INTENDED,
        Method::CLIP,
        Method::MASK_CLIP,
        Method::MASK_CLIP_REPOSITORY,
        Method::SCLIP,
        Method::GEM,
        Method::CLEAR_CLIP,
        Method::NACLIP,
        Method::CLIPTRASE,
        Method::RESCLIP,
        Method::RESCLIP_CLEARCLIP,
        Method::RESCLIP_SCLIP,
        Method::SC_CLIP,
        Method::ITACLIP,
        Method::ITACLIP_VIEWS,
    ];

    /// The preset of this name.
    ///
    /// # Errors
    /// No such name; the message lists them.
    pub fn named(name: &str) -> Result<Method> {
        Method::ALL.iter().find(|m| m.name == name).cloned().ok_or_else(|| {
            let known: Vec<_> = Method::ALL.iter().map(|m| m.name.as_ref()).collect();
            Error::Method { name: name.to_owned(), what: format!("unknown; expected one of {}", known.join(", ")) }
        })
    }

    /// Refuses combinations that mean nothing.
    ///
    /// # Errors
    /// [`Error::Method`] names the knob.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::Method { name: self.name.to_string(), what: what.to_owned() });
        if let Some(what) = self.vision.contradiction() {
            return wrong(&what);
        }
        if let Some(Err(Error::Input { what })) = self.views.map(|views| views.check()) {
            return wrong(&what);
        }
        match self.score {
            Score::LabelSet { sharpness, .. } if !sharpness.is_finite() => wrong("sharpness must be a finite number"),
            Score::LabelSet { .. } if self.vision.patches_only => {
                wrong("label-set surgery weights labels by the class row, and with patches_only there is none; take score cosine")
            }
            Score::EmptyText if self.vision.logit_mix.is_some() => {
                wrong("logit_mix asks which name each pixel has, and the empty text is none; take score cosine")
            }
            Score::States { temperature } if !(temperature.is_finite() && temperature > 0.0) => {
                wrong("the temperature of states must be a positive number")
            }
            _ => Ok(()),
        }
    }

    /// As [`Method::check`], and refuses what means nothing on this kind of model.
    ///
    /// # Errors
    /// [`Error::Method`]: the model is a ResNet and the method knows transformer blocks only.
    pub fn check_for(&self, config: &ClipConfig) -> Result<()> {
        self.check()?;
        let what = match config.vision {
            VisionConfig::ResNet(_) if self.vision.pool.is_none() => {
                Some("it changes transformer blocks, and this model is a ResNet, which has none; take surgery, maskclip or clip".into())
            }
            VisionConfig::ResNet(_) => None,
            VisionConfig::Transformer(tower) => self.vision.too_deep_for(tower.layers),
        };
        what.map_or(Ok(()), |what| Err(Error::Method { name: self.name.to_string(), what }))
    }

    /// The method for this many labels. With a single one label-set surgery is identically zero, so it becomes the
    /// empty-text form; the second value says so, for the user.
    pub fn for_labels(&self, labels: usize) -> (Method, Option<String>) {
        match self.score {
            Score::LabelSet { .. } if labels < 2 => (
                Method { score: Score::EmptyText, ..self.clone() },
                Some(format!("one label: {} would be zero everywhere, so what the empty text shows is subtracted instead", self.name)),
            ),
            _ => (self.clone(), None),
        }
    }

    /// The position rule for a grid (width, height).
    pub fn positions_for(&self, grid: [u32; 2]) -> PositionRule {
        match self.positions {
            PositionRule::Bilinear if grid[0] != grid[1] => PositionRule::Bicubic,
            rule => rule,
        }
    }
}

impl Score {
    /// What feature surgery removes; `None` where it has no part.
    pub(crate) fn surgery(self) -> Option<Surgery> {
        match self {
            Score::Cosine | Score::States { .. } => None,
            Score::LabelSet { sharpness, weight_minuend } => Some(Surgery::LabelMean { sharpness, weight_minuend }),
            Score::EmptyText => Some(Surgery::Reference),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_sound_and_found_by_name() {
        for method in Method::ALL {
            method.check().unwrap();
            assert_eq!(&Method::named(&method.name).unwrap(), method);
        }
        assert!(Method::named("grad-cam").unwrap_err().to_string().contains("surgery"));
    }

    #[test]
    fn pools_that_mean_nothing_are_refused() {
        let with = |pool: PoolPath| Method { vision: VisionPath { pool: Some(pool), ..VisionPath::ORDINARY }, ..Method::CLIP };
        let refused = |pool: PoolPath, word: &str| with(pool).check().unwrap_err().to_string().contains(word);
        assert!(refused(PoolPath { sharpness: 8.0, ..PoolPath::ORDINARY }, "unit values"));
        assert!(refused(PoolPath { sharpness: f32::NAN, ..POOL_UNIT_VALUES }, "positive"));
        assert!(refused(PoolPath { attention: None, ordinary_class_row: true, ..PoolPath::ORDINARY }, "pool.attention"));
        let unit = Term::of(Projection::UnitValue, Projection::UnitValue);
        let blocks = VisionPath { terms: vec![unit].into(), blocks: 1, ..VisionPath::ORDINARY };
        assert!(Method { vision: blocks, ..Method::CLIP }.check().unwrap_err().to_string().contains("transformer blocks"));
    }

    #[test]
    fn one_label_switches_and_says_so() {
        let (method, notice) = Method::SURGERY.for_labels(1);
        assert_eq!(method.score, Score::EmptyText);
        assert!(notice.unwrap().contains("empty text"));
        assert_eq!(Method::SURGERY.for_labels(2), (Method::SURGERY, None));
    }
}
