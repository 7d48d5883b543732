//! What to fetch: a name of the table, or any repository of the hub, at a revision.

use crate::error::{Error, Result};
use crate::hub::registry::Model;

/// Which model of a hub.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// `organisation/name`.
    pub repository: String,
    /// Branch, tag or commit.
    pub revision: String,
    /// The table's row, if it was asked for by name.
    pub model: Option<&'static Model>,
}

/// Weights and the configs that describe them, in the order of preference.
pub(crate) const CANDIDATES: [(&str, &[&str]); 2] =
    [("open_clip_model.safetensors", &["open_clip_config.json"]), ("model.safetensors", &["config.json", "open_clip_config.json"])];

/// Files that a repository may lack: CLIP's own vocabulary is built in; the pixel mean is in OpenCLIP's config already.
pub(crate) const OPTIONAL: [&str; 2] = ["tokenizer.json", "preprocessor_config.json"];

impl Source {
    /// `NAME`, `NAME@REVISION`, `hf:ORGANISATION/NAME` or `hf:ORGANISATION/NAME@REVISION`.
    ///
    /// # Errors
    /// A name that no model has, or what cannot be a repository or a revision.
    pub fn parse(text: &str) -> Result<Source> {
        let wrong = |what: &str| Error::Hub { what: format!("model {text}: {what}; expected NAME, NAME@REVISION or hf:ORGANISATION/NAME") };
        if let Some(rest) = text.strip_prefix("hf:") {
            let (repository, revision) = rest.split_once('@').unwrap_or((rest, "main"));
            if repository.split('/').count() != 2 || !repository.split('/').all(is_name) {
                return Err(wrong("no repository"));
            }
            if !is_revision(revision) {
                return Err(wrong("no revision behind \"@\""));
            }
            return Ok(Source { repository: repository.into(), revision: revision.into(), model: None });
        }
        // OpenAI's own "ViT-L/14@336px" is a name, so the whole comes first.
        let whole = Model::find(text).filter(|_| !text.ends_with('@')).map(|m| (m, m.revision));
        let (model, revision) = match (whole, text.rsplit_once('@')) {
            (Some(found), _) => found,
            (None, Some((name, revision))) => (Model::named(name)?, revision),
            (None, None) => return Err(Model::unknown(text)),
        };
        if !is_revision(revision) {
            return Err(wrong("no revision behind \"@\""));
        }
        Ok(Source { repository: model.repository.into(), revision: revision.into(), model: Some(model) })
    }

    /// Weights and configs to look for. Every row of the table is in OpenCLIP's layout.
    pub(crate) fn candidates(&self) -> &'static [(&'static str, &'static [&'static str])] {
        if self.model.is_some() { &CANDIDATES[..1] } else { &CANDIDATES }
    }

    /// What may lie beside these weights.
    pub(crate) fn optional(&self, weights: &str) -> &'static [&'static str] {
        if weights == CANDIDATES[0].0 { &OPTIONAL[..1] } else { &OPTIONAL }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.repository, self.revision)
    }
}

/// Part of a path and of a URL, so no separators and no dots alone.
fn is_name(part: &str) -> bool {
    !part.is_empty() && !part.starts_with('.') && part.len() <= 96 && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// A branch may have slashes (`refs/pr/1`).
fn is_revision(revision: &str) -> bool {
    revision.split('/').all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_repositories_and_revisions() {
        let s = Source::parse("ViT-B/16@v1.0").unwrap();
        assert_eq!((s.repository.as_str(), s.revision.as_str()), ("timm/vit_base_patch16_clip_224.openai", "v1.0"));
        assert_eq!(Source::parse("ViT-L/14@336px").unwrap().model.unwrap().name, "ViT-L-14-336");
        let s = Source::parse("hf:openai/clip-vit-base-patch16@refs/pr/1").unwrap();
        assert_eq!((s.revision.as_str(), s.model), ("refs/pr/1", None));
        for bad in ["hf:", "hf:one", "hf:a/b/c", "hf:../etc", "hf:a/..", "hf:a/b@", "hf:a/b@../../x", "ViT-B-16@", "hf:a/b?c"] {
            assert!(Source::parse(bad).is_err(), "{bad}");
        }
    }
}
