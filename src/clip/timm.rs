//! Vision transformers in timm's layout, without a text tower: what locality alignment (arXiv 2410.11087) gives out.
//!
//! Such a file holds `cls_token, pos_embed, patch_embed.proj.weight, norm_pre.*, blocks.i.*, norm.*`, perhaps below `encoder.`,
//! perhaps with layer scales, and says nothing of heads, activation or attention: a JSON file beside it does.
//!
//! ```json
//! { "heads": 12, "activation": "quick_gelu", "attention_softcap": 30, "eps": 1e-5 }
//! ```
//!
//! `"attention_softcap": null` is ordinary attention. `eps` is 1e-5, `mean` and `std` OpenAI's unless given. Features are the
//! rows behind the last norm, width C: they are in no text's space.

use crate::clip::config::{ClipConfig, ConfigSource, OPENAI_MEAN, OPENAI_STD, TowerConfig, VisionConfig};
use crate::clip::config_json::triple;
use crate::error::{Error, Result};
use crate::reference::{Activation, Heads};
use crate::weights::{Stored, Weights};
use serde_json::Value as Json;

/// What differs between files of this layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timm {
    /// Names begin with `encoder.`; a training decoder may lie beside it.
    encoder: bool,
    /// Branches are scaled by `ls1.gamma` and `ls2.gamma`.
    layer_scale: bool,
}

impl Timm {
    /// Tells the layout from the names in a file.
    pub(crate) fn of(weights: &Weights) -> Option<Timm> {
        let has = |name: &str| weights.shape(name).is_some();
        let encoder = has("encoder.patch_embed.proj.weight");
        let timm = |layer_scale| Timm { encoder, layer_scale };
        (encoder || has("patch_embed.proj.weight")).then(|| timm(has(&timm(false).name("blocks.0.ls1.gamma"))))
    }

    fn name(self, name: &str) -> String {
        if self.encoder { format!("encoder.{name}") } else { name.to_owned() }
    }

    /// Where the tensor with this OpenAI name lies.
    pub(crate) fn locate(self, name: &str) -> Stored {
        let Some(inner) = name.strip_prefix("visual.") else { return Stored::Plain(name.to_owned()) };
        if let Some((index, item)) = inner.strip_prefix("transformer.resblocks.").and_then(|block| block.split_once('.')) {
            let block = |item: &str| self.name(&format!("blocks.{index}.{item}"));
            let renamed = [
                ("ln_1.", "norm1.", None),
                ("attn.in_proj_", "attn.qkv.", None),
                ("attn.out_proj.", "attn.proj.", Some("ls1.gamma")),
                ("ln_2.", "norm2.", None),
                ("mlp.c_fc.", "mlp.fc1.", None),
                ("mlp.c_proj.", "mlp.fc2.", Some("ls2.gamma")),
            ];
            let found = renamed.iter().find_map(|(from, to, scale)| Some((format!("{to}{}", item.strip_prefix(from)?), *scale)));
            return match found {
                Some((item, Some(scale))) if self.layer_scale => Stored::Scaled([block(&item), block(scale)]),
                Some((item, _)) => Stored::Plain(block(&item)),
                None => Stored::Plain(block(item)),
            };
        }
        let renamed = [("conv1.", "patch_embed.proj."), ("ln_pre.", "norm_pre."), ("ln_post.", "norm.")];
        match inner {
            "class_embedding" => Stored::Unbatched(self.name("cls_token")),
            "positional_embedding" => Stored::Unbatched(self.name("pos_embed")),
            _ => match renamed.iter().find_map(|(from, to)| Some(format!("{to}{}", inner.strip_prefix(from)?))) {
                Some(name) => Stored::Plain(self.name(&name)),
                None => Stored::Plain(name.to_owned()),
            },
        }
    }

    /// What training left in the file and features do without.
    pub(crate) fn ignores(self, name: &str) -> bool {
        name.starts_with(&self.name("head.")) || (self.encoder && name.starts_with("decoder."))
    }

    /// Reads and checks the config of a file in this layout.
    pub(crate) fn config(self, weights: &Weights, source: &ConfigSource) -> Result<ClipConfig> {
        let (json, place) = source.json(weights)?;
        let file = weights.path().display();
        let Some(json) = json else {
            let what = "a ViT in timm's layout does not say how it is computed; put a JSON file of the same name beside it, or pass --config FILE, \
                with {\"heads\": 12, \"activation\": \"quick_gelu\", \"attention_softcap\": 30} or what is right (null: no soft cap)";
            return Err(Error::Config { path: file.to_string(), what: what.into() });
        };
        let bad = |what: String| Error::Config { path: place.clone(), what };
        let shape = |name: &str, rank: usize| -> Result<&[u32]> {
            let name = self.name(name);
            let hint =
                || format!("{file}: only ViTs with a class token and a norm before the blocks, as CLIP's, are known in timm's layout");
            let got = weights.shape(&name).ok_or_else(|| Error::MissingTensor { name: name.clone(), hint: hint() })?;
            if got.len() != rank || got.contains(&0) {
                let (expected, got) = (format!("{rank} dimensions"), format!("{got:?}"));
                return Err(Error::TensorShape { name, expected, got, hint: hint() });
            }
            Ok(got)
        };
        shape("cls_token", 3)?;
        shape("norm_pre.weight", 1)?;
        let (first, table) = (shape("patch_embed.proj.weight", 4)?, shape("pos_embed", 3)?);
        let mlp = shape("blocks.0.mlp.fc1.weight", 2)?[0];
        let layers = (0..).take_while(|i| weights.shape(&self.name(&format!("blocks.{i}.norm1.weight"))).is_some()).count() as u32;
        let (width, patch, rows) = (first[0], first[2], table[1]);
        let grid = f64::from(rows.saturating_sub(1)).sqrt().round() as u32;
        if grid == 0 || u64::from(grid) * u64::from(grid) + 1 != u64::from(rows) || first[1] != 3 || first[2] != first[3] {
            return Err(bad(format!("{rows} positions and a patch convolution {first:?}: expected 1 + n x n positions and [C, 3, p, p]")));
        }
        if patch % 2 != 0 || mlp % 4 != 0 {
            return Err(bad(format!("patch {patch} must be even, MLP width {mlp} a multiple of 4")));
        }

        let key = |name: &str| json.get(name).ok_or_else(|| bad(format!("\"{name}\" is missing: the tensors cannot tell it")));
        let heads = key("heads")?.as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        if heads == 0 || !width.is_multiple_of(heads) || !(width / heads).is_multiple_of(4) || width / heads > 128 {
            return Err(bad(format!("width {width} with {} heads: the head size must be a multiple of 4, at most 128", json["heads"])));
        }
        let activation = match key("activation")?.as_str() {
            Some("quick_gelu") => Activation::QuickGelu,
            Some("gelu") => Activation::Gelu,
            _ => return Err(bad(format!("\"activation\" is {}; expected \"quick_gelu\" or \"gelu\"", json["activation"]))),
        };
        let softcap = match key("attention_softcap")? {
            Json::Null => None,
            said => match said.as_f64().map(|cap| cap as f32) {
                Some(cap) if cap.is_finite() && cap > 0.0 => Some(cap),
                _ => return Err(bad(format!("\"attention_softcap\" is {said}; expected a positive number, or null for none"))),
            },
        };
        let eps = match json.get("eps").map(|eps| (eps, eps.as_f64())) {
            None => 1e-5,
            Some((_, Some(eps))) if eps > 0.0 && eps < 1.0 => eps as f32,
            Some((said, _)) => return Err(bad(format!("\"eps\" is {said}; expected a small positive number"))),
        };
        let mut assumed = Vec::new();
        let (mean, std) = match (json.get("mean").is_some(), triple(&json, "mean").zip(triple(&json, "std"))) {
            (_, Some(pair)) => pair,
            (true, None) => return Err(bad("\"mean\" and \"std\" must both be lists of three numbers".into())),
            (false, None) => {
                assumed.push(format!("{place}: no \"mean\" and \"std\" of pixels: OpenAI's assumed"));
                (OPENAI_MEAN, OPENAI_STD)
            }
        };
        let heads = Heads { heads: heads as usize, size: (width / heads) as usize };
        Ok(ClipConfig {
            vision: VisionConfig::Transformer(TowerConfig { width, layers, heads, mlp }),
            text: TowerConfig { width: 0, layers: 0, heads: Heads { heads: 0, size: 0 }, mlp: 0 },
            patch,
            native_grid: grid,
            embed: width,
            context: 0,
            vocabulary: 0,
            activation,
            softcap,
            eps,
            mean,
            std,
            assumed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_translated_and_scales_go_with_what_they_scale() {
        let plain = Timm { encoder: false, layer_scale: false };
        let scaled = Timm { encoder: true, layer_scale: true };
        let name = |item: &str| format!("visual.transformer.resblocks.3.{item}");
        assert_eq!(plain.locate(&name("attn.in_proj_weight")), Stored::Plain("blocks.3.attn.qkv.weight".into()));
        assert_eq!(plain.locate(&name("mlp.c_proj.bias")), Stored::Plain("blocks.3.mlp.fc2.bias".into()));
        let pair = ["encoder.blocks.3.attn.proj.weight", "encoder.blocks.3.ls1.gamma"].map(String::from);
        assert_eq!(scaled.locate(&name("attn.out_proj.weight")), Stored::Scaled(pair));
        assert_eq!(scaled.locate(&name("ln_2.bias")), Stored::Plain("encoder.blocks.3.norm2.bias".into()));
        assert_eq!(plain.locate("visual.class_embedding"), Stored::Unbatched("cls_token".into()));
        assert_eq!(plain.locate("visual.ln_post.weight"), Stored::Plain("norm.weight".into()));
        assert!(scaled.ignores("decoder.blocks.0.norm1.weight") && scaled.ignores("encoder.head.weight"));
        assert!(!plain.ignores("decoder.blocks.0.norm1.weight") && !scaled.ignores("encoder.heads"));
    }
}
