//! What a CLIP is made of: read from the JSON beside the weights, checked against the tensors' shapes.
//!
//! Shapes cannot tell the activation, the head size, or the pixel mean. Those come from a config; where there is none,
//! OpenAI's rules are assumed and [`ClipConfig::assumed`] says so, for the caller to show.

use crate::clip::config_json::{RESNET_LAYERS, Said, beside, parse, parse_file, preprocessor_beside};
use crate::clip::names::Layout;
use crate::error::{Error, Result};
use crate::reference::{Activation, Heads};
use crate::weights::{Stored, Weights};
use std::path::PathBuf;

/// Pixel mean of OpenAI's models, RGB, 0..1.
pub const OPENAI_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
/// Pixel standard deviation of OpenAI's models.
pub const OPENAI_STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// Pixels of the image, each way, to a pixel of a ResNet's last map.
const RESNET_STRIDE: u32 = 32;
/// Beyond any model; keeps sums of channels far from overflow.
const MAX_RESNET_WIDTH: u32 = 4096;

/// Where the config comes from.
#[derive(Clone, Debug, Default)]
pub enum ConfigSource {
    /// `open_clip_config.json`, `config.json` or `<stem>.json` beside the weights; without one, OpenAI's rules, said aloud.
    #[default]
    Beside,
    /// As [`ConfigSource::Beside`], for a model of which something is known: it holds where the config is silent.
    Known(Known),
    /// OpenAI's rules: QuickGELU, heads of 64, OpenAI's mean and deviation.
    OpenAi,
    /// This JSON file, OpenCLIP or transformers form.
    File(PathBuf),
    /// This JSON text: the web, or a config embedded in a program.
    Text(String),
}

impl ConfigSource {
    /// The JSON, if there is any, and where it comes from.
    pub(crate) fn json(&self, weights: &Weights) -> Result<(Option<serde_json::Value>, String)> {
        Ok(match self {
            ConfigSource::OpenAi => (None, String::new()),
            ConfigSource::Text(text) => (Some(parse(text, "(text)")?), "(text)".to_owned()),
            ConfigSource::File(path) => (Some(parse_file(path)?), path.display().to_string()),
            ConfigSource::Beside | ConfigSource::Known(_) => match beside(weights.path()) {
                Some(path) => (Some(parse_file(&path)?), path.display().to_string()),
                None => (None, String::new()),
            },
        })
    }
}

/// What is known of a model from elsewhere, such as a table of models. A config that says otherwise is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    /// Of both towers.
    pub activation: Activation,
    /// Pixel mean, RGB.
    pub mean: [f32; 3],
    /// Pixel standard deviation, RGB.
    pub std: [f32; 3],
}

/// One transformer tower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TowerConfig {
    /// Channels, C.
    pub width: u32,
    /// Residual blocks.
    pub layers: u32,
    /// Attention heads and their size.
    pub heads: Heads,
    /// Hidden channels of the MLP.
    pub mlp: u32,
}

/// The vision tower of RN50 and its kin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResNetConfig {
    /// Channels that the stem leaves, w; the last map has 32 times as many.
    pub width: u32,
    /// Bottlenecks of the four layers.
    pub layers: [u32; 4],
    /// Heads of the attention pool and their size.
    pub heads: Heads,
}

impl ResNetConfig {
    /// Channels of the last map and of the attention pool's tokens, C = 32 w.
    pub fn tokens_width(&self) -> u32 {
        32 * self.width
    }
}

/// The two kinds of vision towers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VisionConfig {
    /// A vision transformer (ViT).
    Transformer(TowerConfig),
    /// A ResNet with an attention pool.
    ResNet(ResNetConfig),
}

impl VisionConfig {
    /// Channels of its tokens, C.
    pub fn width(&self) -> u32 {
        match self {
            VisionConfig::Transformer(tower) => tower.width,
            VisionConfig::ResNet(tower) => tower.tokens_width(),
        }
    }

    /// Residual blocks in all.
    pub fn layers(&self) -> u32 {
        match self {
            VisionConfig::Transformer(tower) => tower.layers,
            VisionConfig::ResNet(tower) => tower.layers.iter().sum(),
        }
    }

    /// Heads of each attention.
    pub fn heads(&self) -> Heads {
        match self {
            VisionConfig::Transformer(tower) => tower.heads,
            VisionConfig::ResNet(tower) => tower.heads,
        }
    }

    /// For errors and reports.
    pub fn kind(&self) -> &'static str {
        match self {
            VisionConfig::Transformer(_) => "ViT",
            VisionConfig::ResNet(_) => "ResNet",
        }
    }
}

/// A CLIP.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipConfig {
    /// Vision tower.
    pub vision: VisionConfig,
    /// Text tower; all 0 if there is none ([`ClipConfig::has_text`]).
    pub text: TowerConfig,
    /// Patch side, pixels; 32 for a ResNet, what a pixel of its last map stands for.
    pub patch: u32,
    /// Patches per side at the training size.
    pub native_grid: u32,
    /// Joint embedding width, D; without a text tower C, since nothing is projected.
    pub embed: u32,
    /// Longest text, tokens with markers.
    pub context: u32,
    /// Rows of the token table.
    pub vocabulary: u32,
    /// Of the MLPs of both towers; a ResNet's convolutions have ReLU.
    pub activation: Activation,
    /// Scores of every attention are `c tanh(score / c)`, as locality alignment trains them; `None`: they are what they are.
    pub softcap: Option<f32>,
    /// Of every layer norm.
    pub eps: f32,
    /// Pixel mean, RGB.
    pub mean: [f32; 3],
    /// Pixel standard deviation, RGB.
    pub std: [f32; 3],
    /// What no file said and OpenAI's rules filled in; show it to the user.
    pub assumed: Vec<String>,
}

impl ClipConfig {
    /// True if there is a text tower and both towers are projected into one space; else features are the vision tower's own.
    pub fn has_text(&self) -> bool {
        self.vocabulary > 0
    }

    /// Side of the training images, pixels.
    pub fn image_size(&self) -> u32 {
        self.native_grid * self.patch
    }

    /// Patches, (width, height), of an input of so many pixels; a dimension may be 0. A ViT drops what is beyond the last whole
    /// patch; a ResNet rounds up once, at its first convolution, and down from there on.
    pub fn grid(&self, size: [u32; 2]) -> [u32; 2] {
        match self.vision {
            VisionConfig::Transformer(_) => size.map(|s| s / self.patch),
            VisionConfig::ResNet(_) => size.map(|s| s.div_ceil(2) / (self.patch / 2)),
        }
    }

    /// Reads and checks the config of a weights file.
    ///
    /// # Errors
    /// No CLIP, an unreadable or contradictory config, a head size that cannot be known.
    pub fn read(weights: &Weights, layout: Layout, source: &ConfigSource) -> Result<ClipConfig> {
        if let Layout::Timm(timm) = layout {
            return timm.config(weights, source);
        }
        let shapes = Shapes::of(weights, layout)?;
        let (json, place) = source.json(weights)?;
        let bad = |what: String| Error::Config { path: place.clone(), what };
        let mut said = json.as_ref().map(|json| Said::of(json, &place)).transpose()?;
        if let (ConfigSource::Known(known), Some(said)) = (source, &mut said) {
            said.complete(known, &place)?;
        }
        let mut assumed = Vec::new();
        let said = match said {
            Some(said) => said,
            None => {
                if matches!(source, ConfigSource::Beside) && !shapes.openai_scalars {
                    assumed.push(format!(
                        "no config beside {}: OpenAI's rules assumed (QuickGELU, heads of 64); if the model is another, pass --config FILE.json",
                        weights.path().display()
                    ));
                }
                Said {
                    activation: Activation::QuickGelu,
                    activation_stated: false,
                    resnet: shapes.vision.is_resnet(),
                    vision_heads: shapes.vision.tokens_width() / 64,
                    text_heads: shapes.text.0 / 64,
                    eps: 1e-5,
                    mean_std: None,
                    expect: Vec::new(),
                }
            }
        };
        if said.resnet != shapes.vision.is_resnet() {
            let kind = |resnet: bool| if resnet { "a ResNet" } else { "a ViT" };
            let (says, holds) = (kind(said.resnet), kind(shapes.vision.is_resnet()));
            return Err(bad(format!("it describes {says}, the weights in {} are {holds}'s", weights.path().display())));
        }
        for (name, expected, got) in said.expect.iter().filter_map(|&(name, value)| Some((name, value, shapes.get(name)?))) {
            if expected != got {
                return Err(bad(format!("{name} is {expected}, the weights in {} have {got}", weights.path().display())));
            }
        }
        let (mean, std) = match said.mean_std.or_else(|| preprocessor_beside(weights.path())) {
            Some(pair) => pair,
            None => (OPENAI_MEAN, OPENAI_STD),
        };
        let heads = |width: u32, heads: u32, which: &str| {
            if heads == 0 || !width.is_multiple_of(heads) || !(width / heads).is_multiple_of(4) || width / heads > 128 {
                return Err(bad(format!(
                    "{which} width {width} with {heads} heads: the head size must be a multiple of 4, at most 128; pass --config FILE.json with head_width"
                )));
            }
            Ok(Heads { heads: heads as usize, size: (width / heads) as usize })
        };
        if shapes.patch % 2 != 0 || [shapes.embed, shapes.text.2].iter().any(|n| n % 4 != 0) {
            return Err(bad(format!("patch {} must be even, widths multiples of 4", shapes.patch)));
        }
        let vision = match shapes.vision {
            VisionShapes::Transformer { width, layers, mlp } => {
                if mlp % 4 != 0 {
                    return Err(bad(format!("vision MLP width {mlp} must be a multiple of 4")));
                }
                VisionConfig::Transformer(TowerConfig { width, layers, heads: heads(width, said.vision_heads, "vision")?, mlp })
            }
            VisionShapes::ResNet { width, layers } => {
                if width == 0 || width % 8 != 0 || width > MAX_RESNET_WIDTH || layers.contains(&0) {
                    return Err(bad(format!(
                        "a ResNet of width {width} with {layers:?} blocks: expected a multiple of 8 up to {MAX_RESNET_WIDTH} (RN50: 64) and a block or more in each layer"
                    )));
                }
                let heads = heads(32 * width, said.vision_heads, "attention pool")?;
                VisionConfig::ResNet(ResNetConfig { width, layers, heads })
            }
        };
        let (width, layers, mlp) = shapes.text;
        Ok(ClipConfig {
            vision,
            text: TowerConfig { width, layers, heads: heads(width, said.text_heads, "text")?, mlp },
            patch: shapes.patch,
            native_grid: shapes.native_grid,
            embed: shapes.embed,
            context: shapes.context,
            vocabulary: shapes.vocabulary,
            activation: said.activation,
            softcap: None,
            eps: said.eps,
            mean,
            std,
            assumed,
        })
    }
}

/// What the shapes of a vision tower's tensors say.
#[derive(Clone, Copy)]
enum VisionShapes {
    Transformer { width: u32, layers: u32, mlp: u32 },
    ResNet { width: u32, layers: [u32; 4] },
}

impl VisionShapes {
    fn is_resnet(self) -> bool {
        matches!(self, VisionShapes::ResNet { .. })
    }

    fn tokens_width(self) -> u32 {
        match self {
            VisionShapes::Transformer { width, .. } => width,
            VisionShapes::ResNet { width, .. } => width.saturating_mul(32),
        }
    }
}

/// What the tensors' shapes say.
struct Shapes {
    vision: VisionShapes,
    /// Width, layers, MLP width.
    text: (u32, u32, u32),
    patch: u32,
    native_grid: u32,
    embed: u32,
    context: u32,
    vocabulary: u32,
    /// OpenAI's own checkpoints carry three integer scalars.
    openai_scalars: bool,
}

impl Shapes {
    fn of(weights: &Weights, layout: Layout) -> Result<Shapes> {
        let shape = |name: &str, rank: usize| -> Result<Vec<u32>> {
            let stored = layout.locate(name);
            let file_name = stored.names()[0].clone();
            let hint = || format!("is {} a whole CLIP?", weights.path().display());
            let mut got = weights.shape(&file_name).ok_or_else(|| Error::MissingTensor { name: file_name.clone(), hint: hint() })?.to_vec();
            if got.len() != rank || got.contains(&0) {
                return Err(Error::TensorShape {
                    name: file_name,
                    expected: format!("{rank} dimensions"),
                    got: format!("{got:?}"),
                    hint: hint(),
                });
            }
            if matches!(stored, Stored::Transposed(_)) {
                got.reverse();
            }
            Ok(got)
        };
        let count = |name: &dyn Fn(u32) -> String| -> u32 {
            (0..).take_while(|&i| weights.shape(&layout.locate(&name(i)).names()[0]).is_some()).count() as u32
        };
        let layers = |tower: &str| count(&|i| format!("{tower}transformer.resblocks.{i}.ln_1.weight"));
        let resnet = weights.shape("visual.attnpool.positional_embedding").is_some();
        let first = shape("visual.conv1.weight", 4)?;
        let table = if resnet { "visual.attnpool.positional_embedding" } else { "visual.positional_embedding" };
        let which = if resnet { "first" } else { "patch" };
        let rows = shape(table, 2)?[0];
        let grid = f64::from(rows.saturating_sub(1)).sqrt().round() as u32;
        if grid == 0 || u64::from(grid) * u64::from(grid) + 1 != u64::from(rows) || first[1] != 3 || first[2] != first[3] {
            return Err(Error::Config {
                path: weights.path().display().to_string(),
                what: format!("{rows} vision positions and a {which} convolution {first:?}: expected 1 + n x n positions and [C, 3, p, p]"),
            });
        }
        let (vision, patch) = if resnet {
            let layers = [1, 2, 3, 4].map(|l| count(&|i| format!("visual.layer{l}.{i}.conv1.weight")));
            (VisionShapes::ResNet { width: first[0].saturating_mul(2), layers }, RESNET_STRIDE)
        } else {
            let mlp = shape("visual.transformer.resblocks.0.mlp.c_fc.weight", 2)?[0];
            (VisionShapes::Transformer { width: first[0], layers: layers("visual."), mlp }, first[2])
        };
        let context = shape("positional_embedding", 2)?;
        Ok(Shapes {
            vision,
            text: (context[1], layers(""), shape("transformer.resblocks.0.mlp.c_fc.weight", 2)?[0]),
            patch,
            native_grid: grid,
            embed: shape("text_projection", 2)?[0],
            context: context[0],
            vocabulary: shape("token_embedding.weight", 2)?[0],
            openai_scalars: weights.shape("input_resolution").is_some(),
        })
    }

    /// Under the names of an OpenCLIP config, for the cross-check.
    fn get(&self, name: &str) -> Option<u32> {
        Some(match name {
            "embed_dim" => self.embed,
            "vision width" => match self.vision {
                VisionShapes::Transformer { width, .. } | VisionShapes::ResNet { width, .. } => width,
            },
            "vision layers" => match self.vision {
                VisionShapes::Transformer { layers, .. } => layers,
                VisionShapes::ResNet { .. } => return None,
            },
            _ if RESNET_LAYERS.contains(&name) => match self.vision {
                VisionShapes::ResNet { layers, .. } => layers[RESNET_LAYERS.iter().position(|l| *l == name)?],
                VisionShapes::Transformer { .. } => return None,
            },
            "patch_size" => self.patch,
            "image_size" => self.native_grid * self.patch,
            "text width" => self.text.0,
            "text layers" => self.text.1,
            "vocab_size" => self.vocabulary,
            "context_length" => self.context,
            _ => return None,
        })
    }
}
