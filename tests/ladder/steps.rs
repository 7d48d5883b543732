//! Climbing one case: vision stages, features, scores, maps, texts.

use crate::cases::Case;
use crate::golden::{Golden, HALF_SIMILARITY, HALF_STAGE, MAP, SIMILARITY, STAGE, Tolerance, compare, floats, ints};
use crate::published;
use lancet::clip::{Clip, Labels, LoadOptions, Precision};
use lancet::explain::{Explainer, Method};
use lancet::gpu::tuning::Rule;
use lancet::gpu::{PlanBuilder, Source, Tensor, Tuned};
use lancet::ops::{self, Surgery};
use lancet::shape::DType;
use lancet::weights::Weights;
use lancet::{Engine, Options};
use pollster::block_on;
use std::cell::Cell;
use std::sync::OnceLock;

thread_local! {
    static OTHER: Cell<Option<&'static Engine>> = const { Cell::new(None) };
}

/// Climbs with other rules for the choice of kernels, on the same device.
pub fn with_rules<T>(rules: Vec<Rule>, climb: impl FnOnce() -> T) -> T {
    let gpu = engine().gpu();
    let options = Options { tuned: Tuned::Rules(rules), ..Options::default() };
    let other = Engine::from_device(&gpu.device, &gpu.queue, options).expect("the device of the other tests");
    // Tests keep their engines to the end.
    OTHER.set(Some(Box::leak(Box::new(other))));
    let result = climb();
    OTHER.set(None);
    result
}

pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    if let Some(other) = OTHER.get() {
        return other;
    }
    ENGINE
        .get_or_init(|| block_on(Engine::new(Options::default())).expect("these tests need an adapter; tools/test installs a software one"))
}

fn read(tensor: &Tensor) -> Vec<f32> {
    let gpu = engine().gpu();
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let pending = tensor.read(gpu, &mut encoder).unwrap();
    gpu.submit(encoder).unwrap();
    block_on(pending.floats()).unwrap()
}

pub fn upload(shape: &[u32], values: &[f32]) -> Tensor {
    engine().gpu().upload("golden", shape, DType::F32, values).unwrap()
}

/// The case's limits: (stages and features, scores).
fn limits(case: &Case) -> (Tolerance, Tolerance) {
    if case.half { (HALF_STAGE, HALF_SIMILARITY) } else { (STAGE, SIMILARITY) }
}

/// Runs every stage of a case in order; the first that is off is the error.
pub fn climb(golden: &Golden, case: &Case) -> Result<(), String> {
    let weights = Weights::open(golden.path(case.weights)).map_err(|e| e.to_string())?;
    let precision = if case.half { Precision::F16 } else { Precision::Stored };
    let clip = Clip::load(engine(), &weights, LoadOptions { precision, ..Default::default() }).map_err(|e| e.to_string())?;
    let (inputs, expected) = (golden.expected(case.inputs), golden.expected(case.expected));
    let pixels = upload(inputs.shape(case.pixels).unwrap(), &floats(&inputs, case.pixels));

    let LabelSets { text_prefix, labels, person_bench, shoes } = LabelSets::of(case, &clip, &expected)?;

    let compared = vision(case, &clip, &labels, &pixels, &expected)? + plain_clip(case, &clip, &labels, &pixels, &expected)?;
    if compared < 2 {
        return Err(format!("only {compared} stages of {} were found to compare", case.expected));
    }
    similarity(case, &clip, &person_bench, &Method::SURGERY_ONE_LABEL, "similarity.person_bench_minus_empty", &pixels, &expected)?;
    // One label must switch to the empty text by itself.
    similarity(case, &clip, &shoes, &Method::SURGERY, "similarity.single_shoes_minus_empty", &pixels, &expected)?;
    maps(golden, case, &clip, &labels, &person_bench, &pixels)?;
    // Texts depend on the weights file alone: once per file is enough.
    if case.text == text_prefix && !case.prefix.starts_with("size_") {
        texts(case, &clip, &inputs, &expected)?;
        if !case.half {
            published::climb(case, &clip, &inputs, &expected)?;
        }
    }
    Ok(())
}

/// The label sets of a case, from the expected embeddings of their ensembles.
pub struct LabelSets<'a> {
    text_prefix: &'a str,
    pub labels: Labels,
    pub person_bench: Labels,
    pub shoes: Labels,
}

impl LabelSets<'_> {
    pub fn of<'a>(case: &'a Case, clip: &Clip, expected: &Weights) -> Result<LabelSets<'a>, String> {
        let text_prefix = if expected.shape(&format!("{}ensemble.features", case.text)).is_some() { case.text } else { "" };
        let rows = floats(expected, &format!("{text_prefix}ensemble.features"));
        let width = clip.config().embed as usize;
        let row = |range: std::ops::Range<usize>| rows[range.start * width..range.end * width].to_vec();
        let set = |range: std::ops::Range<usize>| {
            let names = (0..range.len()).map(|i| format!("label {i}")).collect();
            Labels::new(names, row(range), row(15..16), width).map_err(|e| e.to_string())
        };
        Ok(LabelSets { text_prefix, labels: set(0..12)?, person_bench: set(13..15)?, shoes: set(12..13)? })
    }
}

/// (stage, values) of an inspected run.
pub fn inspect(clip: &Clip, labels: &Labels, method: &Method, pixels: &Tensor) -> Result<Vec<(String, Vec<f32>)>, String> {
    let explainer = Explainer::new(clip, labels, method).map_err(|e| e.to_string())?;
    let mut plan = explainer.plan_inspect(pixels).map_err(|e| e.to_string())?;
    let gpu = engine().gpu();
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let stages = plan.record(&mut encoder, Source::None).map_err(|e| e.to_string())?.clone();
    gpu.submit(encoder).map_err(|e| e.to_string())?;
    Ok(stages.iter().map(|(name, tensor)| (name.clone(), read(tensor))).collect())
}

/// How many stages were compared.
fn vision(case: &Case, clip: &Clip, labels: &Labels, pixels: &Tensor, expected: &Weights) -> Result<usize, String> {
    let (stage_limit, score_limit) = limits(case);
    let mut compared = 0;
    let mut check = |name: &str, got: &[f32], limit: Tolerance| -> Result<(), String> {
        let full = format!("{}{name}", case.prefix);
        if expected.shape(&full).is_none() {
            return Ok(());
        }
        compared += 1;
        let stored = floats(expected, &full);
        match expected.shape(&full) {
            // Maps of a ResNet are channels-last here.
            Some(&[1, c, ..]) if name == "stem" || name.starts_with("layer") => {
                compare(&full, got, &channels_last(&stored, c as usize), limit)
            }
            _ => compare(&full, got, &stored, limit),
        }
    };
    let stages = inspect(clip, labels, &Method::SURGERY, pixels)?;
    before_ln_post(case, clip, &stages, expected)?;
    for (stage, got) in stages {
        let stage = stage.strip_prefix("vision.").or(stage.strip_prefix("explain.")).unwrap_or(&stage);
        let block =
            stage.strip_prefix("block.").and_then(|s| s.split_once('.')).and_then(|(i, what)| Some((i.parse::<usize>().ok()?, what)));
        match (block, stage) {
            (Some((i, "ordinary")), _) => check(&format!("block_{i:02}.original"), &got, stage_limit)?,
            (Some((i, "streams")), _) => check(&format!("block_{i:02}.surgery"), &got[got.len() / 2..], stage_limit)?,
            (Some((i, "attention_ordinary")), _) => check(&format!("block_{i:02}.attention_qk"), &got, stage_limit)?,
            (Some((i, "attention_new")), _) => check(&format!("block_{i:02}.attention_vv"), &got, stage_limit)?,
            (None, "after_ln_post" | "features") => check(&format!("surgery.{stage}"), &got, stage_limit)?,
            (None, "scores") => check("similarity.labels", &got, score_limit)?,
            _ => check(stage, &got, stage_limit)?,
        }
    }
    Ok(compared)
}

/// The merged tokens are never stored here: class row of the ordinary stream, patches of the new one.
fn before_ln_post(case: &Case, clip: &Clip, stages: &[(String, Vec<f32>)], expected: &Weights) -> Result<(), String> {
    let full = format!("{}surgery.before_ln_post", case.prefix);
    if expected.shape(&full).is_none() {
        return Ok(());
    }
    let (last, width) = (clip.config().vision.layers() - 1, clip.config().vision.width() as usize);
    let stage = |what: &str| stages.iter().find(|s| s.0 == format!("vision.block.{last}.{what}")).map(|s| &s.1).ok_or(format!("no {what}"));
    let (ordinary, streams) = (stage("ordinary")?, stage("streams")?);
    let merged: Vec<f32> = ordinary[..width].iter().chain(&streams[streams.len() / 2 + width..]).copied().collect();
    compare(&full, &merged, &floats(expected, &full), limits(case).0)
}

/// How many stages were compared.
fn plain_clip(case: &Case, clip: &Clip, labels: &Labels, pixels: &Tensor, expected: &Weights) -> Result<usize, String> {
    let mut compared = 0;
    for (stage, got) in inspect(clip, labels, &Method::CLIP, pixels)? {
        let name = match stage.as_str() {
            "vision.after_ln_post" => "clip.after_ln_post",
            "vision.features" => "clip.features",
            "explain.scores" => "clip.cosine.labels",
            _ => continue,
        };
        let full = format!("{}{name}", case.prefix);
        if expected.shape(&full).is_some() {
            let (stage_limit, score_limit) = limits(case);
            compare(&full, &got, &floats(expected, &full), if name.contains("cosine") { score_limit } else { stage_limit })?;
            compared += 1;
        }
    }
    Ok(compared)
}

fn similarity(
    case: &Case,
    clip: &Clip,
    labels: &Labels,
    method: &Method,
    name: &str,
    pixels: &Tensor,
    expected: &Weights,
) -> Result<(), String> {
    let full = format!("{}{name}", case.prefix);
    if expected.shape(&full).is_none() {
        return Ok(());
    }
    let stages = inspect(clip, labels, method, pixels)?;
    let scores = stages.iter().find(|s| s.0 == "explain.scores").ok_or("no scores")?;
    compare(&full, &scores.1, &floats(expected, &full), limits(case).1)
}

/// Maps at other sizes: [1, H, W, L] in the golden file, [L, H, W] here.
fn maps(golden: &Golden, case: &Case, clip: &Clip, labels: &Labels, person_bench: &Labels, pixels: &Tensor) -> Result<(), String> {
    if case.half || case.prefix.contains("_f16.") {
        return Ok(());
    }
    let expected = golden.expected(case.expected);
    let names: Vec<String> = expected.names().filter(|n| n.starts_with(&format!("{}map.", case.prefix))).map(str::to_owned).collect();
    for name in names {
        let &[1, h, w, l] = expected.shape(&name).unwrap() else { return Err(format!("{name}: shape")) };
        let (labels, method) = if l == 2 { (person_bench, Method::SURGERY_ONE_LABEL) } else { (labels, Method::SURGERY) };
        let stages = inspect(clip, labels, &method, pixels)?;
        let grid = stages.iter().find(|s| s.0 == "explain.maps").ok_or("no maps")?;
        let side = ((grid.1.len() / l as usize) as f64).sqrt() as u32;
        let got = upsampled(&grid.1, l, [side, side], [w, h]);
        compare(&name, &channels_last(&got, l as usize), &floats(&expected, &name), MAP)?;
    }
    Ok(())
}

fn upsampled(maps: &[f32], planes: u32, from: [u32; 2], to: [u32; 2]) -> Vec<f32> {
    let mut b = PlanBuilder::new(engine().gpu());
    let tensor = upload(&[planes, from[0] * from[1]], maps);
    let x = b.import(&tensor);
    let y = ops::upsample(&mut b, "upsample", x, from, to).unwrap();
    b.keep(y);
    let mut plan = b.finish(|r| r.tensor(y)).unwrap();
    block_on(engine().gpu().run(&mut plan, Source::None)).unwrap()
}

fn channels_last(planes: &[f32], count: usize) -> Vec<f32> {
    let size = planes.len() / count;
    (0..size).flat_map(|i| (0..count).map(move |p| planes[p * size + i])).collect()
}

fn texts(case: &Case, clip: &Clip, inputs: &Weights, expected: &Weights) -> Result<(), String> {
    let stage_limit = limits(case).0;
    let prompts: Vec<Vec<u32>> = ints(inputs, "text.tokens").chunks(77).map(<[u32]>::to_vec).collect();
    let mut b = PlanBuilder::new(engine().gpu()).inspect(true);
    clip.plan_text(&mut b, &prompts).map_err(|e| e.to_string())?;
    let mut plan = b.finish(|r| r.named()).map_err(|e| e.to_string())?;
    let gpu = engine().gpu();
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let stages = plan.record(&mut encoder, Source::None).map_err(|e| e.to_string())?.clone();
    gpu.submit(encoder).map_err(|e| e.to_string())?;

    let lengths: Vec<usize> = prompts.iter().map(|p| lancet::clip::tokenizer::end_position(p) + 1).collect();
    let c = clip.config().text.width as usize;
    let start = |prompt: usize| lengths[..prompt].iter().sum::<usize>();
    for (stage, tensor) in &stages {
        let stage = stage.trim_start_matches("text.");
        let got = read(tensor);
        if stage == "features" {
            let full = format!("{}text.features", case.text);
            compare(&full, &got, &floats(expected, &full), stage_limit)?;
            continue;
        }
        let name = stage
            .strip_prefix("block.")
            .and_then(|s| s.strip_suffix(".ordinary"))
            .map_or(stage.to_owned(), |i| format!("block_{:02}", i.parse::<u32>().unwrap_or(99)));
        let full = format!("{}text.{name}", case.text);
        if expected.shape(&full).is_none() {
            continue;
        }
        // Rows 0 and 3 of the padded original; ours holds the real tokens of all prompts.
        let padded = floats(expected, &full);
        for (row, prompt) in [(0, 0), (1, 3)] {
            let n = lengths[prompt] * c;
            compare(&format!("{full} prompt {prompt}"), &got[start(prompt) * c..][..n], &padded[row * 77 * c..][..n], stage_limit)?;
        }
    }
    ensembles(case, clip, inputs, expected)
}

fn ensembles(case: &Case, clip: &Clip, inputs: &Weights, expected: &Weights) -> Result<(), String> {
    let source = if inputs.shape("ensemble.tokens").is_some() { inputs.clone() } else { Golden::open().expected("vit") };
    let tokens: Vec<Vec<u32>> = ints(&source, "ensemble.tokens").chunks(24).map(<[u32]>::to_vec).collect();
    let width = clip.config().embed as usize;
    let mut all = Vec::new();
    for chunk in tokens.chunks(4 * 85) {
        let mut b = PlanBuilder::new(engine().gpu());
        let features = clip.plan_text(&mut b, chunk).map_err(|e| e.to_string())?;
        let unit = ops::l2_normalize(&mut b, "l2_normalize", features).map_err(|e| e.to_string())?;
        let rows = ops::ensemble(&mut b, "ensemble", unit, 85).map_err(|e| e.to_string())?;
        b.keep(rows);
        let mut plan = b.finish(|r| r.tensor(rows)).map_err(|e| e.to_string())?;
        all.extend(block_on(engine().gpu().run(&mut plan, Source::None)).map_err(|e| e.to_string())?);
    }
    let full = format!("{}ensemble.features", case.text);
    compare(&full, &all, &floats(expected, &full)[..16 * width], limits(case).0)
}

/// Feature surgery, min-max and resize alone, on given unit vectors.
pub fn functions(golden: &Golden) -> Result<(), String> {
    let file = golden.expected("functions");
    let text = floats(&file, "text_features");
    let reference = floats(&file, "redundant_features");
    let with_reference: Vec<f32> = text.iter().chain(&reference).copied().collect();
    let cases = [
        ("image_features", 1, Surgery::LabelMean { sharpness: 2.0, weight_minuend: true }, "similarity.labels", "map.labels."),
        ("image_features", 1, Surgery::Reference, "similarity.redundant", "map.redundant."),
        ("batch2.image_features", 2, Surgery::Reference, "batch2.similarity.redundant", "batch2.map.redundant."),
    ];
    for (images, batch, surgery, similarity_name, map_prefix) in cases {
        let labels = if surgery == Surgery::Reference { upload(&[8, 40], &with_reference) } else { upload(&[7, 40], &text) };
        let features = upload(&[batch * 65, 40], &floats(&file, images));
        let mut b = PlanBuilder::new(engine().gpu());
        let x = b.import(&features);
        let cosines = ops::similarity(&mut b, "similarity", x, &labels).unwrap();
        let scores = ops::feature_surgery(&mut b, "feature_surgery", cosines, 65, surgery).unwrap();
        let maps = ops::minmax(&mut b, "minmax", scores, 65).unwrap();
        b.keep(scores);
        b.keep(maps);
        let mut plan = b.finish(|r| Ok((r.tensor(scores)?, r.tensor(maps)?))).unwrap();
        let mut encoder = engine().gpu().device.create_command_encoder(&Default::default());
        let (scores, maps) = plan.record(&mut encoder, Source::None).unwrap().clone();
        engine().gpu().submit(encoder).unwrap();
        compare(similarity_name, &read(&scores), &floats(&file, similarity_name), SIMILARITY)?;
        let maps = read(&maps);
        for name in file.names().filter(|n| n.starts_with(map_prefix)) {
            let &[_, h, w, l] = file.shape(name).unwrap() else { return Err(format!("{name}: shape")) };
            let got = upsampled(&maps, batch * l, [8, 8], [w, h]);
            let per_image = got.len() / batch as usize;
            let last: Vec<f32> = got.chunks(per_image).flat_map(|image| channels_last(image, l as usize)).collect();
            compare(name, &last, &floats(&file, name), MAP)?;
        }
    }
    Ok(())
}

/// Pillow's bicubic on the decoded golden images, on the GPU: exact. RGBA and palette files are another matter: the
/// original resizes them before it drops alpha or looks up colours; lancet flattens first (see `lancet::clip::decode`).
pub fn preprocessing(golden: &Golden) -> Result<(), String> {
    let file = golden.expected("preprocess");
    let mut compared = 0;
    let names: Vec<String> =
        file.names().filter(|n| n.contains(".resized_u8.") && !n.contains("rgba") && !n.contains("palette")).map(str::to_owned).collect();
    for name in names {
        let (image, rest) = name.split_once('.').unwrap();
        let size: u32 = rest.rsplit('.').next().unwrap().parse().unwrap();
        let decoded = format!("{image}.decoded_rgb_u8");
        let &[h, w, 3] = file.shape(&decoded).unwrap() else { return Err(format!("{decoded}: shape")) };
        let rgba: Vec<u8> = file.raw(&decoded).unwrap().chunks(3).flat_map(|p| [p[0], p[1], p[2], 255]).collect();
        let source = engine().gpu().upload("image", &[1, h, w], DType::U32, &rgba).unwrap();
        let mut b = PlanBuilder::new(engine().gpu());
        let x = b.import(&source);
        let resized = ops::resize_u8(&mut b, "resize_u8", x, [size, size]).unwrap();
        let pixels = ops::normalize(&mut b, "normalize", resized, [0.0; 3], [1.0 / 255.0; 3]).unwrap();
        b.keep(pixels);
        let mut plan = b.finish(|r| r.tensor(pixels)).unwrap();
        let got = block_on(engine().gpu().run(&mut plan, Source::None)).unwrap();
        let expected: Vec<f32> = file.raw(&name).unwrap().iter().map(|&v| f32::from(v)).collect();
        compare(&name, &channels_last(&got, 3), &expected, Tolerance { rel_l2: 1e-6, max_abs: 1e-3 })?;
        compared += 1;
    }
    if compared < 4 { Err(format!("only {compared} images compared")) } else { Ok(()) }
}
