//! From windows' scores to classes: joining, refining along colours, choosing.

use crate::Case;
use crate::common::{FEW_ROUNDINGS, Random, Tolerance, run, sum_of, upload, upload_u32};
use lancet::ops::{self, Winner};
use lancet::reference::{self, Windows};
use lancet::shape::DType;

pub fn stitch(case: &Case) {
    let whole = |w, h| Windows { canvas: [w, h], size: [w, h], columns: vec![0], rows: vec![0], before: [0; 2], after: [0; 2] };
    let padded = |before, after, windows: &Windows| Windows { before, after, ..windows.clone() };
    let overlapping = Windows { canvas: [50, 77], size: [20, 33], columns: vec![0, 9, 18, 27, 30], rows: vec![0, 30, 44], ..whole(1, 1) };
    let dense = Windows { canvas: [17, 9], size: [5, 3], columns: (0..=12).collect(), rows: (0..=6).collect(), ..whole(1, 1) };
    // 65,664 workgroups: folded.
    let large = Windows { canvas: [2052, 512], size: [1026, 512], columns: vec![0, 500, 1026], rows: vec![0], ..whole(1, 1) };
    let table = [
        (whole(7, 7), [7u32, 7u32], 59u32, 0..59u32, 1u32),
        (whole(1, 1), [1, 1], 2, 1..2, 7),
        (whole(197, 50), [14, 9], 3, 0..3, 2),
        (whole(5, 3), [16, 16], 1, 0..1, 1),
        (padded([2, 0], [3, 1], &overlapping), [5, 7], 9, 2..8, 2),
        (padded([0, 7], [0, 0], &whole(50, 1)), [7, 7], 2, 0..2, 1),
        (overlapping, [3, 4], 9, 2..8, 3),
        (dense, [2, 1], 7, 6..7, 1),
        (large, [2, 3], 5, 1..5, 1),
    ];
    for (windows, grid, labels, chosen, images) in table {
        let one = (windows.columns.len() * windows.rows.len()) as u32 * (1 + grid[0] * grid[1]);
        let rows = images * one;
        let scores = Random::new(u64::from(rows)).floats((rows * labels) as usize, 1.0, DType::F32);
        let tensor = upload(case.rig, &[rows, labels], DType::F32, &scores);
        let got = run(case.rig, |b| {
            let scores = b.import(&tensor);
            ops::stitch(b, "y", scores, grid, &windows, chosen.clone())
        });
        let part = chosen.start as usize..chosen.end as usize;
        let of_one = |scores| reference::stitch(scores, labels as usize, grid.map(|s| s as usize), &windows, part.clone());
        let want: Vec<f32> = scores.chunks_exact((one * labels) as usize).flat_map(of_one).collect();
        // As in upsample: a source position is good to 2^-24 of the grid's side (16), and neighbours differ by 2 at most.
        case.close(
            &format!("{images} images, {windows:?}, labels {chosen:?} of {labels}"),
            &got,
            &want,
            Tolerance { absolute: 1e-5, relative: 0.0 },
        );
    }
}

/// Pictures with flat places and edges beside noise.
fn pictures(count: usize, size: [usize; 2]) -> Vec<f32> {
    let noise = Random::new(9).floats(count * 3 * size[0] * size[1], 0.5, DType::F32);
    let flat = |i: usize| i % size[0] < size[0] / 3;
    noise.iter().enumerate().map(|(i, &v)| if flat(i) { 0.75 } else { v }).collect()
}

/// Pictures, their size, distances.
const REFINED: [(u32, [u32; 2], &[u32]); 6] = [
    (1, [1, 1], &[8, 16]),
    (7, [7, 5], &[1]),
    (2, [50, 77], &[8, 16]),
    (1, [40, 50], &[1, 2, 5]),
    (3, [77, 1], &[3]),
    (1, [197, 257], &[1, 2, 4, 8]),
];

pub fn pamr_weights(case: &Case) {
    for (images, size, dilations) in REFINED {
        let [w, h] = size.map(|s| s as usize);
        let image = pictures(images as usize, [w, h]);
        // A single picture may come without the dimension of images.
        let dims = [images, 3, size[1], size[0]];
        let tensor = upload(case.rig, &dims[usize::from(images == 1)..], DType::F32, &image);
        let got = run(case.rig, |b| {
            let image = b.import(&tensor);
            ops::pamr_weights(b, "w", image, dilations)
        });
        let far: Vec<usize> = dilations.iter().map(|&d| d as usize).collect();
        // Energies reach some 40, and a rounding of one moves its weight by as much again: 40 x 6e-8, sums aside.
        case.close(
            &format!("{images} pictures {size:?}, {dilations:?}"),
            &got,
            &image.chunks_exact(3 * w * h).flat_map(|image| reference::pamr_weights(image, [w, h], &far)).collect::<Vec<_>>(),
            Tolerance { absolute: 1e-6, relative: 2e-5 },
        );
    }
}

pub fn pamr(case: &Case) {
    for ((images, size, dilations), maps) in REFINED.into_iter().zip([1u32, 7, 2, 9, 4, 3]) {
        let [w, h] = size.map(|s| s as usize);
        let neighbours = 8 * dilations.len();
        let values = Random::new(u64::from(maps)).floats((images * maps) as usize * w * h, 1.0, DType::F32);
        let weights = Random::new(3).floats(images as usize * neighbours * w * h, 1.0 / neighbours as f32, DType::F32);
        let mt = upload(case.rig, &[images * maps, size[1], size[0]], DType::F32, &values);
        let wt = upload(case.rig, &[images * neighbours as u32, size[1], size[0]], DType::F32, &weights);
        let got = run(case.rig, |b| {
            let (maps, weights) = (b.import(&mt), b.import(&wt));
            ops::pamr(b, "y", maps, weights, dilations)
        });
        let far: Vec<usize> = dilations.iter().map(|&d| d as usize).collect();
        let each = values.chunks_exact(maps as usize * w * h).zip(weights.chunks_exact(neighbours * w * h));
        let want: Vec<f32> = each.flat_map(|(maps, weights)| reference::pamr(maps, weights, [w, h], &far)).collect();
        case.close(&format!("{images} x {maps} maps {size:?}, {dilations:?}"), &got, &want, sum_of(neighbours, 1.0 / neighbours as f64));
    }
}

pub fn segment(case: &Case) {
    // Images, names, pixels of a plane (rows x columns), pixels skipped, names in a chunk.
    let table = [
        (1u32, 2u32, [1u32, 1u32], 0u32, 2u32),
        (7, 7, [5, 7], 7, 3),
        (1, 59, [50, 77], 0, 59),
        (2, 171, [77, 50], 100, 50),
        (1, 9, [1025, 3], 5, 1),
        (1, 2, [2049, 2050], 0, 2), // 65,633 workgroups: folded
    ];
    for (images, names, [height, width], skip, chunk) in table {
        let plane = height * width;
        let pixels = plane - 2 * skip;
        let logits = Random::new(u64::from(names)).floats((images * names * plane) as usize, 0.3, DType::F32);
        // Two or three names to a class, side by side; class 0 has none in every other case.
        let class_of_name: Vec<u32> = (0..names).map(|n| n * 2 / 5 + names % 2).collect();
        let removed: &[usize] = if names > 7 { &[1, 3] } else { &[] };
        let threshold = (5.0 / names as f32).min(0.7);
        let rules = ops::segment_rules(&class_of_name, removed, threshold);
        let rules = upload_u32(case.rig, &[rules.len() as u32], &rules);
        let inside: Vec<f32> =
            logits.chunks_exact(plane as usize).flat_map(|p| p[skip as usize..(plane - skip) as usize].to_vec()).collect();
        let wide: Vec<usize> = class_of_name.iter().map(|&c| c as usize).collect();
        // Twice the state of the largest picture exceeds a default binding.
        for normalised in [false, true].into_iter().filter(|n| !n || pixels < 4_000_000) {
            let of_one = |logits, normalised| reference::segment(logits, pixels as usize, &wide, removed, 10.0, threshold, normalised);
            let all = |normalised| -> (Vec<Vec<u32>>, Vec<Vec<f32>>) {
                inside.chunks_exact((names * pixels) as usize).map(|logits| of_one(logits, normalised)).unzip()
            };
            let ((classes, confidence), likely) = (all(normalised), all(false).1.concat());
            let (classes, confidence) = (classes.concat(), confidence.concat());
            let build = |b: &mut lancet::gpu::PlanBuilder, which: fn(&Winner) -> lancet::gpu::Value| {
                let winner = Winner::new(b, images, pixels, normalised)?;
                for first in (0..names).step_by(chunk as usize) {
                    let count = chunk.min(names - first);
                    let chunk = (first * plane) as usize..((first + count) * plane) as usize;
                    let part: Vec<f32> =
                        logits.chunks_exact((names * plane) as usize).flat_map(|of_one| of_one[chunk.clone()].to_vec()).collect();
                    let part = b.import(&upload(case.rig, &[images * count, height, width], DType::F32, &part));
                    ops::segment(b, "segment", part, first, skip, &rules, 10.0, &winner)?;
                }
                Ok(which(&winner))
            };
            let what = format!("{images} images, {names} names by {chunk}, {pixels} pixels of {plane}, normalised {normalised}");
            let got = run(case.rig, |b| build(b, |w| w.confidence));
            case.close(&what, &got, &confidence, Tolerance { absolute: FEW_ROUNDINGS.absolute, relative: 1e-5 });
            let got = run(case.rig, |b| build(b, |w| w.classes));
            case.ran(&got);
            // A probability within rounding of the threshold may fall to either side.
            let close = |i: usize| (likely[i] - threshold).abs() < 1e-5;
            let words = got.words();
            let wrong = (0..classes.len()).find(|&i| words[i] != classes[i] && !close(i));
            assert_eq!(wrong, None, "{}", case.label(&what));
            assert!(names < 9 || (classes.contains(&0) && classes.iter().any(|&c| c > 3)), "both outcomes are tested");
        }
    }
}
