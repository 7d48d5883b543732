//! A CLIP on a device: config, towers loaded when first used, plans of both.

use crate::clip::config::{ClipConfig, ConfigSource};
use crate::clip::loader::{Loader, Precision};
use crate::clip::names::Layout;
use crate::clip::packed::Packed;
use crate::clip::path::VisionPath;
use crate::clip::positions::PositionRule;
use crate::clip::preprocess::{ImageInput, plan_pixels};
use crate::clip::text::TextTower;
use crate::clip::tokenizer::Tokenizer;
use crate::clip::vision::{Ends, VisionTower};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Plan, PlanBuilder, Tensor, Value};
use crate::ops::Related;
use crate::weights::{Stored, Weights};
use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// How to load a model.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Storage of weights and activations.
    pub precision: Precision,
    /// Where the config comes from.
    pub config: ConfigSource,
    /// The bytes of a `tokenizer.json`. Default: the one beside the weights, else CLIP's own vocabulary if the sizes agree.
    pub tokenizer: Option<Vec<u8>>,
    /// Cut texts that are too long instead of refusing them.
    pub truncate: bool,
}

/// A CLIP. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clip {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    gpu: Arc<Gpu>,
    weights: Weights,
    layout: Layout,
    config: ClipConfig,
    options: LoadOptions,
    vision: Mutex<Option<Arc<VisionTower>>>,
    text: Mutex<Option<Arc<TextTower>>>,
    tokenizer: Mutex<Option<Arc<Tokenizer>>>,
}

impl Clip {
    /// Checks the file against its config; towers go to the GPU when they are first used.
    ///
    /// # Errors
    /// Not a CLIP; a missing, surplus or misshapen tensor; a config that contradicts the file.
    pub fn load(engine: &Engine, weights: &Weights, options: LoadOptions) -> Result<Clip> {
        let layout = Layout::of(weights)?;
        let config = ClipConfig::read(weights, layout, &options.config)?;
        let mut tensors = VisionTower::tensors(&config);
        if config.has_text() {
            tensors.extend(TextTower::tensors(&config));
        }
        let hint = load_hint(weights);
        for (name, shape) in &tensors {
            weights.check(&layout.locate(name), shape, &hint)?;
        }
        layout.check_unknown(weights, tensors.iter().map(|t| t.0.as_str()).chain(["logit_scale"]))?;
        Ok(Clip {
            inner: Arc::new(Inner {
                gpu: engine.gpu().clone(),
                weights: weights.clone(),
                layout,
                config,
                options,
                vision: Mutex::default(),
                text: Mutex::default(),
                tokenizer: Mutex::default(),
            }),
        })
    }

    /// What the model is made of.
    pub fn config(&self) -> &ClipConfig {
        &self.inner.config
    }

    /// The weights file.
    pub fn weights(&self) -> &Weights {
        &self.inner.weights
    }

    /// Layout of the weights file.
    pub fn layout(&self) -> Layout {
        self.inner.layout
    }

    /// Storage of weights and activations.
    pub fn precision(&self) -> Precision {
        self.inner.options.precision
    }

    /// True if texts that are too long are cut.
    pub(crate) fn truncates(&self) -> bool {
        self.inner.options.truncate
    }

    /// The device it runs on.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.inner.gpu
    }

    /// exp(logit_scale): what cosines are multiplied by for classification.
    ///
    /// # Errors
    /// The tensor is missing or not finite.
    pub fn logit_scale(&self) -> Result<f32> {
        self.expect_text()?;
        let name = Stored::Plain("logit_scale".into());
        let values = self.inner.weights.floats(&name, "the temperature")?;
        values.first().map(|v| v.exp()).ok_or_else(|| Error::MissingTensor { name: "logit_scale".into(), hint: "empty".into() })
    }

    fn loader<'a>(&'a self, hint: &'a str) -> Loader<'a> {
        Loader { gpu: &self.inner.gpu, weights: &self.inner.weights, layout: self.inner.layout, precision: self.precision(), hint }
    }

    pub(crate) fn vision(&self) -> Result<Arc<VisionTower>> {
        once(&self.inner.vision, || VisionTower::load(&self.loader(&load_hint(&self.inner.weights)), &self.inner.config))
    }

    /// Refuses texts where there is no tower for them.
    fn expect_text(&self) -> Result<()> {
        if self.config().has_text() {
            return Ok(());
        }
        let what = "this model has a vision tower and no text tower: its features are in no text's space; encode images with it, \
            and take a whole CLIP for labels";
        Err(Error::Config { path: self.weights().path().display().to_string(), what: what.into() })
    }

    fn text(&self) -> Result<Arc<TextTower>> {
        self.expect_text()?;
        once(&self.inner.text, || TextTower::load(&self.loader(&load_hint(&self.inner.weights)), &self.inner.config))
    }

    /// The tokenizer: given, beside the weights, or CLIP's own.
    ///
    /// # Errors
    /// None fits the model's vocabulary.
    pub fn tokenizer(&self) -> Result<Arc<Tokenizer>> {
        self.expect_text()?;
        once(&self.inner.tokenizer, || {
            let config = &self.inner.config;
            let context = config.context as usize;
            let tokenizer = match self.tokenizer_json()? {
                Some(bytes) => Tokenizer::from_json(&bytes, context)?,
                None => own_vocabulary(context, config.vocabulary)?,
            };
            if tokenizer.vocab_size() > config.vocabulary as usize {
                return Err(Error::Tokenizer {
                    what: format!(
                        "it has {} tokens, the model in {} has {}; put the model's own tokenizer.json beside it",
                        tokenizer.vocab_size(),
                        self.inner.weights.path().display(),
                        config.vocabulary
                    ),
                });
            }
            Ok(tokenizer)
        })
    }

    /// The `tokenizer.json` in use: given, or beside the weights; `None` for CLIP's own vocabulary.
    pub(crate) fn tokenizer_json(&self) -> Result<Option<Cow<'_, [u8]>>> {
        match &self.inner.options.tokenizer {
            Some(bytes) => Ok(Some(Cow::Borrowed(bytes))),
            None => Ok(tokenizer_beside(self.inner.weights.path())?.map(Cow::Owned)),
        }
    }

    // ------------------------------------------------------------ plans

    /// A plan from pixels on the GPU to projected tokens and class embeddings.
    ///
    /// # Errors
    /// A size that does not fit the model or the device.
    pub fn plan_image(&self, input: &ImageInput, path: &VisionPath, rule: PositionRule) -> Result<Plan<ImageOutputs>> {
        let mut b = PlanBuilder::new(&self.inner.gpu);
        let pixels = plan_pixels(&mut b, input, self.config())?.pixels;
        let tokens = self.plan_tokens(&mut b, pixels, path, rule)?;
        b.keep(tokens);
        let per_image = tokens.shape().rows() / input.images;
        b.finish(|r| Ok(ImageOutputs { tokens: r.tensor(tokens)?, tokens_per_image: per_image }))
    }

    /// Appends the vision tower to a plan: pixels `[B, 3, H, W]` f32 -> tokens `[B (1 + N), D]`, not normalised.
    ///
    /// # Errors
    /// A size that does not fit the model or the device.
    pub fn plan_tokens(&self, b: &mut PlanBuilder, pixels: Value, path: &VisionPath, rule: PositionRule) -> Result<Value> {
        self.plan_mixed_tokens(b, pixels, path, rule, None)
    }

    /// As [`Clip::plan_tokens`]; `mix` is what a first pass found, for the path's `logit_mix`.
    pub(crate) fn plan_mixed_tokens(
        &self,
        b: &mut PlanBuilder,
        pixels: Value,
        path: &VisionPath,
        rule: PositionRule,
        mix: Option<Related>,
    ) -> Result<Value> {
        self.vision()?.plan(b, pixels, path, Ends { rule, act: self.precision().activations() }, mix)
    }

    /// Appends to a plan how alike an image's tokens are in a block of plain CLIP: the mean over heads of the cosines of
    /// queries, of keys and of values (CLIPtrase, arXiv 2407.08268, has that of the last block but one, `block_from_end` 1).
    /// Pixels `[B, 3, H, W]` f32 -> `[B, 1 + N, 1 + N]` f32, class row first. What the tower has in common is planned once.
    ///
    /// # Errors
    /// A ResNet, a block that is not there, a size that does not fit the model or the device.
    pub fn plan_correlation(&self, b: &mut PlanBuilder, pixels: Value, rule: PositionRule, block_from_end: u32) -> Result<Value> {
        self.vision()?.correlation(b, pixels, Ends { rule, act: self.precision().activations() }, block_from_end)
    }

    /// Appends the text tower to a plan: token ids with markers -> features `[S, D]` at the end markers, not normalised.
    ///
    /// Texts that begin alike share the work of their beginnings, in any order; an inspecting plan keeps each whole, so
    /// that its stages are `[T, C]`, text behind text. Hand over what belongs together: [`Clip::text_batches`] cuts long lists.
    ///
    /// # Errors
    /// An id beyond the vocabulary, a text beyond the context, too many tokens for the device.
    pub fn plan_text(&self, b: &mut PlanBuilder, ids: &[Vec<u32>]) -> Result<Value> {
        self.check_ids(ids)?;
        let packed = if b.inspecting() { Packed::apart(ids) } else { Packed::shared(ids) };
        self.plan_packed(b, &packed)
    }

    pub(crate) fn plan_packed(&self, b: &mut PlanBuilder, packed: &Packed) -> Result<Value> {
        self.text()?.plan(b, &self.inner.weights, packed, self.precision().activations())
    }

    pub(crate) fn check_ids(&self, ids: &[Vec<u32>]) -> Result<()> {
        self.expect_text()?;
        let context = self.config().context as usize;
        for text in ids {
            if text.is_empty() || text.len() > context {
                return Err(Error::shape("text", "ids", format!("1 to {context} tokens"), text.len()));
            }
            if let Some(id) = text.iter().find(|&&id| id >= self.config().vocabulary) {
                return Err(Error::shape("text", "id", format!("below {}", self.config().vocabulary), id));
            }
        }
        if ids.is_empty() {
            return Err(Error::Input { what: "no text to encode".into() });
        }
        Ok(())
    }
}

/// What [`Clip::plan_image`] leaves on the device.
#[derive(Clone, Debug)]
pub struct ImageOutputs {
    /// Projected tokens `[B (1 + N), D]`, not normalised, class row first in each image.
    pub tokens: Tensor,
    /// 1 + N.
    pub tokens_per_image: u32,
}

/// Refuses NaN and infinity in a result.
///
/// # Errors
/// [`Error::ResultNotFinite`].
pub fn check_finite(what: &str, values: &[f32]) -> Result<()> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(index) => Err(Error::ResultNotFinite { what: what.to_owned(), index, value: values[index] }),
    }
}

fn once<T>(slot: &Mutex<Option<Arc<T>>>, make: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(made) = &*slot {
        return Ok(made.clone());
    }
    let made = Arc::new(make()?);
    *slot = Some(made.clone());
    Ok(made)
}

fn load_hint(weights: &Weights) -> String {
    format!("{}: does its config describe another model?", weights.path().display())
}

fn tokenizer_beside(weights: &Path) -> Result<Option<Vec<u8>>> {
    let path = weights.with_file_name("tokenizer.json");
    if !path.is_file() {
        return Ok(None);
    }
    std::fs::read(&path).map(Some).map_err(|e| Error::io(path, e))
}

fn own_vocabulary(context: usize, vocabulary: u32) -> Result<Tokenizer> {
    #[cfg(feature = "clip-vocab")]
    if vocabulary == 49_408 {
        return Tokenizer::clip(context);
    }
    let _ = context;
    Err(Error::Tokenizer {
        what: format!("the model has {vocabulary} tokens and no tokenizer.json beside it; put its tokenizer.json there"),
    })
}
