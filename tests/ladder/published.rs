//! What the model classes of transformers and open_clip return for the same files, and resampled positions.

use crate::cases::Case;
use crate::golden::{Golden, SIMILARITY, STAGE, Tolerance, compare, floats, ints};
use crate::steps::{inspect, upload};
use lancet::clip::positions::resample_positions;
use lancet::clip::{Clip, Labels, PositionRule};
use lancet::explain::Method;
use lancet::weights::Weights;
use pollster::block_on;

/// Logits are 100 times a cosine.
const LOGITS: Tolerance = Tolerance { rel_l2: 1e-5, max_abs: 5e-4 };

/// Compares with every published output that the case's file has.
pub fn climb(case: &Case, clip: &Clip, inputs: &Weights, expected: &Weights) -> Result<(), String> {
    let width = clip.config().embed as usize;
    let check = |name: &str, got: &[f32], limit: Tolerance| -> Result<(), String> {
        let full = format!("{}{name}", case.text);
        if expected.shape(&full).is_none() {
            return Ok(());
        }
        compare(&full, got, &floats(expected, &full), limit)
    };
    let published = |n: &str| n.strip_prefix(case.text).is_some_and(|n| n.starts_with("huggingface.") || n.starts_with("open_clip."));
    if !expected.names().any(published) {
        return Ok(());
    }
    // transformers' outputs for the ViT are of both images.
    let images = expected.shape(&format!("{}huggingface.image_embeds", case.text)).map_or(1, |s| s[0]);
    let mut pixels = floats(inputs, case.pixels);
    if images == 2 {
        pixels.extend(floats(&Golden::open().expected("vit"), "photo.pixels"));
    }
    let &[_, channels, h, w] = inputs.shape(case.pixels).unwrap() else { return Err("pixels: shape".into()) };
    let pixels = upload(&[images, channels, h, w], &pixels);

    let prompts: Vec<Vec<u32>> = ints(inputs, "text.tokens").chunks(77).map(<[u32]>::to_vec).collect();
    let text = text_features(clip, &prompts)?;
    check("open_clip.text_features", &text, STAGE)?;
    let unit_text = unit(&text, width);
    check("huggingface.text_embeds", &unit_text, SIMILARITY)?;

    let labels = Labels::new((0..8).map(|i| i.to_string()).collect(), unit_text, vec![0.0; width], width).map_err(|e| e.to_string())?;
    let stages = inspect(clip, &labels, &Method::CLIP, &pixels)?;
    let stage = |name: &str| stages.iter().find(|s| s.0 == name).map(|s| s.1.as_slice()).ok_or(format!("no stage {name}"));
    let class_rows = |values: &[f32], width: usize| -> Vec<f32> {
        let per_image = values.len() / images as usize;
        values.chunks(per_image).flat_map(|image| image[..width].to_vec()).collect()
    };
    let last = clip.config().vision.layers() - 1;
    check("huggingface.vision_last_hidden_state", stage(&format!("vision.block.{last}.ordinary"))?, STAGE)?;
    let features = class_rows(stage("vision.features")?, width);
    // Recent versions of that library put the projected feature there, [B, D].
    check("huggingface.vision_pooler_output", &features, STAGE)?;
    check("open_clip.image_features", &features, STAGE)?;
    check("huggingface.image_embeds", &unit(&features, width), SIMILARITY)?;
    let scale = clip.logit_scale().map_err(|e| e.to_string())?;
    let logits: Vec<f32> = class_rows(stage("explain.scores")?, 8).iter().map(|v| v * scale).collect();
    check("huggingface.logits_per_image", &logits, LOGITS)
}

pub fn text_features(clip: &Clip, prompts: &[Vec<u32>]) -> Result<Vec<f32>, String> {
    let mut b = lancet::gpu::PlanBuilder::new(clip.gpu());
    let features = clip.plan_text(&mut b, prompts).map_err(|e| e.to_string())?;
    b.keep(features);
    let mut plan = b.finish(|r| r.tensor(features)).map_err(|e| e.to_string())?;
    block_on(clip.gpu().run(&mut plan, lancet::Source::None)).map_err(|e| e.to_string())
}

fn unit(rows: &[f32], width: usize) -> Vec<f32> {
    lancet::reference::l2_normalize(rows, width)
}

/// The position tables of other sizes, from the stored one.
pub fn positions(golden: &Golden) -> Result<(), String> {
    let expected = golden.expected("vit");
    let weights = Weights::open(golden.path("weights/openai_vit_f32.safetensors")).map_err(|e| e.to_string())?;
    let table = floats(&weights, "visual.positional_embedding");
    for size in [64, 160, 224] {
        let name = format!("size_{size}.positional_embedding");
        let got = resample_positions(&table, 128, 7, [size / 16; 2], PositionRule::Bilinear);
        compare(&name, &got, &floats(&expected, &name), Tolerance { rel_l2: 1e-6, max_abs: 1e-6 })?;
    }
    // The other rules, as the repositories of the other methods have them; sizes are height x width there.
    let methods = golden.expected("methods");
    for (letter, rule) in [("B", PositionRule::BicubicShifted), ("C", PositionRule::BicubicAntialias), ("D", PositionRule::Bicubic)] {
        for (size, grid) in [("160", [10, 10]), ("112x160", [10, 7]), ("160x112", [7, 10]), ("64", [4, 4])] {
            let name = format!("m8.{size}.positions_{letter}");
            if methods.shape(&name).is_some() {
                let got = resample_positions(&table, 128, 7, grid, rule);
                compare(&name, &got, &floats(&methods, &name), Tolerance { rel_l2: 1e-6, max_abs: 1e-5 })?;
            }
        }
    }
    Ok(())
}
