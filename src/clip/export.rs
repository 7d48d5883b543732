//! Any CLIP in OpenCLIP's layout: names of the tensors and the config, for files that every program reads.

use crate::clip::config::{ClipConfig, ConfigSource, OPENAI_MEAN, OPENAI_STD};
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

/// Integers that OpenAI's checkpoints carry, and buffers that are computed anyway.
fn is_ballast(name: &str) -> bool {
    ["input_resolution", "context_length", "vocab_size", "attn_mask", "position_ids"].contains(&name.rsplit('.').next().unwrap_or(name))
}

/// Plans the conversion of a ViT CLIP in any layout, or of a ResNet CLIP in OpenAI's or OpenCLIP's.
///
/// # Errors
/// Not a CLIP, tensors or a config that do not fit together, a layer norm that OpenCLIP's config cannot describe.
pub fn open_clip(weights: &Weights, source: &ConfigSource) -> Result<OpenClip> {
    let json = source.json(weights)?.0.filter(|json| json.get("model_cfg").is_some());
    if weights.shape("visual.attnpool.positional_embedding").is_some() {
        return resnet(weights, source, json);
    }
    let layout = Layout::of(weights)?;
    let config = ClipConfig::read(weights, layout, source)?;
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
    let mut tensors: Vec<Export> = known.iter().map(|(name, _)| export(layout, name)).collect();
    // Scalars that are not there for every model.
    tensors.extend(["logit_scale", "logit_bias"].into_iter().filter(|n| weights.shape(n).is_some()).map(|n| Export::plain(n, n)));
    Ok(OpenClip { tensors, config: describe(&config, json), assumed: config.assumed })
}

/// The projections are stored as `[C, D]` by OpenAI and OpenCLIP, as `[D, C]` by transformers.
fn export(layout: Layout, name: &str) -> Export {
    let stored = layout.locate(name);
    let projection = name == "visual.proj" || name == "text_projection";
    let transpose = projection && !matches!(stored, Stored::Transposed(_));
    Export { name: name.to_owned(), parts: stored.names().to_vec(), transpose }
}

/// The config; what the source's own says beyond it stays.
fn describe(config: &ClipConfig, base: Option<Json>) -> Json {
    let mut json = base.unwrap_or_else(|| json!({}));
    let model = object(&mut json, "model_cfg");
    model.insert("embed_dim".into(), json!(config.embed));
    model.insert("quick_gelu".into(), json!(config.activation == Activation::QuickGelu));
    // The text tower lies at the top now.
    model.remove("custom_text");
    let mut part = |key: &str, values: Json, width: u32, mlp: u32| {
        let part = entry(model, key);
        if let Json::Object(values) = values {
            part.extend(values);
        }
        if mlp != 4 * width {
            part.insert("mlp_ratio".into(), json!(ratio(mlp, width)));
        }
    };
    let (vision, text) = (config.vision, config.text);
    let values = json!({
        "image_size": config.image_size(), "layers": vision.layers, "width": vision.width,
        "head_width": vision.heads.size, "patch_size": config.patch,
    });
    part("vision_cfg", values, vision.width, vision.mlp);
    let values = json!({
        "context_length": config.context, "vocab_size": config.vocabulary, "width": text.width,
        "heads": text.heads.heads, "layers": text.layers,
    });
    part("text_cfg", values, text.width, text.mlp);
    let pixels = object(&mut json, "preprocess_cfg");
    pixels.insert("mean".into(), decimals(config.mean));
    pixels.insert("std".into(), decimals(config.std));
    json
}

/// OpenAI's and OpenCLIP's names are the same for a ResNet; OpenCLIP's newer files have the text side below `text.`.
fn resnet(weights: &Weights, source: &ConfigSource, base: Option<Json>) -> Result<OpenClip> {
    let plain = |name: &str| Export::plain(name.strip_prefix("text.").unwrap_or(name), name);
    let tensors: Vec<Export> = weights.names().filter(|n| !is_ballast(n)).map(plain).collect();
    let shape = |name: &str, axis: usize| {
        let export = tensors.iter().find(|t| t.name == name);
        let found = export.and_then(|t| weights.shape(&t.parts[0])?.get(axis).copied());
        found.ok_or_else(|| Error::MissingTensor { name: name.to_owned(), hint: "is this a whole ResNet CLIP?".into() })
    };
    let blocks = |prefix: String, suffix: &str| {
        let present = |i: &u32| tensors.iter().any(|t| t.name == format!("{prefix}{i}{suffix}"));
        (0..).take_while(present).count()
    };
    let stages: Vec<usize> = (1..=4).map(|i| blocks(format!("visual.layer{i}."), ".conv1.weight")).collect();
    let cells = shape("visual.attnpool.positional_embedding", 0)?.saturating_sub(1);
    let text = shape("ln_final.weight", 0)?;
    let mut assumed = Vec::new();
    let known = if let ConfigSource::Known(known) = source { Some(known) } else { None };
    let stated = base.as_ref().map(|json| json["model_cfg"].get("quick_gelu") == Some(&Json::Bool(true)));
    let quick = match (stated, known) {
        // OpenCLIP's silence means exact GELU, unless more is known of the model.
        (Some(said), None) => said,
        (_, Some(known)) => known.activation == Activation::QuickGelu,
        (None, None) => {
            assumed.push("no OpenCLIP config beside the ResNet: QuickGELU assumed, as OpenAI's have it".to_owned());
            true
        }
    };
    let mut json = base.unwrap_or_else(|| {
        json!({ "model_cfg": {
            "vision_cfg": { "layers": stages, "patch_size": null },
            "text_cfg": { "heads": text / 64 },
        } })
    });
    let (image, width) = (f64::from(cells).sqrt().round() as u32 * 32, shape("visual.layer1.0.conv1.weight", 0)?);
    let model = object(&mut json, "model_cfg");
    model.insert("embed_dim".into(), json!(shape("text_projection", 1)?));
    model.insert("quick_gelu".into(), json!(quick));
    model.remove("custom_text");
    entry(model, "vision_cfg").extend([("image_size".into(), json!(image)), ("width".into(), json!(width))]);
    let layers = blocks("transformer.resblocks.".into(), ".ln_1.weight");
    let (context, vocabulary) = (shape("positional_embedding", 0)?, shape("token_embedding.weight", 0)?);
    entry(model, "text_cfg").extend([
        ("context_length".into(), json!(context)),
        ("vocab_size".into(), json!(vocabulary)),
        ("width".into(), json!(text)),
        ("layers".into(), json!(layers)),
    ]);
    let (mean, std) = known.map_or((OPENAI_MEAN, OPENAI_STD), |k| (k.mean, k.std));
    let pixels = object(&mut json, "preprocess_cfg");
    pixels.entry("mean").or_insert_with(|| decimals(mean));
    pixels.entry("std").or_insert_with(|| decimals(std));
    Ok(OpenClip { tensors, config: json, assumed })
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
