//! Texts and labels to embeddings: submits and waits for you.

use crate::clip::labels::{LabelCache, Labels};
use crate::clip::model::{Clip, check_finite};
use crate::clip::packed::{Packed, batches};
use crate::clip::templates::{Average, Templates};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Plan, PlanBuilder, Source, Tensor, Value};
use crate::ops;
use std::sync::Arc;

/// Rows per text plan: keeps its activations well inside one default binding. What templates have in common is computed
/// once per plan, some hundreds of rows.
const ROWS_PER_PLAN: usize = 4096;

/// Features of one text's tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenFeatures {
    /// Token ids, from the start marker to the end marker.
    pub ids: Vec<u32>,
    /// One unit row per id, `[T, D]`.
    pub features: Vec<f32>,
}

impl Clip {
    /// Token ids of texts, markers included.
    ///
    /// # Errors
    /// A text longer than the context, unless the model was loaded with `truncate`.
    pub fn tokenize(&self, texts: &[String]) -> Result<Vec<Vec<u32>>> {
        let tokenizer = self.tokenizer()?;
        let encode = |text: &String| if self.truncates() { tokenizer.encode_truncated(text) } else { tokenizer.encode(text) };
        texts.iter().map(encode).collect()
    }

    /// Text features `[S, D]`, not normalised, row by row.
    ///
    /// # Errors
    /// As [`Clip::tokenize`]; the device fails; NaN.
    pub async fn encode_text(&self, texts: &[String]) -> Result<Vec<f32>> {
        let ids = self.tokenize(texts)?;
        self.check_ids(&ids)?;
        let mut all = Vec::with_capacity(texts.len() * self.config().embed as usize);
        for batch in self.text_batches(&ids, 1) {
            let plan = finish(self.gpu(), |b| self.plan_text(b, batch))?;
            all.extend(self.run_text(plan).await?);
        }
        Ok(all)
    }

    /// A text's features token by token, before the one at the end marker is taken for the whole: the final norm and the
    /// projection at every position, each row normalised. Under the causal mask a token's row holds what was said so far.
    ///
    /// # Errors
    /// As [`Clip::encode_text`].
    pub async fn encode_tokens(&self, text: &str) -> Result<TokenFeatures> {
        let mut ids = self.tokenize(&[text.to_owned()])?;
        self.check_ids(&ids)?;
        let packed = Packed::every_token(&ids[0]);
        let plan = finish(self.gpu(), |b| {
            let features = self.plan_packed(b, &packed)?;
            ops::l2_normalize(b, "l2_normalize", features)
        })?;
        let features = self.run_text(plan).await?;
        let mut ids = ids.remove(0);
        ids.truncate(packed.tokens.len());
        Ok(TokenFeatures { ids, features })
    }

    /// Cuts a list of token ids into runs that one plan holds, whole groups of `group` texts each (a label's templates):
    /// by the rows that are left when shared beginnings count once.
    pub fn text_batches<'a>(&self, ids: &'a [Vec<u32>], group: usize) -> Vec<&'a [Vec<u32>]> {
        batches(ids, group, ROWS_PER_PLAN)
    }

    /// Rows that [`Clip::plan_text`] computes for these token ids: what several begin with counts once.
    pub fn text_rows(&self, ids: &[Vec<u32>]) -> usize {
        Packed::shared(ids).tokens.len()
    }

    /// A plan from token ids to label embeddings: `group` texts each, normalised, averaged, normalised -> `[S / group, D]`.
    ///
    /// # Errors
    /// As [`Clip::plan_text`]; a number of texts that is no multiple of `group`.
    pub fn plan_ensemble(&self, ids: &[Vec<u32>], group: u32) -> Result<Plan<Tensor>> {
        self.plan_average(ids, group, Average::Unit)
    }

    /// As [`Clip::plan_ensemble`], averaged as told.
    ///
    /// # Errors
    /// As [`Clip::plan_ensemble`].
    pub fn plan_average(&self, ids: &[Vec<u32>], group: u32, average: Average) -> Result<Plan<Tensor>> {
        finish(self.gpu(), |b| {
            let features = self.plan_text(b, ids)?;
            let rows = match average {
                Average::Unit => ops::l2_normalize(b, "l2_normalize", features)?,
                Average::Raw => features,
            };
            ops::ensemble(b, "ensemble", rows, group)
        })
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
        let mut unique: Vec<&str> = Vec::new();
        for name in names.iter().map(String::as_str).chain([""]) {
            if !unique.contains(&name) {
                unique.push(name);
            }
        }
        let rows = self.label_rows(&unique, templates, cache, &mut progress).await?;
        let row = |name: &str| unique.iter().position(|u| *u == name).map(|i| rows[i].clone()).unwrap_or_default();
        let embeddings: Vec<f32> = names.iter().flat_map(|name| row(name)).collect();
        Labels::new(names.to_vec(), embeddings, row(""), self.config().embed as usize)
    }

    /// The embedding of each of `names`, `[D]`, from the cache as far as it is there.
    pub(crate) async fn label_rows(
        &self,
        names: &[&str],
        templates: &Templates,
        cache: Option<&LabelCache>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<Vec<f32>>> {
        let width = self.config().embed as usize;
        let key = cache.map(|c| c.key(self, templates)).transpose()?;
        let load = |name: &str| cache.zip(key.as_ref()).and_then(|(c, key)| c.load(key, name, width));
        let mut found: Vec<Option<Vec<f32>>> = names.iter().map(|name| load(name)).collect();
        let missing: Vec<usize> = (0..names.len()).filter(|&i| found[i].is_none()).collect();
        let mut done = names.len() - missing.len();
        if !missing.is_empty() {
            let prompts: Vec<String> = missing.iter().flat_map(|&i| templates.fill(names[i])).collect();
            let ids = self.tokenize(&prompts)?;
            let per_label = templates.list().len();
            let mut at = 0;
            for batch in self.text_batches(&ids, per_label) {
                let rows = self.run_text(self.plan_average(batch, per_label as u32, templates.average())?).await?;
                for row in rows.chunks_exact(width) {
                    let i = missing[at];
                    if let Some((cache, key)) = cache.zip(key.as_ref()) {
                        cache.store(key, names[i], row);
                    }
                    found[i] = Some(row.to_vec());
                    at += 1;
                    done += 1;
                }
                progress(done, names.len());
            }
        }
        Ok(found.into_iter().map(Option::unwrap_or_default).collect())
    }

    async fn run_text(&self, mut plan: Plan<Tensor>) -> Result<Vec<f32>> {
        let values = self.gpu().run(&mut plan, Source::None).await?;
        check_finite("the text features", &values)?;
        Ok(values)
    }
}

/// A plan of one output.
fn finish(gpu: &Arc<Gpu>, build: impl FnOnce(&mut PlanBuilder) -> Result<Value>) -> Result<Plan<Tensor>> {
    let mut b = PlanBuilder::new(gpu);
    let out = build(&mut b)?;
    b.keep(out);
    b.finish(|r| r.tensor(out))
}
