//! Patches that stand out and their repair, against the code of SC-CLIP.

use crate::golden::{Golden, Tolerance, compare, floats, ints};
use crate::segmentation::{bytes, run, upload, values};
use lancet::gpu::{PlanBuilder, Value};
use lancet::ops;
use lancet::reference::Pair;
use lancet::shape::DType;
use lancet::weights::Weights;
use lancet::{Engine, Result};

/// Ratios of distances, near 1.
const SCORE: Tolerance = Tolerance { rel_l2: 1e-5, max_abs: 1e-4 };
/// Means of at most 8 values.
const MEAN: Tolerance = Tolerance { rel_l2: 1e-6, max_abs: 1e-5 };

const NEIGHBOURS: u32 = 30;
const SHARE: f64 = 0.05;

/// Scores of the patches `tokens - n ..` of one image.
fn scores(b: &mut PlanBuilder, x: Value, tokens: u32, first: u32) -> Result<Value> {
    let distances = ops::gram(b, "distances", x, tokens, first, Pair::Distance, 1.0)?;
    let radii = ops::kth_distance(b, "radii", distances, NEIGHBOURS)?;
    ops::lof(b, "lof", distances, radii, NEIGHBOURS)
}

/// LOF of `n` patches of `width` channels, without a class row and behind one.
fn standing_out(engine: &Engine, file: &Weights, name: &str, input: &str, n: u32, width: u32) -> std::result::Result<(), String> {
    let patches = floats(file, &format!("{name}.{input}"));
    for first in [0, 1] {
        let x = [vec![1e3; (first * width) as usize], patches.clone()].concat();
        let x = upload(engine, &[first + n, width], &x);
        let got = run(engine, |b| {
            let x = b.import(&x);
            scores(b, x, first + n, first)
        });
        compare(&format!("{name}, scores"), &values(engine, &got), &floats(file, &format!("{name}.scores")), SCORE)?;
        let got = run(engine, |b| {
            let x = b.import(&x);
            let scores = scores(b, x, first + n, first)?;
            ops::outliers(b, "outliers", scores, SHARE)
        });
        let marks: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes(engine, &got));
        let found: Vec<u32> = (0..n).filter(|&i| marks[i as usize] == 1).collect();
        let mut expected = ints(file, &format!("{name}.outlier_indices"));
        expected.sort_unstable();
        if found != expected {
            return Err(format!("{name}: patches {found:?} stand out, expected {expected:?}"));
        }
    }
    Ok(())
}

/// Patches of one image, repaired.
fn repaired(engine: &Engine, patches: &[f32], marks: &[u32], [w, h]: [u32; 2], width: u32) -> Vec<f32> {
    // A class row in front; it must not count as a neighbour.
    let x = upload(engine, &[1 + w * h, width], &[vec![1e3; width as usize], patches.to_vec()].concat());
    let marks = engine.gpu().upload("golden", &[1, w * h], DType::U32, marks).unwrap();
    let got = run(engine, |b| {
        let (x, marks) = (b.import(&x), b.import(&marks));
        ops::repair(b, "repair", x, marks, [w, h])
    });
    values(engine, &got).split_off(width as usize)
}

/// All that the folder has.
pub fn outliers_and_repair(golden: &Golden) -> std::result::Result<(), String> {
    let engine = pollster::block_on(Engine::new(Default::default())).map_err(|e| e.to_string())?;
    let file = golden.expected("methods");
    standing_out(&engine, &file, "functions.lof_196", "input", 196, 24)?;
    for (size, n) in [("112", 49), ("160", 100), ("160x112", 70)] {
        let name = format!("m12.{size}.scclip.lof");
        // The committed part has one of them.
        if Golden::is_full() || file.shape(&format!("{name}.scores")).is_some() {
            standing_out(&engine, &file, &name, "input_patches", n, 128)?;
        }
    }

    let mask = file.raw("functions.repair_14x14.mask").ok_or("no mask")?;
    let marks: Vec<u32> = mask.iter().map(|&m| u32::from(m != 0)).collect();
    let got = repaired(&engine, &floats(&file, "functions.repair_14x14.input"), &marks, [14, 14], 24);
    compare("repair, 14x14", &got, &floats(&file, "functions.repair_14x14.output"), MEAN)?;

    // The original repairs the wrong cells of grids that are not square.
    for (size, side) in [("112", 7u32), ("160", 10)] {
        let name = format!("m12.{size}.scclip");
        if !Golden::is_full() && file.shape(&format!("{name}.repaired_last")).is_none() {
            continue;
        }
        let outliers = ints(&file, &format!("{name}.lof.outlier_indices"));
        let n = side * side;
        let marks: Vec<u32> = (0..n).map(|i| u32::from(outliers.contains(&i))).collect();
        let got = repaired(&engine, &floats(&file, &format!("{name}.lof.input_patches")), &marks, [side, side], 128);
        // Expected with channels first.
        let planes = floats(&file, &format!("{name}.repaired_last"));
        let expected: Vec<f32> = (0..n as usize * 128).map(|i| planes[i % 128 * n as usize + i / 128]).collect();
        compare(&format!("{name}, repaired"), &got, &expected, MEAN)?;
    }
    Ok(())
}
