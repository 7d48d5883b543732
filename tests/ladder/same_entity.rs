//! What NACLIP and ResCLIP add to attention's scores, against their own code.

use crate::golden::{Golden, Tolerance, compare, floats, ints};
use lancet::explain::Feedback;
use lancet::gpu::{PlanBuilder, Source, Tensor, Value};
use lancet::reference::{NO_TOKEN, gaussian_window, l2_normalize};
use lancet::shape::DType;
use lancet::weights::Weights;
use lancet::{Engine, Result, ops};

/// The original builds windows and matrices in f32.
const WINDOW: Tolerance = Tolerance { rel_l2: 1e-6, max_abs: 1e-6 };
/// Rows of a matrix sum to 1, so values are some hundredths.
const MATRIX: Tolerance = Tolerance { rel_l2: 1e-6, max_abs: 1e-7 };
/// Joint embedding of the golden models.
const WIDTH: usize = 96;

/// A bias `[1 + N, R]` without its padding: `[1 + N, 1 + N]`.
fn unpadded(bias: &[f32], tokens: usize) -> Result<Vec<f32>, String> {
    let rows = bias.chunks_exact(tokens.next_multiple_of(4));
    if rows.clone().any(|row| row[tokens..].iter().any(|&v| v != NO_TOKEN)) {
        return Err("padding that attention would see".into());
    }
    Ok(rows.flat_map(|row| row[..tokens].to_vec()).collect())
}

fn windows(file: &Weights) -> Result<(), String> {
    // Names say height x width.
    for (name, grid) in [("7x7", [7, 7]), ("7x10", [10, 7]), ("10x7", [7, 10])] {
        let got = unpadded(&gaussian_window(grid, 5.0), 1 + grid[0] * grid[1])?;
        let want = floats(file, &format!("functions.gaussian_addition.{name}"));
        compare(&format!("Gaussian window {name}"), &got, &want, WINDOW)?;
    }
    Ok(())
}

/// Runs a plan and reads its outputs' memory.
fn run(engine: &Engine, build: impl FnOnce(&mut PlanBuilder) -> Result<Vec<Value>>) -> Vec<Vec<u8>> {
    let mut b = PlanBuilder::new(engine.gpu());
    let outputs = build(&mut b).unwrap();
    outputs.iter().for_each(|&y| b.keep(y));
    let mut plan = b.finish(|r| outputs.iter().map(|&y| r.tensor(y)).collect::<Result<Vec<Tensor>>>()).unwrap();
    let mut encoder = engine.gpu().device.create_command_encoder(&Default::default());
    let tensors = plan.record(&mut encoder, Source::None).unwrap().clone();
    let pending: Vec<_> = tensors.iter().map(|t| t.read(engine.gpu(), &mut encoder).unwrap()).collect();
    engine.gpu().submit(encoder).unwrap();
    pending.into_iter().map(|p| pollster::block_on(p.bytes()).unwrap()).collect()
}

fn upload(engine: &Engine, dims: &[u32], data: &[f32]) -> Tensor {
    engine.gpu().upload("golden", dims, DType::F32, data).unwrap()
}

/// From labels alone.
fn matrices(engine: &Engine, file: &Weights) -> Result<(), String> {
    for (name, grid) in [("4x4", [4, 4]), ("7x7", [7, 7]), ("7x10", [10, 7])] {
        let labels = ints(file, &format!("functions.sfr_matrix.{name}.labels"));
        let labels = engine.gpu().upload("labels", &[1, labels.len() as u32], DType::U32, &labels).unwrap();
        for (rule, path_rule) in [("with_path_rule", true), ("without_path_rule", false)] {
            let out = run(engine, |b| {
                let labels = b.import(&labels);
                let same = ops::same_entity(b, "same_entity", labels, grid, path_rule)?;
                Ok(vec![ops::blur_rows(b, "blur_rows", same, 5.0)?.matrix])
            });
            let got: Vec<f32> = bytemuck::pod_collect_to_vec(&out[0]);
            let stage = format!("functions.sfr_matrix.{name}.{rule}");
            compare(&stage, &got, &floats(file, &stage), MATRIX)?;
        }
    }
    Ok(())
}

/// First passes that are stored: the features with RCS alone.
const PASSES: [(&str, &str, [u32; 2], &[&str]); 3] = [
    ("112", "scene.pixels", [112, 112], &["resclip", "clearclip", "sclip", "vanilla"]),
    ("160", "size_160.pixels", [160, 160], &["resclip"]),
    ("112x160", "size_160.pixels", [160, 112], &["resclip"]),
];
const PATCH: u32 = 16;

/// From a first pass's features to labels and matrix, the bases as a batch; the bias of the second pass as the formula has it.
fn stage(engine: &Engine, methods: &Weights, vit: &Weights) -> Result<(), String> {
    let texts = floats(vit, "ensemble.features");
    for (size, pixels, [width, height], bases) in PASSES {
        let images = bases.len() as u32;
        let tokens = 1 + (width / PATCH) * (height / PATCH);
        let cosines: Vec<f32> = bases.iter().flat_map(|base| first_pass(methods, size, base, &texts)).collect();
        let cosines = upload(engine, &[images * tokens, (texts.len() / WIDTH) as u32], &cosines);
        // The rows of a square picture in the middle.
        let picture = floats(vit, pixels);
        let skip = ((width - height) / 2 * width) as usize;
        let picture: Vec<f32> =
            picture.chunks_exact((width * width) as usize).flat_map(|p| p[skip..][..(width * height) as usize].to_vec()).collect();
        let picture = upload(engine, &[images, 3, height, width], &picture.repeat(images as usize));
        let window = gaussian_window([width / PATCH, height / PATCH].map(|s| s as usize), 5.0);
        let window = upload(engine, &[tokens, tokens.next_multiple_of(4)], &window);
        let out = run(engine, |b| {
            let (pixels, cosines) = (b.import(&picture), b.import(&cosines));
            let found = Feedback::RESCLIP.plan(b, pixels, cosines, PATCH)?;
            let bias = ops::logit_bias(b, "logit_bias", found.related, GAIN, Some(&window))?;
            Ok(vec![found.labels, found.related.matrix, bias])
        });
        let labels: Vec<u32> = bytemuck::pod_collect_to_vec(&out[0]);
        let (matrix, bias): (Vec<f32>, Vec<f32>) = (bytemuck::pod_collect_to_vec(&out[1]), bytemuck::pod_collect_to_vec(&out[2]));
        let tokens = tokens as usize;
        for (i, base) in bases.iter().enumerate() {
            let name = format!("m12.{size}.resclip_{base}");
            let want = ints(methods, &format!("{name}.patch_labels"));
            let got = &labels[i * (tokens - 1)..(i + 1) * (tokens - 1)];
            if got != want {
                return Err(format!("{name}.patch_labels: {got:?}, expected {want:?}"));
            }
            let want = floats(methods, &format!("{name}.sfr_matrix"));
            compare(&format!("{name}.sfr_matrix"), &matrix[i * tokens * tokens..][..tokens * tokens], &want, MATRIX)?;
            let largest = want.iter().copied().fold(0.0, f32::max);
            let gaussian = gaussian_window([width / PATCH, height / PATCH].map(|s| s as usize), 5.0);
            let gaussian = unpadded(&gaussian, tokens)?;
            let want: Vec<f32> = want.iter().zip(gaussian).map(|(m, g)| GAIN * m / largest + g).collect();
            let wide = tokens * tokens.next_multiple_of(4);
            compare(&format!("{name}, bias"), &unpadded(&bias[i * wide..][..wide], tokens)?, &want, BIAS)?;
        }
    }
    Ok(())
}

/// tau and lambda of the stored runs.
const GAIN: f32 = 2.2 * 0.7;
/// Divided by the largest value, the matrix reaches 1.
const BIAS: Tolerance = Tolerance { rel_l2: 1e-6, max_abs: 1e-5 };

/// Cosines of a stored first pass with all texts, `[1 + N, L]`.
fn first_pass(methods: &Weights, size: &str, base: &str, texts: &[f32]) -> Vec<f32> {
    let features = l2_normalize(&floats(methods, &format!("m12.{size}.resclip_{base}_rcs_only.features")), WIDTH);
    lancet::reference::similarity(&features, texts, WIDTH)
}

/// All of it; needs the full folder.
pub fn published(golden: &Golden) -> Result<(), String> {
    let engine = pollster::block_on(Engine::new(Default::default())).map_err(|e| e.to_string())?;
    let methods = golden.expected("methods");
    windows(&methods)?;
    matrices(&engine, &methods)?;
    // First passes are in the full folder only.
    if Golden::is_full() { stage(&engine, &methods, &golden.expected("vit")) } else { Ok(()) }
}
