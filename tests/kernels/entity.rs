//! From classes of pixels to a bias between patches.

use crate::Case;
use crate::common::{self, FEW_ROUNDINGS, Random, Tolerance, rigs, run, upload, upload_u32};
use lancet::explain::Feedback;
use lancet::gpu::{PlanBuilder, Value};
use lancet::ops;
use lancet::reference::{self, NO_TOKEN, Windows};
use lancet::shape::DType;
use lancet::{Error, Result};
use std::borrow::Cow;

pub fn patch_modes(case: &Case) {
    // Images, size, side of a patch, classes.
    let table = [
        (1u32, [1u32, 1u32], 1u32, 1u32),
        (2, [50, 77], 7, 2),
        (3, [112, 160], 16, 7),
        (1, [230, 197], 14, 3000),
        (2, [96, 65], 32, 150),
        (1, [33, 31], 31, 5000),
        (1, [257, 257], 1, 1 << 24), // 66,049 workgroups: folded
    ];
    for (images, size, side, classes) in table {
        let mut random = Random::new(u64::from(side));
        // Blots of a few classes, as pictures have them, and everything else among them; ties are frequent.
        let draw = |i: u32, random: &mut Random| match random.below(3) {
            0 => random.below(classes),
            _ => (i % size[0] / 5 + i / size[0] / 9) * 37 % classes,
        };
        let pixels: Vec<u32> = (0..images * size[0] * size[1]).map(|i| draw(i, &mut random)).collect();
        let tensor = upload_u32(case.rig, &[images, size[1], size[0]], &pixels);
        let got = run(case.rig, |b| {
            let classes = b.import(&tensor);
            ops::patch_modes(b, "y", classes, size, side)
        });
        let want = reference::patch_modes(&pixels, size.map(|s| s as usize), side as usize);
        case.exact(&format!("{images} images {size:?} of {classes} classes, patches of {side}"), &got, &want);
    }
}

/// Labels of a grid with regions, islands in them and stray patches.
fn labels(images: u32, [width, height]: [u32; 2], seed: u64) -> Vec<u32> {
    let mut random = Random::new(seed);
    let one = |i: u32| {
        let (x, y) = (i % width, i / width % height);
        let region = (x * 3 / width + y * 2 / height) % 3;
        if random.below(6) == 0 { random.below(4) } else { region }
    };
    (0..images * width * height).map(one).collect()
}

/// Images and grids, (width, height): D odd, even, 0, and longer than a workgroup.
const GRIDS: [(u32, [u32; 2]); 8] =
    [(1, [1, 1]), (2, [4, 4]), (3, [7, 7]), (1, [10, 7]), (2, [7, 11]), (1, [77, 1]), (1, [2, 100]), (2, [32, 32])];

pub fn same_entity(case: &Case) {
    for ((images, grid), path_rule) in GRIDS.into_iter().flat_map(|grid| [(grid, true), (grid, false)]) {
        let labels = labels(images, grid, u64::from(grid[0]));
        let tensor = upload_u32(case.rig, &[images, grid[0] * grid[1]], &labels);
        let got = run(case.rig, |b| {
            let labels = b.import(&tensor);
            ops::same_entity(b, "y", labels, grid, path_rule)
        });
        let want = reference::same_entity(&labels, grid.map(|s| s as usize), path_rule);
        case.close(&format!("{images} images, grid {grid:?}, path rule {path_rule}"), &got, &want, FEW_ROUNDINGS);
        if grid[0] * grid[1] > 15 {
            assert_eq!(want.iter().any(|&v| v > 0.0 && v < 1.0), path_rule, "something lies between");
        }
    }
}

pub fn blur_rows(case: &Case) {
    for (images, patches, sigma) in
        [(1u32, 1u32, 5.0f32), (2, 7, 5.0), (3, 49, 5.0), (1, 76, 0.4), (2, 196, 5.0), (1, 256, 20.0), (1, 1024, 5.0)]
    {
        let count = (images * patches * patches) as usize;
        let mut same: Vec<f32> = Random::new(u64::from(patches)).floats(count, 1.0, DType::F32).iter().map(|v| v.max(0.0)).collect();
        // A patch is itself: no row is empty.
        (0..images * patches).for_each(|row| same[(row * patches + row % patches) as usize] = 1.0);
        let tensor = upload(case.rig, &[images, patches, patches], DType::F32, &same);
        let taps = reference::gaussian_taps(patches as usize, sigma);
        let (m, peaks) = reference::blur_rows(&same, patches as usize, &taps);
        // Sums of positive terms: as good as their terms but for some roundings.
        let limit = Tolerance { absolute: 1e-7, relative: 5e-6 };
        let what = format!("{images} x {patches} patches, sigma {sigma}");
        let got = run(case.rig, |b| {
            let same = b.import(&tensor);
            Ok(ops::blur_rows(b, "y", same, sigma)?.matrix)
        });
        case.close(&what, &got, &m, limit);
        // The largest values are no output, but what a bias of gain 1 divides by.
        let largest = peaks.chunks_exact(1 + patches as usize).map(|of_one| of_one.iter().copied().fold(0.0, f32::max));
        let m_largest = m.chunks_exact((1 + patches as usize).pow(2)).map(|of_one| of_one.iter().copied().fold(0.0, f32::max));
        assert!(largest.eq(m_largest), "{what}: the definition's own maxima");
    }
}

pub fn logit_bias(case: &Case) {
    for (images, patches, windowed) in [(1u32, 1u32, true), (3, 6, false), (2, 49, true), (2, 76, false), (1, 256, true), (2, 1024, true)] {
        let tokens = (1 + patches) as usize;
        // Far from equal in their maxima.
        let same: Vec<f32> = Random::new(u64::from(patches))
            .floats((images * patches * patches) as usize, 1.0, DType::F32)
            .iter()
            .map(|v| v.abs())
            .collect();
        let same: Vec<f32> = same.iter().enumerate().map(|(i, v)| v.powi(1 + 9 * (i as i32 / (patches * patches) as i32))).collect();
        let window = reference::gaussian_window([patches as usize, 1], 2.0);
        let (st, wt) = (
            upload(case.rig, &[images, patches, patches], DType::F32, &same),
            upload(case.rig, &[tokens as u32, tokens.next_multiple_of(4) as u32], DType::F32, &window),
        );
        let got = run(case.rig, |b| {
            let same = b.import(&st);
            let related = ops::blur_rows(b, "related", same, 0.5)?;
            ops::logit_bias(b, "y", related, 1.4, windowed.then_some(&wt))
        });
        let (m, _) = reference::blur_rows(&same, patches as usize, &reference::gaussian_taps(patches as usize, 0.5));
        let want = reference::logit_bias(&m, tokens, 1.4, windowed.then_some(&window));
        let what = format!("{images} x {patches} patches, window {windowed}");
        // The blur's limit, doubled by its maximum.
        case.close(&what, &got, &want, Tolerance { absolute: 1e-6, relative: 1e-5 });
        let padding = got.floats().chunks_exact(tokens.next_multiple_of(4)).all(|row| row[tokens..].iter().all(|&v| v == NO_TOKEN));
        assert!(padding, "{}", case.label(&what));
    }
}

/// Two pictures in one plan, each as the definitions have it alone; patches do not cover the picture.
#[test]
fn a_batch_of_feedback_is_each_image_alone() {
    let ([width, height], side, names, images) = ([50usize, 40usize], 7usize, 5usize, 2usize);
    let grid = [width / side, height / side];
    let tokens = 1 + grid[0] * grid[1];
    let feedback = Feedback { threshold: 0.3, iterations: 3, dilations: Cow::Borrowed(&[1, 4]), ..Feedback::RESCLIP };
    let pixels = Random::new(5).floats(images * 3 * width * height, 1.0, DType::F32);
    let cosines = Random::new(6).floats(images * tokens * names, 0.05, DType::F32);

    let whole = Windows { canvas: [width, height], size: [width, height], columns: vec![0], rows: vec![0], before: [0; 2], after: [0; 2] };
    let (mut labels, mut matrices, mut unsure) = (Vec::new(), Vec::new(), 0);
    for (pixels, cosines) in pixels.chunks_exact(3 * width * height).zip(cosines.chunks_exact(tokens * names)) {
        let weights = reference::pamr_weights(pixels, [width, height], &[1, 4]);
        let maps = reference::stitch(cosines, names, grid, &whole, 0..names);
        let maps = (0..3).fold(maps, |maps, _| reference::pamr(&maps, &weights, [width, height], &[1, 4]));
        let (classes, confidence) = reference::segment(&maps, width * height, &[0, 1, 2, 3, 4], &[], 40.0, 0.3, false);
        unsure += confidence.iter().filter(|&&v| v < 0.3).count();
        let modes = reference::patch_modes(&classes, [width, height], side);
        let same = reference::same_entity(&modes, grid, true);
        matrices.extend(reference::blur_rows(&same, tokens - 1, &reference::gaussian_taps(tokens - 1, 5.0)).0);
        labels.extend(modes);
    }
    assert!(unsure > 100 && labels[..tokens - 1] != labels[tokens - 1..] && labels.contains(&0) && labels.contains(&4));

    for rig in rigs() {
        let pixels = upload(rig, &[images as u32, 3, height as u32, width as u32], DType::F32, &pixels);
        let cosines = upload(rig, &[(images * tokens) as u32, names as u32], DType::F32, &cosines);
        let plan = |b: &mut PlanBuilder| {
            let (pixels, cosines) = (b.import(&pixels), b.import(&cosines));
            feedback.plan(b, pixels, cosines, side as u32)
        };
        let got = run(rig, |b| Ok(plan(b)?.labels));
        common::assert_exact("labels", &got.shape, &got.words(), &labels);
        let got = run(rig, |b| Ok(plan(b)?.related.matrix));
        common::assert_close("matrix", &got, &matrices, Tolerance { absolute: 1e-7, relative: 5e-6 });
    }
}

/// What means nothing is refused, before anything is planned.
#[test]
fn feedback_refuses_what_means_nothing() {
    let rig = common::default_rig();
    let good = Feedback::RESCLIP;
    good.check().expect("the published values");
    for (bad, part) in [
        (Feedback { logit_scale: 0.0, ..good.clone() }, "logit scale"),
        (Feedback { logit_scale: f32::NAN, ..good.clone() }, "logit scale"),
        (Feedback { threshold: 1.5, ..good.clone() }, "threshold"),
        (Feedback { iterations: 101, ..good.clone() }, "iterations"),
        (Feedback { dilations: Cow::Borrowed(&[]), ..good.clone() }, "dilations"),
        (Feedback { sigma: -1.0, ..good.clone() }, "sigma"),
    ] {
        let message = bad.check().expect_err("accepted").to_string();
        assert!(message.contains(part), "no {part} in: {message}");
    }
    let refused = |dims: [u32; 4], rows: u32, side: u32, part: &str| {
        let (pixels, cosines) = (vec![0.0; dims.iter().product::<u32>() as usize], vec![0.0; 3 * rows as usize]);
        let (pixels, cosines) = (upload(rig, &dims, DType::F32, &pixels), upload(rig, &[rows, 3], DType::F32, &cosines));
        let mut b = PlanBuilder::new(rig.engine.gpu());
        let (pixels, cosines): (Value, Value) = (b.import(&pixels), b.import(&cosines));
        let result: Result<_> = good.plan(&mut b, pixels, cosines, side);
        let error: Error = result.expect_err("accepted");
        assert!(error.to_string().contains(part), "no {part} in: {error}");
    };
    refused([1, 1, 64, 64], 17, 16, "pixels");
    refused([1, 3, 64, 64], 16, 16, "cosines");
    refused([2, 3, 64, 64], 17, 16, "[2 x 17, L]");
    refused([1, 3, 64, 64], 17, 0, "side");
    refused([1, 3, 80, 80], 5, 40, "1 to 32");
}

pub fn window_bias(case: &Case) {
    for (images, grid, heads, columns) in
        [(1u32, [1u32, 1u32], (1, 4), (0u32, 1u32)), (3, [3, 2], (2, 64), (0, 1)), (2, [14, 14], (3, 48), (2, 1))]
    {
        for act in [DType::F32, DType::F16] {
            let heads = reference::Heads { heads: heads.0, size: heads.1 };
            let (tokens, width) = (1 + grid[0] * grid[1], (heads.heads * heads.size) as u32);
            let qkv = Random::new(u64::from(tokens)).floats((images * tokens * 3 * width) as usize, 2.0, act);
            let window = reference::gaussian_window(grid.map(|side| side as usize), 5.0);
            let row = tokens.next_multiple_of(4);
            let (x, w) =
                (upload(case.rig, &[images * tokens, 3 * width], act, &qkv), upload(case.rig, &[tokens, row], DType::F32, &window));
            let got = run(case.rig, |b| {
                let x = b.import(&x);
                ops::window_bias(b, "y", x, columns, heads, tokens, &w, 0.125)
            });
            let pair = (columns.0 as usize, columns.1 as usize);
            let want = reference::window_bias(&qkv, &window, tokens as usize, 3 * width as usize, pair, heads, 0.125);
            case.close(&format!("{images} x {grid:?}, {heads:?}, {act}"), &got, &want, FEW_ROUNDINGS);
        }
    }
}
