//! Whole harnesses, from pixels to labels, with the tower in plain Rust and all that follows on the GPU: ClearCLIP's padded
//! windows and NACLIP's way from the grid by the input to the output.

use crate::golden::{Golden, SIMILARITY, Tolerance, compare, floats, ints};
use crate::segmentation::{INPUT, OUTPUT, choice_of, refine, run, upload, values};
use crate::twin::{self, EMBED, PATCH, Twin};
use lancet::Engine;
use lancet::explain::segment::view::window_starts;
use lancet::gpu::Tensor;
use lancet::ops;
use lancet::reference::{Projection, Windows, l2_normalize, similarity};
use lancet::weights::Weights;

/// The original in f32 is 2.4e-5 from itself in f64.
const PROBABILITIES: Tolerance = Tolerance { rel_l2: 1e-4, max_abs: 1e-4 };
const NAMES: usize = 9;

/// The last block's own output alone, no residual and no MLP, with these attention logits.
fn reduced(tower: &Twin, pixels: &[f32], size: [usize; 2], pair: Projection, add: &[f32]) -> Vec<f32> {
    let x = tower.before_last(pixels, size);
    let tokens = x.len() / twin::WIDTH;
    let qkv = tower.qkv(tower.blocks - 1, &x);
    let mut logits = twin::logits(&qkv, pair);
    for head in logits.chunks_exact_mut(tokens * tokens) {
        head.iter_mut().zip(add).for_each(|(v, add)| *v += add);
    }
    tower.features(&tower.project(tower.blocks - 1, &twin::weighted(&qkv, &twin::weights(&logits, tokens))))
}

/// exp(-d^2 / (2 sigma^2)) between patches, sigma 5; 0 for the class token.
fn window(grid: [usize; 2]) -> Vec<f32> {
    let tokens = 1 + grid[0] * grid[1];
    let place = |token: usize| [(token - 1) % grid[0], (token - 1) / grid[0]].map(|v| v as f64);
    let one = |a: usize, b: usize| {
        if a == 0 || b == 0 {
            return 0.0;
        }
        let ([ax, ay], [bx, by]) = (place(a), place(b));
        (-((ax - bx).powi(2) + (ay - by).powi(2)) / 50.0).exp() as f32
    };
    (0..tokens * tokens).map(|i| one(i / tokens, i % tokens)).collect()
}

/// Windows of `[3, H, W]` through the tower and joined: maps `[9, H, W]`.
fn joined(engine: &Engine, pixels: &[f32], texts: &[f32], windows: &Windows, features: impl Fn(&[f32], [usize; 2]) -> Vec<f32>) -> Tensor {
    let padded = [0, 1].map(|axis| windows.before[axis] + windows.size[axis] + windows.after[axis]);
    let mut scores = Vec::new();
    for &y in &windows.rows {
        for &x in &windows.columns {
            let inside = twin::cut(pixels, windows.canvas, [x, y], windows.size);
            let mut planes = vec![0.0; 3 * padded[0] * padded[1]];
            for (i, row) in inside.chunks_exact(windows.size[0]).enumerate() {
                let (plane, line) = (i / windows.size[1], i % windows.size[1]);
                let at = (plane * padded[1] + windows.before[1] + line) * padded[0] + windows.before[0];
                planes[at..at + row.len()].copy_from_slice(row);
            }
            scores.extend(similarity(&l2_normalize(&features(&planes, padded), EMBED), texts, EMBED));
        }
    }
    let scores = upload(engine, &[(scores.len() / NAMES) as u32, NAMES as u32], &scores);
    let grid = padded.map(|s| (s / PATCH) as u32);
    run(engine, |b| {
        let scores = b.import(&scores);
        ops::stitch(b, "stitch", scores, grid, windows, 0..NAMES as u32)
    })
}

fn windows(crop: u32, stride: u32, pad: bool) -> Windows {
    let [columns, rows] = INPUT.map(|s| window_starts(s, crop, stride).into_iter().map(|s| s as usize).collect::<Vec<_>>());
    let size = INPUT.map(|s| s.min(crop) as usize);
    let missing = size.map(|s| if pad { s.next_multiple_of(PATCH) - s } else { 0 });
    Windows {
        canvas: INPUT.map(|s| s as usize),
        size,
        columns,
        rows,
        before: missing.map(|m| m / 2),
        after: missing.map(|m| m.div_ceil(2)),
    }
}

/// Refinement, choice, labels and probabilities of NACLIP's predict.
fn predicted(engine: &Engine, file: &Weights, what: &str, input: &Tensor, pixels: &[f32]) -> Result<(), String> {
    let image = upload(engine, &[3, INPUT[1], INPUT[0]], pixels);
    let refined = run(engine, |b| {
        let (maps, image) = (b.import(input), b.import(&image));
        let maps = ops::upsample(b, "upsample", maps, INPUT, OUTPUT)?;
        let image = ops::upsample(b, "upsample", image, INPUT, OUTPUT)?;
        refine(b, image, maps, 10, &[8, 16])
    });
    let (got, confidence) = choice_of(engine, &refined, 40.0, 0.2, None, true);
    let want = ints(file, &format!("harness.naclip.{what}.labels"));
    let wrong = got.iter().zip(&want).filter(|(g, w)| g != w).count();
    if wrong > 0 || got.len() != want.len() {
        return Err(format!("harness.naclip.{what}.labels: {wrong} of {} differ", want.len()));
    }
    // Published is each class's, the winner's is the largest.
    let all = floats(file, &format!("harness.naclip.{what}.probabilities"));
    let largest: Vec<f32> = (0..got.len()).map(|i| all.iter().skip(i).step_by(got.len()).copied().fold(0.0, f32::max)).collect();
    compare(&format!("harness.naclip.{what}.probabilities"), &confidence, &largest, PROBABILITIES)
}

/// Needs the full folder.
pub fn published(golden: &Golden) -> Result<(), String> {
    let engine = pollster::block_on(Engine::new(Default::default())).map_err(|e| e.to_string())?;
    let (methods, vit) = (golden.expected("methods"), golden.expected("vit"));
    let tower = Twin::open(golden, "openai_vit_f32", 8);
    let texts = &floats(&vit, "ensemble.features")[..NAMES * EMBED];
    let pixels = twin::cut(&floats(&vit, "size_224.pixels"), [224, 224], [0, 0], INPUT.map(|s| s as usize));

    let maps = joined(&engine, &pixels, texts, &windows(160, 80, true), |planes, size| {
        let none = vec![0.0; (1 + size[0] / PATCH * (size[1] / PATCH)).pow(2)];
        reduced(&tower, planes, size, Projection::Query, &none)
    });
    let output = run(&engine, |b| {
        let maps = b.import(&maps);
        ops::upsample(b, "upsample", maps, INPUT, OUTPUT)
    });
    let name = "harness.clearclip.slide_logits_padded";
    compare(name, &values(&engine, &output), &floats(&methods, name), SIMILARITY)?;

    for (what, crop, stride) in [("slide", 112, 56), ("whole", INPUT[0], 1)] {
        let maps = joined(&engine, &pixels, texts, &windows(crop, stride, false), |planes, size| {
            reduced(&tower, planes, size, Projection::Key, &window(size.map(|s| s / PATCH)))
        });
        predicted(&engine, &methods, what, &maps, &pixels)?;
    }
    Ok(())
}
