//! Where each tensor of a CLIP lies in the common layouts.
//!
//! Names follow the OpenAI / OpenCLIP layout throughout lancet; the transformers layout is translated here, timm's in [`Timm`].

use crate::clip::timm::Timm;
use crate::error::{Error, Result};
use crate::weights::{Stored, Weights};

/// Layout of a weights file, told by its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// OpenAI and OpenCLIP: `visual.conv1.weight`.
    OpenClip,
    /// OpenCLIP with a custom text tower: the text side below `text.`.
    OpenClipText,
    /// Hugging Face transformers: `vision_model.embeddings.patch_embedding.weight`.
    Transformers,
    /// A vision tower alone, as timm has it: `patch_embed.proj.weight`.
    Timm(Timm),
}

/// Tensors that files carry and nobody needs.
const IGNORED: &[&str] = &["input_resolution", "context_length", "vocab_size", "attn_mask", "text.attn_mask", "position_ids", "logit_bias"];

impl Layout {
    /// Tells the layout from the names in a file.
    ///
    /// # Errors
    /// Not a CLIP.
    pub fn of(weights: &Weights) -> Result<Layout> {
        let has = |name: &str| weights.shape(name).is_some();
        if has("vision_model.embeddings.patch_embedding.weight") {
            return Ok(Layout::Transformers);
        }
        if has("visual.conv1.weight") && (has("visual.proj") || has("visual.attnpool.positional_embedding")) {
            return Ok(if has("text.token_embedding.weight") { Layout::OpenClipText } else { Layout::OpenClip });
        }
        if let Some(timm) = Timm::of(weights) {
            return Ok(Layout::Timm(timm));
        }
        if weights.names().any(|n| n.starts_with("vision_model.")) {
            return Err(config_error(
                weights,
                "no patch embedding found below \"vision_model.\": the transformers layout has no ResNet CLIPs; take the OpenAI or OpenCLIP file of the model",
            ));
        }
        let first = weights.names().next().unwrap_or("(no tensor)");
        Err(config_error(
            weights,
            &format!(
                "no CLIP found: neither \"visual.conv1.weight\" nor \"vision_model.embeddings.patch_embedding.weight\" nor \"patch_embed.proj.weight\" is there, first name is \"{first}\""
            ),
        ))
    }

    /// For error messages and `lancet info`.
    pub fn name(self) -> &'static str {
        match self {
            Layout::OpenClip | Layout::OpenClipText => "OpenAI / OpenCLIP",
            Layout::Transformers => "transformers",
            Layout::Timm(_) => "timm",
        }
    }

    /// Where the tensor with this OpenAI name lies. The two projections are wanted as `[D, C]`.
    pub fn locate(self, name: &str) -> Stored {
        match self {
            Layout::OpenClip => open_clip(name, ""),
            Layout::OpenClipText => open_clip(name, "text."),
            Layout::Transformers => transformers(name),
            Layout::Timm(timm) => timm.locate(name),
        }
    }

    /// Refuses tensors that the model does not have. `known` are the OpenAI names in use.
    ///
    /// # Errors
    /// [`Error::UnexpectedTensor`] with the first name.
    pub fn check_unknown<'a>(self, weights: &Weights, known: impl Iterator<Item = &'a str>) -> Result<()> {
        let mut expected: std::collections::HashSet<String> = std::collections::HashSet::new();
        for name in known {
            expected.extend(self.locate(name).names().iter().cloned());
        }
        let trained = |n: &str| matches!(self, Layout::Timm(timm) if timm.ignores(n));
        let ignored =
            |n: &str| IGNORED.contains(&n) || [".position_ids", ".num_batches_tracked"].iter().any(|end| n.ends_with(end)) || trained(n);
        let unknown: Vec<&str> = weights.names().filter(|n| !expected.contains(*n) && !ignored(n)).collect();
        match unknown.first() {
            None => Ok(()),
            Some(name) => Err(Error::UnexpectedTensor {
                count: unknown.len(),
                name: (*name).to_owned(),
                hint: format!("{}: does its config describe another model?", weights.path().display()),
            }),
        }
    }
}

fn config_error(weights: &Weights, what: &str) -> Error {
    Error::Config { path: weights.path().display().to_string(), what: what.to_owned() }
}

fn open_clip(name: &str, text: &str) -> Stored {
    // One product instead of three.
    if let Some(kind) = name.strip_prefix("visual.attnpool.qkv.") {
        return Stored::Rows(["q", "k", "v"].iter().map(|p| format!("visual.attnpool.{p}_proj.{kind}")).collect());
    }
    let full = if name.starts_with("visual.") || name == "logit_scale" { name.to_owned() } else { format!("{text}{name}") };
    if name == "visual.proj" || name == "text_projection" { Stored::Transposed(full) } else { Stored::Plain(full) }
}

fn transformers(name: &str) -> Stored {
    let (tower, inner) = match name.strip_prefix("visual.") {
        Some(inner) => ("vision_model", inner),
        None => ("text_model", name),
    };
    let plain = |n: String| Stored::Plain(n);
    if let Some(block) = inner.strip_prefix("transformer.resblocks.") {
        let (index, item) = block.split_once('.').unwrap_or((block, ""));
        let layer = |item: &str| format!("{tower}.encoder.layers.{index}.{item}");
        if let Some(kind) = item.strip_prefix("attn.in_proj_") {
            return Stored::Rows(["q", "k", "v"].iter().map(|p| layer(&format!("self_attn.{p}_proj.{kind}"))).collect());
        }
        let renamed = [
            ("attn.out_proj", "self_attn.out_proj"),
            ("ln_1", "layer_norm1"),
            ("ln_2", "layer_norm2"),
            ("mlp.c_fc", "mlp.fc1"),
            ("mlp.c_proj", "mlp.fc2"),
        ];
        for (from, to) in renamed {
            if let Some(rest) = item.strip_prefix(from) {
                return plain(layer(&format!("{to}{rest}")));
            }
        }
        return plain(layer(item));
    }
    let renamed = [
        ("conv1.weight", "embeddings.patch_embedding.weight"),
        ("class_embedding", "embeddings.class_embedding"),
        ("positional_embedding", "embeddings.position_embedding.weight"),
        ("token_embedding.weight", "embeddings.token_embedding.weight"),
        // The misspelling is the real name.
        ("ln_pre.weight", "pre_layrnorm.weight"),
        ("ln_pre.bias", "pre_layrnorm.bias"),
        ("ln_post.weight", "post_layernorm.weight"),
        ("ln_post.bias", "post_layernorm.bias"),
        ("ln_final.weight", "final_layer_norm.weight"),
        ("ln_final.bias", "final_layer_norm.bias"),
    ];
    match name {
        "visual.proj" => plain("visual_projection.weight".into()),
        "text_projection" => plain("text_projection.weight".into()),
        "logit_scale" => plain("logit_scale".into()),
        _ => match renamed.iter().find(|(from, _)| *from == inner) {
            Some((_, to)) => plain(format!("{tower}.{to}")),
            None => plain(name.to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_translated() {
        let t = |n| Layout::Transformers.locate(n);
        assert_eq!(t("visual.ln_pre.bias"), Stored::Plain("vision_model.pre_layrnorm.bias".into()));
        assert_eq!(t("transformer.resblocks.3.mlp.c_fc.bias"), Stored::Plain("text_model.encoder.layers.3.mlp.fc1.bias".into()));
        let Stored::Rows(qkv) = t("visual.transformer.resblocks.0.attn.in_proj_weight") else { panic!("not rows") };
        assert_eq!(qkv[2], "vision_model.encoder.layers.0.self_attn.v_proj.weight");
        let Stored::Rows(pool) = Layout::OpenClip.locate("visual.attnpool.qkv.bias") else { panic!("not rows") };
        assert_eq!(pool, ["q", "k", "v"].map(|p| format!("visual.attnpool.{p}_proj.bias")));
        assert_eq!(Layout::OpenClipText.locate("text_projection"), Stored::Transposed("text.text_projection".into()));
    }
}
