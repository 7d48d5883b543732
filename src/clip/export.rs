//! Any CLIP in OpenCLIP's layout: names of the tensors and the config, for files that every program reads.

use crate::clip::config::{ClipConfig, ConfigSource, TowerConfig, VisionConfig};
use crate::clip::names::Layout;
use crate::clip::text::TextTower;
use crate::clip::vision::VisionTower;
use crate::error::{Error, Result};
use crate::reference::Activation;
use crate::weights::{Export, Stored, Weights};
use serde_json::{Map, Value as Json, json};

/// A model as OpenCLIP would store it.
#[derive(Clone, Debug)]
pub struct OpenClip {
    /// What to write, for [`Weights::export`].
    pub tensors: Vec<Export>,
    /// `open_clip_config.json`.
    pub config: Json,
    /// What no file said and OpenAI's rules filled in; show it to the user.
    pub assumed: Vec<String>,
}

/// Plans the conversion of a CLIP in any layout.
///
/// # Errors
/// Not a CLIP, tensors or a config that do not fit together, a layer norm that OpenCLIP's config cannot describe.
pub fn open_clip(weights: &Weights, source: &ConfigSource) -> Result<OpenClip> {
    let json = source.json(weights)?.0.filter(|json| json.get("model_cfg").is_some());
    let layout = Layout::of(weights)?;
    let config = ClipConfig::read(weights, layout, source)?;
    if !config.has_text() {
        let what = "there is no text tower: OpenCLIP's layout holds whole CLIPs only".into();
        return Err(Error::Config { path: weights.path().display().to_string(), what });
    }
    if config.eps != 1e-5 {
        let what = format!("layer norm epsilon {}: OpenCLIP's layout knows 1e-5 only", config.eps);
        return Err(Error::Config { path: weights.path().display().to_string(), what });
    }
    let mut known = VisionTower::tensors(&config);
    known.extend(TextTower::tensors(&config));
    let hint = format!("{}: does its config describe another model?", weights.path().display());
    for (name, shape) in &known {
        weights.check(&layout.locate(name), shape, &hint)?;
    }
    layout.check_unknown(weights, known.iter().map(|t| t.0.as_str()).chain(["logit_scale"]))?;
    let mut tensors: Vec<Export> = known.iter().flat_map(|(name, _)| export(layout, name)).collect();
    // Scalars that are not there for every model.
    tensors.extend(["logit_scale", "logit_bias"].into_iter().filter(|n| weights.shape(n).is_some()).map(|n| Export::plain(n, n)));
    // PyTorch's batch norms expect their counters, which nothing else reads.
    tensors.extend(weights.names().filter(|n| n.ends_with(".num_batches_tracked")).map(|n| Export::plain(n, n)));
    Ok(OpenClip { tensors, config: describe(&config, json), assumed: config.assumed })
}

/// The projections are stored as `[C, D]` by OpenAI and OpenCLIP, as `[D, C]` by transformers.
fn export(layout: Layout, name: &str) -> Vec<Export> {
    let stored = layout.locate(name);
    if name.starts_with("visual.attnpool.qkv.") {
        // One matrix here, three in every file.
        return stored.names().iter().map(|part| Export::plain(part, part)).collect();
    }
    let projection = name == "visual.proj" || name == "text_projection";
    let transpose = projection && !matches!(stored, Stored::Transposed(_));
    vec![Export { name: name.to_owned(), parts: stored.names().to_vec(), transpose }]
}

/// The config; what the source's own says beyond it stays.
fn describe(config: &ClipConfig, base: Option<Json>) -> Json {
    let mut json = base.unwrap_or_else(|| json!({}));
    let model = object(&mut json, "model_cfg");
    model.insert("embed_dim".into(), json!(config.embed));
    model.insert("quick_gelu".into(), json!(config.activation == Activation::QuickGelu));
    // The text tower lies at the top now.
    model.remove("custom_text");
    let mut part = |key: &str, values: Json| {
        if let Json::Object(values) = values {
            entry(model, key).extend(values);
        }
    };
    match config.vision {
        VisionConfig::Transformer(vision) => {
            part("vision_cfg", json!({ "layers": vision.layers, "head_width": vision.heads.size, "patch_size": config.patch }));
            part("vision_cfg", mlp_ratio(vision));
        }
        VisionConfig::ResNet(vision) => part("vision_cfg", json!({ "layers": vision.layers, "patch_size": null })),
    }
    let width = match config.vision {
        VisionConfig::Transformer(vision) => vision.width,
        VisionConfig::ResNet(vision) => vision.width,
    };
    part("vision_cfg", json!({ "image_size": config.image_size(), "width": width }));
    let text = config.text;
    let values = json!({
        "context_length": config.context, "vocab_size": config.vocabulary, "width": text.width,
        "heads": text.heads.heads, "layers": text.layers,
    });
    part("text_cfg", values);
    part("text_cfg", mlp_ratio(text));
    let pixels = object(&mut json, "preprocess_cfg");
    pixels.insert("mean".into(), decimals(config.mean));
    pixels.insert("std".into(), decimals(config.std));
    json
}

/// The object below `key`, made if it is none.
fn object<'a>(json: &'a mut Json, key: &str) -> &'a mut Map<String, Json> {
    if !json.is_object() {
        *json = json!({});
    }
    match json {
        Json::Object(map) => entry(map, key),
        _ => unreachable!("made an object above"),
    }
}

fn entry<'a>(map: &'a mut Map<String, Json>, key: &str) -> &'a mut Map<String, Json> {
    let slot = map.entry(key).or_insert_with(|| json!({}));
    if !slot.is_object() {
        *slot = json!({});
    }
    match slot {
        Json::Object(map) => map,
        _ => unreachable!("made an object above"),
    }
}

/// Nothing where the hidden layer is four times as wide, as everywhere by default.
fn mlp_ratio(tower: TowerConfig) -> Json {
    if tower.mlp == 4 * tower.width { json!({}) } else { json!({ "mlp_ratio": ratio(tower.mlp, tower.width) }) }
}

/// Of which OpenCLIP's `int(width * ratio)` is `mlp` again.
fn ratio(mlp: u32, width: u32) -> f64 {
    let ratio = f64::from(mlp) / f64::from(width);
    if (f64::from(width) * ratio) as u32 == mlp { ratio } else { ratio.next_up() }
}

/// Single-precision values with no more digits than they have.
fn decimals(values: [f32; 3]) -> Json {
    values.iter().map(|v| v.to_string().parse::<f64>().unwrap_or(f64::from(*v))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_come_back() {
        for (mlp, width) in [(6144, 1408), (8192, 1664), (5120, 1280), (3077, 769), (100, 96)] {
            assert_eq!((f64::from(width) * ratio(mlp, width)) as u32, mlp);
        }
        assert_eq!(decimals([0.1, 0.5, 1.0]).to_string(), "[0.1,0.5,1.0]");
    }
}
