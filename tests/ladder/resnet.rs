//! ResNets beyond what all cases share: position tables, sizes of our own preprocessing, the pool as intended.

use crate::golden::{Golden, HALF_STAGE, STAGE, Tolerance, compare, floats};
use crate::steps::{engine, inspect, upload};
use lancet::clip::decode::Decoded;
use lancet::clip::positions::resample_positions;
use lancet::clip::preprocess::plan_pixels;
use lancet::clip::{Clip, ImageInput, Labels, LoadOptions, PositionRule, SourceKind, VisionPath};
use lancet::explain::{Explainer, Method};
use lancet::gpu::{PlanBuilder, Source, Tensor};
use lancet::reference::{self, Activation, Projection, Segment};
use lancet::shape::DType;
use lancet::weights::{Stored, Weights};

const HALVES: &str = "weights/openai_rn_f16.safetensors";

fn load(path: std::path::PathBuf) -> Result<Clip, String> {
    let weights = Weights::open(path).map_err(|e| e.to_string())?;
    Clip::load(engine(), &weights, LoadOptions::default()).map_err(|e| e.to_string())
}

/// Labels that no comparison here depends on.
fn any_labels(clip: &Clip) -> Labels {
    let width = clip.config().embed as usize;
    let rows = (0..2 * width).map(|i| if i % width == i / width { 1.0 } else { 0.0 }).collect();
    Labels::new(vec!["a".into(), "b".into()], rows, vec![0.0; width], width).unwrap()
}

fn features(clip: &Clip, method: &Method, pixels: &Tensor) -> Result<Vec<f32>, String> {
    let stages = inspect(clip, &any_labels(clip), method, pixels)?;
    stages.into_iter().find(|s| s.0 == "vision.features").map(|s| s.1).ok_or("no features".into())
}

/// Tables of other grids, from the stored one.
pub fn positions(golden: &Golden) -> Result<(), String> {
    let expected = golden.expected("resnet");
    let weights = Weights::open(golden.path(HALVES)).map_err(|e| e.to_string())?;
    let table = floats(&weights, "visual.attnpool.positional_embedding");
    for size in [96, 160, 256] {
        let name = format!("size_{size}.positional_embedding");
        let got = resample_positions(&table, 256, 4, [size / 32; 2], PositionRule::Bilinear);
        compare(&name, &got, &floats(&expected, &name), Tolerance { rel_l2: 1e-6, max_abs: 1e-6 })?;
    }
    Ok(())
}

/// From the picture's file to features at 256 pixels, twice the native size. The f32 file if it is there.
pub fn from_the_picture(golden: &Golden) -> Result<(), String> {
    let exact = golden.path("weights/openai_rn_f32.safetensors");
    let (path, limit) = if exact.is_file() { (exact, STAGE) } else { (golden.path(HALVES), HALF_STAGE) };
    let clip = load(path)?;
    let decoded = Decoded::open(golden.path("images/scene_rgb_131x97.png")).map_err(|e| e.to_string())?;
    let gpu = engine().gpu();
    let mut b = PlanBuilder::new(gpu);
    let input = ImageInput { kind: SourceKind::Rgba8, images: 1, size: decoded.size(), model_size: [256; 2] };
    let pixels = plan_pixels(&mut b, &input, clip.config()).unwrap().pixels;
    b.keep(pixels);
    let mut plan = b.finish(|r| r.tensor(pixels)).unwrap();
    let [w, h] = decoded.size();
    let image = gpu.upload("image", &[h, w], DType::U32, decoded.rgba()).unwrap();
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let pixels = plan.record(&mut encoder, Source::Rgba8(image.buffer())).unwrap().clone();
    gpu.submit(encoder).unwrap();
    let expected = golden.expected("resnet");
    for (method, name) in [(Method::SURGERY, "size_256.surgery.features"), (Method::CLIP, "size_256.clip.features")] {
        compare(name, &features(&clip, &method, &pixels)?, &floats(&expected, name), limit)?;
    }
    Ok(())
}

/// The original never runs what it intends, so the definition decides: ordinary attention for the class row, for the others
/// attention by unit values, 8 times sharper. Of a batch of two, at a grid that is not square.
pub fn intended(golden: &Golden) -> Result<(), String> {
    let clip = load(golden.path(HALVES))?;
    let pixels: Vec<f32> = (0..2 * 3 * 96 * 160).map(|i| ((i * 7919 + i / 160 * 31) % 1009) as f32 / 300.0 - 1.7).collect();
    let pixels = upload(&[2, 3, 96, 160], &pixels);
    let stages = inspect(&clip, &any_labels(&clip), &Method::SURGERY_RESNET_INTENDED, &pixels)?;
    let stage = |name: &str| stages.iter().find(|s| s.0 == name).map(|s| s.1.as_slice()).ok_or(format!("no stage {name}"));
    let qkv = stage("vision.attnpool.qkv")?;
    let (heads, per_image) = (clip.config().vision.heads(), 1 + 3 * 5);
    let width = heads.heads * heads.size;
    let segments = [0, 1].map(|i| Segment { start: i * per_image as u32, len: per_image as u32 });
    let attention = |scale, path| reference::attention(qkv, &segments, heads, scale, false, path);
    let scale = (heads.size as f32).sqrt().recip();
    let ordinary = attention(scale, (Projection::Query, Projection::Key));
    let mut rows = attention(8.0 * scale, (Projection::UnitValue, Projection::UnitValue));
    for image in 0..2 {
        let class = image * per_image * width..(image * per_image + 1) * width;
        rows[class.clone()].copy_from_slice(&ordinary[class]);
    }
    let part = |name: &str| clip.weights().floats(&Stored::Plain(format!("visual.attnpool.c_proj.{name}")), "").unwrap();
    let embed = clip.config().embed as usize;
    let want = reference::matmul(&rows, &part("weight"), [2 * per_image, width, embed], Some(&part("bias")), Activation::None, None);
    compare("the pool as intended", stage("vision.features")?, &want, STAGE)?;
    // And it is something else than the published code's.
    let head = features(&clip, &Method::SURGERY, &pixels)?;
    match compare("the pool as published", &head, &want, HALF_STAGE) {
        Ok(()) => Err("as published and as intended give the same".into()),
        Err(_) => Ok(()),
    }
}

/// Values alone: the last step by hand.
pub fn values_alone(golden: &Golden) -> Result<(), String> {
    let clip = load(golden.path(HALVES))?;
    let pixels = upload(golden.expected("resnet").shape("scene.pixels").unwrap(), &floats(&golden.expected("resnet"), "scene.pixels"));
    let stages = inspect(&clip, &any_labels(&clip), &Method::MASK_CLIP, &pixels)?;
    let stage = |name: &str| stages.iter().find(|s| s.0 == name).map(|s| s.1.as_slice()).ok_or(format!("no stage {name}"));
    let (width, embed) = (clip.config().vision.width() as usize, clip.config().embed as usize);
    let values: Vec<f32> = stage("vision.attnpool.qkv")?.chunks_exact(3 * width).flat_map(|row| row[2 * width..].to_vec()).collect();
    let part = |name: &str| clip.weights().floats(&Stored::Plain(format!("visual.attnpool.c_proj.{name}")), "").unwrap();
    let want = reference::matmul(&values, &part("weight"), [17, width, embed], Some(&part("bias")), Activation::None, None);
    compare("values alone", stage("vision.features")?, &want, STAGE)
}

/// A method for transformer blocks only says so by its name before anything is planned.
pub fn methods_for_blocks_are_refused(golden: &Golden) -> Result<(), String> {
    let clip = load(golden.path(HALVES))?;
    let vision = VisionPath { pool: None, ..Method::SURGERY.vision };
    let method = Method { name: "blocks-only".into(), vision, ..Method::SURGERY };
    match Explainer::new(&clip, &any_labels(&clip), &method) {
        Err(e) if e.to_string().contains("blocks-only") && e.to_string().contains("ResNet") => Ok(()),
        Err(e) => Err(format!("another error: {e}")),
        Ok(_) => Err("accepted".into()),
    }
}
