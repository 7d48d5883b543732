//! CLIP: configs, weights by name, both towers, texts and labels. Knows nothing of explanations.

mod attention_pool;
mod block;
mod changed;
mod clean;
pub mod config;
mod config_json;
#[cfg(feature = "image")]
pub mod decode;
mod encode;
pub mod export;
pub mod labels;
mod loader;
pub mod model;
pub mod names;
mod packed;
pub mod path;
pub mod positions;
pub mod preprocess;
mod resnet;
pub mod states;
mod tables;
pub mod templates;
mod terms;
mod text;
pub mod timm;
pub mod tokenizer;
pub mod vision;
mod vit;

pub use config::{ClipConfig, ConfigSource, Known, ResNetConfig, TowerConfig, VisionConfig};
pub use encode::TokenFeatures;
pub use labels::{LabelCache, Labels};
pub use loader::Precision;
pub use model::{Clip, ImageOutputs, LoadOptions};
pub use path::{Aggregate, LogitMix, Pair, PoolPath, PostMix, Repair, Scale, Term, VisionPath};
pub use positions::PositionRule;
pub use preprocess::{Image, ImageInput, SourceKind};
pub use states::States;
pub use templates::{Average, Templates};
pub use tokenizer::Tokenizer;
