//! Explanations: methods as data, scores per label, heat maps over the image.

pub mod explainer;
pub mod method;
pub mod render;

pub use explainer::{ExplainOutputs, Explainer, Explanation, LabelMap, ScoreOutputs};
pub use method::{Method, Score};
pub use render::{RenderOutputs, plan_render};
