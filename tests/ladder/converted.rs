//! Converted models: the same bits give the same features.

use crate::cases::Case;
use crate::golden::{Golden, HALF_STAGE, compare, floats, ints};
use crate::published::text_features;
use crate::steps::{engine, inspect, upload};
use lancet::clip::export::open_clip;
use lancet::clip::{Clip, ConfigSource, Labels, LoadOptions};
use lancet::explain::Method;
use lancet::gpu::Tensor;
use lancet::weights::{StoreAs, Weights};

/// `weights` in OpenCLIP's layout, in memory, and its config.
fn converted(weights: &Weights, store: StoreAs) -> Result<(Weights, ConfigSource), String> {
    let plan = open_clip(weights, &ConfigSource::Beside).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    let emit = |chunk: &[u8]| {
        bytes.extend_from_slice(chunk);
        Ok(())
    };
    weights.export(&plan.tensors, store, weights.metadata(), emit).map_err(|e| e.to_string())?;
    Ok((Weights::from_bytes(bytes).map_err(|e| e.to_string())?, ConfigSource::Text(plan.config.to_string())))
}

/// Features of all tokens of an image, and of texts.
fn features(weights: &Weights, config: ConfigSource, pixels: &Tensor, prompts: &[Vec<u32>]) -> Result<[Vec<f32>; 2], String> {
    let clip = Clip::load(engine(), weights, LoadOptions { config, ..Default::default() }).map_err(|e| e.to_string())?;
    let width = clip.config().embed as usize;
    let labels = Labels::new(vec!["any".into()], vec![1.0; width], vec![0.0; width], width).map_err(|e| e.to_string())?;
    let stages = inspect(&clip, &labels, &Method::SURGERY, pixels)?;
    let image = stages.into_iter().find(|s| s.0 == "vision.features").ok_or("no stage vision.features")?.1;
    Ok([image, text_features(&clip, prompts)?])
}

/// Features of a case's picture and prompts before and after: bit-identical as stored, close as halves.
pub fn climb(golden: &Golden, case: &Case) -> Result<(), String> {
    let inputs = golden.expected(case.inputs);
    let pixels = upload(inputs.shape(case.pixels).unwrap(), &floats(&inputs, case.pixels));
    let prompts: Vec<Vec<u32>> = ints(&inputs, "text.tokens").chunks(77).map(<[u32]>::to_vec).collect();
    let weights = Weights::open(golden.path(case.weights)).map_err(|e| e.to_string())?;
    let before = features(&weights, ConfigSource::Beside, &pixels, &prompts)?;
    let (stored, config) = converted(&weights, StoreAs::Stored)?;
    if features(&stored, config.clone(), &pixels, &prompts)? != before {
        return Err("features differ though the values are the same".into());
    }
    let (half, half_config) = converted(&weights, StoreAs::F16)?;
    for ((what, got), want) in ["image", "text"].iter().zip(features(&half, half_config, &pixels, &prompts)?).zip(&before) {
        compare(&format!("{what} features from f16"), &got, want, HALF_STAGE)?;
    }
    // OpenCLIP's layout is a fixed point.
    let again = open_clip(&stored, &config).map_err(|e| e.to_string())?;
    let ConfigSource::Text(config) = config else { return Err("no config".into()) };
    let config: serde_json::Value = serde_json::from_str(&config).map_err(|e| e.to_string())?;
    if again.tensors.iter().all(|t| t.parts == [t.name.clone()] && !t.transpose) && again.config == config {
        Ok(())
    } else {
        Err("converting twice changes something".into())
    }
}

/// A ResNet passes bit by bit; its config is made from the shapes.
pub fn resnet(golden: &Golden) -> Result<(), String> {
    for name in ["openai_rn_f32", "openai_rn_f16"] {
        let weights = Weights::open(golden.path(&format!("weights/{name}.safetensors"))).map_err(|e| e.to_string())?;
        let (out, config) = converted(&weights, StoreAs::Stored)?;
        for tensor in out.names() {
            if out.raw(tensor) != weights.raw(tensor) || out.shape(tensor) != weights.shape(tensor) {
                return Err(format!("{name}: {tensor} changed"));
            }
        }
        let left: Vec<&str> = weights.names().filter(|n| out.shape(n).is_none()).collect();
        if left.iter().any(|n| !["input_resolution", "context_length", "vocab_size"].contains(n)) {
            return Err(format!("{name}: {left:?} is lost"));
        }
        let ConfigSource::Text(config) = config else { return Err("no config".into()) };
        let config: serde_json::Value = serde_json::from_str(&config).map_err(|e| e.to_string())?;
        let model = &config["model_cfg"];
        let vision = &model["vision_cfg"];
        let right = vision["layers"] == serde_json::json!([2, 1, 2, 1])
            && (&vision["width"], &vision["image_size"], &model["embed_dim"]) == (&8.into(), &128.into(), &48.into())
            && (&model["text_cfg"]["heads"], &model["text_cfg"]["layers"], &model["quick_gelu"]) == (&1.into(), &2.into(), &true.into());
        if !right {
            return Err(format!("{name}: {config}"));
        }
    }
    Ok(())
}
