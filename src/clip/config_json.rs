//! What config files say: OpenCLIP's JSON and transformers' `config.json`.

use crate::clip::config::Known;
use crate::error::{Error, Result};
use crate::reference::Activation;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};

/// Facts about the layers of a ResNet, by the names under which they are compared.
pub(crate) const RESNET_LAYERS: [&str; 4] = ["blocks of layer1", "blocks of layer2", "blocks of layer3", "blocks of layer4"];

/// What a config file says.
pub(crate) struct Said {
    /// A ResNet instead of a ViT.
    pub resnet: bool,
    pub activation: Activation,
    /// The file has a word on the activation; else it is what its silence means.
    pub activation_stated: bool,
    pub vision_heads: u32,
    pub text_heads: u32,
    pub eps: f32,
    pub mean_std: Option<([f32; 3], [f32; 3])>,
    /// Facts that the shapes must agree with.
    pub expect: Vec<(&'static str, u32)>,
}

impl Said {
    pub fn of(json: &Json, place: &str) -> Result<Said> {
        let missing = |key: &str| Error::Config { path: place.to_owned(), what: format!("\"{key}\" is missing or not what it should be") };
        if json.get("vision_config").is_some() {
            return Said::transformers(json, &missing);
        }
        let model = json.get("model_cfg").unwrap_or(json);
        let (vision, text) =
            (model.get("vision_cfg").ok_or_else(|| missing("vision_cfg"))?, model.get("text_cfg").ok_or_else(|| missing("text_cfg"))?);
        let width = number(vision, "width").ok_or_else(|| missing("vision_cfg.width"))?;
        let head = number(vision, "head_width").unwrap_or(64);
        if head == 0 {
            return Err(missing("vision_cfg.head_width"));
        }
        // OpenCLIP's ResNets have a list there, and count heads over the last map's channels.
        let layers = vision.get("layers").and_then(Json::as_array);
        let vision_heads = if layers.is_some() { width.saturating_mul(32) / head } else { width / head };
        let per_layer: Vec<_> = layers.into_iter().flatten().map(|n| n.as_u64().and_then(|n| u32::try_from(n).ok())).collect();
        if layers.is_some() && (per_layer.len() != RESNET_LAYERS.len() || per_layer.contains(&None)) {
            return Err(missing("vision_cfg.layers (one number for a ViT, four for a ResNet)"));
        }
        let preprocess = json.get("preprocess_cfg").unwrap_or(json);
        Ok(Said {
            // OpenCLIP: exact GELU unless the config says otherwise.
            activation: if model.get("quick_gelu").and_then(Json::as_bool) == Some(true) {
                Activation::QuickGelu
            } else {
                Activation::Gelu
            },
            activation_stated: model.get("quick_gelu").is_some(),
            resnet: layers.is_some(),
            vision_heads,
            text_heads: number(text, "heads").ok_or_else(|| missing("text_cfg.heads"))?,
            eps: 1e-5,
            mean_std: triple(preprocess, "mean").zip(triple(preprocess, "std")),
            expect: [
                ("embed_dim", number(model, "embed_dim")),
                ("vision width", Some(width)),
                ("vision layers", number(vision, "layers")),
                ("patch_size", number(vision, "patch_size")),
                ("image_size", number(vision, "image_size")),
                ("text width", number(text, "width")),
                ("text layers", number(text, "layers")),
                ("vocab_size", number(text, "vocab_size")),
                ("context_length", number(text, "context_length")),
            ]
            .into_iter()
            .chain(RESNET_LAYERS.into_iter().zip(per_layer))
            .filter_map(|(name, value)| Some((name, value?)))
            .collect(),
        })
    }

    /// Fills in what the file leaves out; a contradiction is an error, since one of the two would give wrong features.
    pub fn complete(&mut self, known: &Known, place: &str) -> Result<()> {
        let differs = |what: &str, said: String, known: String| {
            let what = format!("{what} is {said} here, {known} in the table of models; pass --config FILE with what is right");
            Err(Error::Config { path: place.to_owned(), what })
        };
        if !self.activation_stated {
            self.activation = known.activation;
        } else if self.activation != known.activation {
            return differs("the activation", format!("{:?}", self.activation), format!("{:?}", known.activation));
        }
        let pair = (known.mean, known.std);
        let said = self.mean_std.get_or_insert(pair);
        let near = |a: [f32; 3], b: [f32; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
        if near(said.0, pair.0) && near(said.1, pair.1) {
            return Ok(());
        }
        differs("mean and deviation of pixels", format!("{said:?}"), format!("{pair:?}"))
    }

    fn transformers(json: &Json, missing: &dyn Fn(&str) -> Error) -> Result<Said> {
        // Old checkpoints leave whole sections empty: the library's defaults are ViT-B/32's.
        let (vision, text) = (&json["vision_config"], &json["text_config"]);
        let activation = |section: &Json| match section.get("hidden_act").and_then(Json::as_str).unwrap_or("quick_gelu") {
            "quick_gelu" => Ok(Activation::QuickGelu),
            "gelu" => Ok(Activation::Gelu),
            _ => Err(missing("hidden_act (quick_gelu or gelu)")),
        };
        if activation(vision)? != activation(text)? {
            return Err(missing("hidden_act: both towers must have the same"));
        }
        Ok(Said {
            resnet: false,
            activation: activation(vision)?,
            activation_stated: vision.get("hidden_act").is_some(),
            vision_heads: number(vision, "num_attention_heads").unwrap_or(12),
            text_heads: number(text, "num_attention_heads").unwrap_or(8),
            eps: vision.get("layer_norm_eps").and_then(Json::as_f64).unwrap_or(1e-5) as f32,
            mean_std: None,
            expect: [
                ("embed_dim", number(json, "projection_dim")),
                ("vision width", number(vision, "hidden_size")),
                ("vision layers", number(vision, "num_hidden_layers")),
                ("patch_size", number(vision, "patch_size")),
                ("image_size", number(vision, "image_size")),
                ("text width", number(text, "hidden_size")),
                ("text layers", number(text, "num_hidden_layers")),
                ("vocab_size", number(text, "vocab_size")),
                ("context_length", number(text, "max_position_embeddings")),
            ]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect(),
        })
    }
}

fn number(json: &Json, key: &str) -> Option<u32> {
    json.get(key).and_then(Json::as_u64).and_then(|n| u32::try_from(n).ok())
}

pub(crate) fn triple(json: &Json, key: &str) -> Option<[f32; 3]> {
    let list: Vec<f32> = json.get(key)?.as_array()?.iter().filter_map(|v| v.as_f64().map(|f| f as f32)).collect();
    list.try_into().ok()
}

pub(crate) fn parse(text: &str, place: &str) -> Result<Json> {
    serde_json::from_str(text).map_err(|e| Error::Config { path: place.to_owned(), what: format!("not JSON: {e}") })
}

pub(crate) fn parse_file(path: &Path) -> Result<Json> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    parse(&text, &path.display().to_string())
}

/// The config that lies beside a weights file.
pub(crate) fn beside(weights: &Path) -> Option<PathBuf> {
    // A file's own config comes before the folder's: a folder may hold several models.
    [weights.with_extension("json"), weights.with_file_name("open_clip_config.json"), weights.with_file_name("config.json")]
        .into_iter()
        .find(|p| p.is_file())
}

/// Mean and deviation of a transformers model.
pub(crate) fn preprocessor_beside(weights: &Path) -> Option<([f32; 3], [f32; 3])> {
    let json = parse_file(&weights.with_file_name("preprocessor_config.json")).ok()?;
    triple(&json, "image_mean").zip(triple(&json, "image_std"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clip::config::{OPENAI_MEAN, OPENAI_STD};

    fn said(model: &str) -> Result<Said> {
        Said::of(&parse(model, "test").unwrap(), "test")
    }

    #[test]
    fn open_clip_heads_and_activation() {
        let vit = said(
            r#"{"model_cfg": {"embed_dim": 64, "vision_cfg": {"layers": 7, "width": 96, "head_width": 48, "patch_size": 14},
            "text_cfg": {"heads": 1, "width": 64}}}"#,
        )
        .unwrap();
        assert_eq!((vit.resnet, vit.vision_heads, vit.text_heads, vit.activation), (false, 2, 1, Activation::Gelu));
        assert!(vit.expect.contains(&("vision layers", 7)) && vit.expect.contains(&("patch_size", 14)));
    }

    #[test]
    fn a_resnet_has_a_list_of_layers() {
        let text = |layers: &str| {
            format!(
                r#"{{"embed_dim": 640, "quick_gelu": true, "text_cfg": {{"heads": 10}},
                "vision_cfg": {{"image_size": 288, "layers": {layers}, "width": 80, "patch_size": null}}}}"#
            )
        };
        let rn = said(&text("[4, 6, 10, 6]")).unwrap();
        assert_eq!((rn.resnet, rn.vision_heads, rn.activation), (true, 40, Activation::QuickGelu));
        assert!(rn.expect.contains(&("blocks of layer3", 10)) && rn.expect.contains(&("vision width", 80)));
        assert!(!rn.expect.iter().any(|e| e.0 == "patch_size" || e.0 == "vision layers"));
        for layers in ["[4, 6, 10]", "[4, 6, 10, -1]", r#"["4", 6, 10, 6]"#] {
            assert!(said(&text(layers)).is_err(), "{layers}");
        }
    }

    fn with(extra: &str) -> Said {
        let text = format!(r#"{{"model_cfg": {{{extra} "vision_cfg": {{"width": 64}}, "text_cfg": {{"heads": 1}}}}}}"#);
        Said::of(&parse(&text, "test").unwrap(), "test").unwrap()
    }

    #[test]
    fn what_is_known_fills_silence_and_refuses_contradiction() {
        let known = Known { activation: Activation::QuickGelu, mean: OPENAI_MEAN, std: OPENAI_STD };
        let mut silent = with("");
        assert_eq!(silent.activation, Activation::Gelu, "OpenCLIP's meaning of silence");
        silent.complete(&known, "test").unwrap();
        assert_eq!((silent.activation, silent.mean_std), (Activation::QuickGelu, Some((OPENAI_MEAN, OPENAI_STD))));
        with(r#""quick_gelu": true,"#).complete(&known, "test").unwrap();
        let error = with(r#""quick_gelu": false,"#).complete(&known, "test").unwrap_err().to_string();
        assert!(error.contains("activation is Gelu"), "{error}");
        let mut half = with(r#""quick_gelu": true,"#);
        half.mean_std = Some(([0.5; 3], [0.5; 3]));
        assert!(half.complete(&known, "test").unwrap_err().to_string().contains("mean and deviation"));
    }
}
