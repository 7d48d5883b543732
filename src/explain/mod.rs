//! Explanations: methods as data, scores per label, heat maps over the image.

pub mod explainer;
pub mod method;
pub mod points;
pub mod render;
pub mod scores;
pub mod segment;
mod session;
pub mod words;

pub use explainer::{ExplainOutputs, Explainer, ScoreOutputs};
pub use method::{Method, Score};
pub use points::{PointOptions, Points, Threshold, combined_points, points};
pub use render::{RenderOutputs, Renderer, plan_render};
pub use scores::Scores;
pub use segment::{Classes, SegmentOptions, Segmentation, Segmenter};
pub use session::{Explanation, LabelMap};
pub use words::{Sentence, Word, WordScore};
