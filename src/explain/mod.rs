//! Explanations: methods as data, scores per label, heat maps over the image.

pub mod anomaly;
pub mod compare;
pub mod explainer;
pub mod feedback;
mod frame;
pub mod method;
#[cfg(feature = "toml")]
mod method_file;
mod peak;
mod pipeline;
pub mod points;
mod presets;
pub mod recognize;
pub mod render;
pub mod scores;
pub mod segment;
pub mod stream;
pub mod views;
pub mod words;

pub use anomaly::{ANOCLIP, Anomaly, AnomalyDetector, AnomalyStream};
pub use compare::{Comparison, Cost, Costs};
pub use explainer::{ExplainOutputs, Explainer, ScoreOutputs};
pub use feedback::{Feedback, FeedbackValues};
pub use method::{Maps, Method, Score};
pub use points::{PointOptions, Points, Threshold, combined_points, points};
pub use render::{Drawn, Renderer};
pub use scores::{Scores, stretched};
pub use segment::{Classes, SegmentOptions, Segmentation, Segmenter};
pub use stream::{DeviceTime, Explanation, LabelMap, Piece, Stream, StreamOptions};
pub use views::Views;
pub use words::{Part, Sentence, Word, WordScore};
