//! Refinement and choice of classes against the code they were published with: SCLIP's harness and PAMR.

use crate::golden::{Golden, Tolerance, compare, floats, ints};
use lancet::explain::segment::too_small;
use lancet::gpu::{PlanBuilder, Source, Tensor, Value};
use lancet::ops::{self, Winner};
use lancet::shape::DType;
use lancet::weights::Weights;
use lancet::{Engine, Result};

const LIMIT: Tolerance = Tolerance { rel_l2: 1e-5, max_abs: 1e-4 };
/// The harness's picture and its result, (width, height).
pub const INPUT: [u32; 2] = [200, 150];
pub const OUTPUT: [u32; 2] = [61, 45];
const CLASS_OF_NAME: [u32; 9] = [0, 0, 0, 1, 1, 2, 3, 4, 4];

pub fn run(engine: &Engine, build: impl FnOnce(&mut PlanBuilder) -> Result<Value>) -> Tensor {
    let mut b = PlanBuilder::new(engine.gpu());
    let y = build(&mut b).unwrap();
    b.keep(y);
    let mut plan = b.finish(|r| r.tensor(y)).unwrap();
    pollster::block_on(async {
        let mut encoder = engine.gpu().device.create_command_encoder(&Default::default());
        let output = plan.record(&mut encoder, Source::None).unwrap().clone();
        engine.gpu().submit(encoder).unwrap();
        output
    })
}

pub fn bytes(engine: &Engine, tensor: &Tensor) -> Vec<u8> {
    let mut encoder = engine.gpu().device.create_command_encoder(&Default::default());
    let pending = tensor.read(engine.gpu(), &mut encoder).unwrap();
    engine.gpu().submit(encoder).unwrap();
    pollster::block_on(pending.bytes()).unwrap()
}

pub fn values(engine: &Engine, tensor: &Tensor) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(&bytes(engine, tensor))
}

pub fn upload(engine: &Engine, dims: &[u32], data: &[f32]) -> Tensor {
    engine.gpu().upload("golden", dims, DType::F32, data).unwrap()
}

pub fn refine(b: &mut PlanBuilder, image: Value, maps: Value, iterations: u32, dilations: &[u32]) -> Result<Value> {
    let weights = ops::pamr_weights(b, "weights", image, dilations)?;
    (0..iterations).try_fold(maps, |maps, _| ops::pamr(b, "pamr", maps, weights, dilations))
}

/// PAMR alone, on pictures of the output's size.
fn refinement(engine: &Engine, file: &Weights) -> Result<(), String> {
    let image = floats(file, "functions.pamr.image");
    let logits = upload(engine, &[4, 40, 50], &floats(file, "functions.pamr.logits"));
    let constant = vec![0.0; image.len()];
    let cases: [(&str, &[f32], u32, &[u32]); 4] = [
        ("iter1", &image, 1, &[8, 16]),
        ("iter10", &image, 10, &[8, 16]),
        ("iter3_dil_1_2_5", &image, 3, &[1, 2, 5]),
        ("constant_image_iter10", &constant, 10, &[8, 16]),
    ];
    for (name, image, iterations, dilations) in cases {
        let image = upload(engine, &[3, 40, 50], image);
        let got = run(engine, |b| {
            let (image, logits) = (b.import(&image), b.import(&logits));
            refine(b, image, logits, iterations, dilations)
        });
        compare(&format!("PAMR, {name}"), &values(engine, &got), &floats(file, &format!("functions.pamr.{name}")), LIMIT)?;
    }
    Ok(())
}

/// PAMR inside SCLIP's harness: guided by the model's input brought to the output's size.
fn refinement_of_windows(engine: &Engine, file: &Weights, vit: &Weights) -> Result<(), String> {
    // The upper left 200 x 150 of a 224 x 224 picture.
    let all = floats(vit, "size_224.pixels");
    let [width, height] = INPUT.map(|s| s as usize);
    let cut: Vec<f32> = (0..3 * height).flat_map(|i| all[(i / height * 224 + i % height) * 224..][..width].to_vec()).collect();
    let image = upload(engine, &[3, INPUT[1], INPUT[0]], &cut);
    let logits = upload(engine, &[9, OUTPUT[1], OUTPUT[0]], &floats(file, "harness.sclip.slide_logits"));
    let got = run(engine, |b| {
        let (image, logits) = (b.import(&image), b.import(&logits));
        let image = ops::upsample(b, "upsample", image, INPUT, OUTPUT)?;
        refine(b, image, logits, 10, &[8, 16])
    });
    compare("PAMR of windows", &values(engine, &got), &floats(file, "harness.sclip.slide_pamr_logits"), LIMIT)
}

/// Classes and their probabilities from logits `[9, H, W]`: softmax, several names a class, area rule, threshold.
pub fn choice_of(
    engine: &Engine,
    logits: &Tensor,
    scale: f32,
    threshold: f32,
    area: Option<f32>,
    normalised: bool,
) -> (Vec<u32>, Vec<f32>) {
    let pixels = logits.shape()[1] * logits.shape()[2];
    let choose = |removed: &[usize], threshold: f32, which: fn(&Winner) -> Value| {
        let rules = ops::segment_rules(&CLASS_OF_NAME, removed, threshold);
        let rules = engine.gpu().upload("rules", &[rules.len() as u32], DType::U32, &rules).unwrap();
        let out = run(engine, |b| {
            let logits = b.import(logits);
            let winner = Winner::new(b, 1, pixels, normalised)?;
            ops::segment(b, "segment", logits, 0, 0, &rules, scale, &winner)?;
            Ok(which(&winner))
        });
        bytes(engine, &out)
    };
    let labels =
        |removed: &[usize], threshold: f32| -> Vec<u32> { bytemuck::pod_collect_to_vec(&choose(removed, threshold, |w| w.classes)) };
    let removed = area.map_or(Vec::new(), |share| {
        let mut areas = vec![0; 5];
        labels(&[], 0.0).iter().for_each(|&class| areas[class as usize] += 1);
        too_small(&areas, share)
    });
    (labels(&removed, threshold), bytemuck::pod_collect_to_vec(&choose(&removed, threshold, |w| w.confidence)))
}

/// The harness's choice.
fn choice(engine: &Engine, file: &Weights) -> Result<(), String> {
    let logits = upload(engine, &[9, OUTPUT[1], OUTPUT[0]], &floats(file, "harness.sclip.slide_logits"));
    for (name, scale, threshold, area) in
        [("a", 40.0, 0.0, None), ("b", 40.0, 0.25, None), ("c", 65.0, 0.25, Some(0.1)), ("d", 40.0, 0.0, Some(0.02))]
    {
        let (got, confidence) = choice_of(engine, &logits, scale, threshold, area, false);
        let (pixels, want) = (got.len(), ints(file, &format!("harness.sclip.{name}.labels")));
        let wrong = got.iter().zip(&want).filter(|(g, w)| g != w).count();
        if got.len() != want.len() || wrong > 0 {
            return Err(format!("harness {name}: {wrong} of {} labels differ", want.len()));
        }
        // The published probabilities are those of the classes; the winner's is the largest of them.
        let probabilities = floats(file, &format!("harness.sclip.{name}.probabilities"));
        let largest: Vec<f32> = (0..pixels).map(|i| (0..5).map(|c| probabilities[c * pixels + i]).fold(0.0, f32::max)).collect();
        compare(&format!("harness {name}, probability"), &confidence, &largest, LIMIT)?;
    }
    Ok(())
}

/// All of it; needs the full folder.
pub fn published(golden: &Golden) -> Result<(), String> {
    let engine = pollster::block_on(Engine::new(Default::default())).map_err(|e| e.to_string())?;
    let (methods, vit) = (golden.expected("methods"), golden.expected("vit"));
    refinement(&engine, &methods)?;
    refinement_of_windows(&engine, &methods, &vit)?;
    choice(&engine, &methods)
}
