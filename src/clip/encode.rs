//! Texts and labels to embeddings: submits and waits for you.

use crate::clip::labels::{LabelCache, Labels};
use crate::clip::model::{Clip, check_finite};
use crate::clip::templates::Templates;
use crate::error::{Error, Result};
use crate::gpu::{PlanBuilder, Source, Value};
use crate::ops;

/// Packed tokens per text plan: keeps its activations well inside one default binding.
const TOKENS_PER_PLAN: usize = 4096;

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
        let key = cache.map(|c| c.key(self, templates)).transpose()?;
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
        let mut b = PlanBuilder::new(self.gpu());
        let features = self.plan_text(&mut b, ids)?;
        let out = finish(&mut b, features)?;
        b.keep(out);
        let mut plan = b.finish(|r| r.tensor(out))?;
        let values = self.gpu().run(&mut plan, Source::None).await?;
        check_finite("the text features", &values)?;
        Ok(values)
    }
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
