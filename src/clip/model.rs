//! A CLIP on a device: config, towers loaded when first used, and encoding that submits and waits for you.

use crate::clip::config::{ClipConfig, ConfigSource};
use crate::clip::labels::{LabelCache, Labels};
use crate::clip::loader::{Loader, Precision};
use crate::clip::names::Layout;
use crate::clip::positions::PositionRule;
use crate::clip::preprocess::{ImageInput, plan_pixels};
use crate::clip::templates::Templates;
use crate::clip::text::{Packed, TextTower};
use crate::clip::tokenizer::Tokenizer;
use crate::clip::vision::{VisionPath, VisionTower};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Plan, PlanBuilder, Tensor, Value};
use crate::ops;
use crate::weights::{Stored, Weights};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Packed tokens per text plan: keeps its activations well inside one default binding.
const TOKENS_PER_PLAN: usize = 4096;

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
    /// Not a ViT CLIP; a missing, surplus or misshapen tensor; a config that contradicts the file.
    pub fn load(engine: &Engine, weights: &Weights, options: LoadOptions) -> Result<Clip> {
        let layout = Layout::of(weights)?;
        let config = ClipConfig::read(weights, layout, &options.config)?;
        let mut tensors = VisionTower::tensors(&config);
        tensors.extend(TextTower::tensors(&config));
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

    /// The device it runs on.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.inner.gpu
    }

    /// exp(logit_scale): what cosines are multiplied by for classification.
    ///
    /// # Errors
    /// The tensor is missing or not finite.
    pub fn logit_scale(&self) -> Result<f32> {
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

    fn text(&self) -> Result<Arc<TextTower>> {
        once(&self.inner.text, || TextTower::load(&self.loader(&load_hint(&self.inner.weights)), &self.inner.config))
    }

    /// The tokenizer: given, beside the weights, or CLIP's own.
    ///
    /// # Errors
    /// None fits the model's vocabulary.
    pub fn tokenizer(&self) -> Result<Arc<Tokenizer>> {
        once(&self.inner.tokenizer, || {
            let config = &self.inner.config;
            let context = config.context as usize;
            let tokenizer = match (&self.inner.options.tokenizer, tokenizer_beside(self.inner.weights.path())?) {
                (Some(bytes), _) => Tokenizer::from_json(bytes, context)?,
                (None, Some(bytes)) => Tokenizer::from_json(&bytes, context)?,
                (None, None) => own_vocabulary(context, config.vocabulary)?,
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
        self.vision()?.plan(b, pixels, path, rule, self.precision().activations())
    }

    /// Appends the text tower to a plan: token ids with markers -> features `[S, D]`, not normalised.
    ///
    /// # Errors
    /// An id beyond the vocabulary, a text beyond the context, too many tokens for the device.
    pub fn plan_text(&self, b: &mut PlanBuilder, ids: &[Vec<u32>]) -> Result<Value> {
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
        self.text()?.plan(b, &self.inner.weights, &Packed::new(ids), self.precision().activations())
    }

    // ------------------------------------------------------------ simple tier: submits and waits

    /// Token ids of texts, markers included.
    ///
    /// # Errors
    /// A text longer than the context, unless the model was loaded with `truncate`.
    pub fn tokenize(&self, texts: &[String]) -> Result<Vec<Vec<u32>>> {
        let tokenizer = self.tokenizer()?;
        let encode = |text: &String| if self.inner.options.truncate { tokenizer.encode_truncated(text) } else { tokenizer.encode(text) };
        texts.iter().map(encode).collect()
    }

    /// Text features `[S, D]`, not normalised, row by row.
    ///
    /// # Errors
    /// As [`Clip::tokenize`]; the device fails; NaN.
    pub async fn encode_text(&self, texts: &[String]) -> Result<Vec<f32>> {
        let ids = self.tokenize(texts)?;
        let mut all = Vec::with_capacity(texts.len() * self.config().embed as usize);
        for chunk in chunks_by_tokens(&ids, 1) {
            all.extend(self.run_text(chunk, |_, features| Ok(features)).await?);
        }
        Ok(all)
    }

    /// Label embeddings `[L, D]`: each template filled, encoded, normalised, averaged, normalised.
    /// The empty string is embedded with them, for methods that subtract it.
    ///
    /// # Errors
    /// No label; as [`Clip::encode_text`].
    pub async fn labels(&self, names: &[String], templates: &Templates) -> Result<Labels> {
        self.labels_cached(names, templates, None, |_, _| {}).await
    }

    /// As [`Clip::labels`], with a cache on disk and a callback (labels done, labels in all).
    ///
    /// # Errors
    /// As [`Clip::labels`]. A cache that cannot be read or written is never an error: the label is encoded.
    pub async fn labels_cached(
        &self,
        names: &[String],
        templates: &Templates,
        cache: Option<&LabelCache>,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Labels> {
        if names.is_empty() {
            return Err(Error::Input { what: "no labels: name at least one thing to look for".into() });
        }
        let width = self.config().embed as usize;
        let mut unique: Vec<&str> = Vec::new();
        for name in names.iter().map(String::as_str).chain([""]) {
            if !unique.contains(&name) {
                unique.push(name);
            }
        }
        let key = cache.map(|c| c.key(self, templates));
        let load = |name: &str| cache.zip(key.as_ref()).and_then(|(c, key)| c.load(key, name, width));
        let mut found: Vec<Option<Vec<f32>>> = unique.iter().map(|name| load(name)).collect();
        let missing: Vec<usize> = (0..unique.len()).filter(|&i| found[i].is_none()).collect();
        let mut done = unique.len() - missing.len();
        if !missing.is_empty() {
            let prompts: Vec<String> = missing.iter().flat_map(|&i| templates.fill(unique[i])).collect();
            let ids = self.tokenize(&prompts)?;
            let per_label = templates.list().len();
            let mut at = 0;
            for chunk in chunks_by_tokens(&ids, per_label) {
                let rows = self.run_text(chunk, |b, features| {
                    let unit = ops::l2_normalize(b, "l2_normalize", features)?;
                    ops::ensemble(b, "ensemble", unit, per_label as u32)
                });
                for row in rows.await?.chunks_exact(width) {
                    let i = missing[at];
                    if let Some((cache, key)) = cache.zip(key.as_ref()) {
                        cache.store(key, unique[i], row);
                    }
                    found[i] = Some(row.to_vec());
                    at += 1;
                    done += 1;
                }
                progress(done, unique.len());
            }
        }
        let row = |name: &str| unique.iter().position(|u| *u == name).and_then(|i| found[i].clone()).unwrap_or_default();
        let embeddings: Vec<f32> = names.iter().flat_map(|name| row(name)).collect();
        Labels::new(names.to_vec(), embeddings, row(""), width)
    }

    async fn run_text(&self, ids: &[Vec<u32>], finish: impl FnOnce(&mut PlanBuilder, Value) -> Result<Value>) -> Result<Vec<f32>> {
        let mut b = PlanBuilder::new(&self.inner.gpu);
        let features = self.plan_text(&mut b, ids)?;
        let out = finish(&mut b, features)?;
        b.keep(out);
        let mut plan = b.finish(|r| r.tensor(out))?;
        let values = self.inner.gpu.run(&mut plan, crate::gpu::Source::None).await?;
        check_finite("the text features", &values)?;
        Ok(values)
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

/// Runs of whole groups of `group` texts with at most [`TOKENS_PER_PLAN`] tokens, at least one group each.
fn chunks_by_tokens(ids: &[Vec<u32>], group: usize) -> Vec<&[Vec<u32>]> {
    let mut chunks = Vec::new();
    let (mut start, mut tokens) = (0, 0);
    for (i, texts) in ids.chunks(group).enumerate() {
        let these: usize = texts.iter().map(Vec::len).sum();
        if tokens > 0 && tokens + these > TOKENS_PER_PLAN {
            chunks.push(&ids[start..i * group]);
            (start, tokens) = (i * group, 0);
        }
        tokens += these;
    }
    chunks.push(&ids[start..]);
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_keep_groups_whole() {
        let ids = vec![vec![0; 1000]; 9];
        let sizes: Vec<_> = chunks_by_tokens(&ids, 3).iter().map(|c| c.len()).collect();
        assert_eq!(sizes, [3, 3, 3]);
        assert_eq!(chunks_by_tokens(&ids, 1).iter().map(|c| c.len()).collect::<Vec<_>>(), [4, 4, 1]);
    }
}
