//! CLIP: configs, weights by name, both towers, texts and labels. Knows nothing of explanations.

mod attention_pool;
mod block;
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
pub mod positions;
pub mod preprocess;
mod resnet;
pub mod templates;
mod text;
pub mod tokenizer;
pub mod vision;
mod vit;

pub use config::{ClipConfig, ConfigSource, Known, ResNetConfig, TowerConfig, VisionConfig};
pub use encode::TokenFeatures;
pub use labels::{LabelCache, Labels};
pub use loader::Precision;
pub use model::{Clip, ImageOutputs, LoadOptions};
pub use positions::PositionRule;
pub use preprocess::{Image, ImageInput, SourceKind};
pub use templates::Templates;
pub use tokenizer::Tokenizer;
pub use vision::{PoolPath, VisionPath};
