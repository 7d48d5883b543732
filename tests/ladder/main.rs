//! The golden ladder: every stage of the original PyTorch code, in order, so that a failure names the first wrong one.
//!
//! A committed subset runs always; with `LANCET_GOLDEN` naming the full folder, every case does.

mod cases;
mod clusters;
mod converted;
mod dense;
mod golden;
mod methods;
mod points;
mod published;
mod resnet;
mod same_entity;
mod segmentation;
mod steps;

use cases::{Case, FULL, SUBSET};
use golden::Golden;

fn run(cases: &[Case]) {
    let golden = Golden::open();
    let failures: Vec<String> =
        cases.iter().filter_map(|case| steps::climb(&golden, case).err().map(|e| format!("{}: {e}", case.name))).collect();
    assert!(failures.is_empty(), "{} of {} cases fail:\n{}", failures.len(), cases.len(), failures.join("\n"));
    println!("{} golden cases hold", cases.len());
}

#[test]
fn committed_cases() {
    run(SUBSET);
}

#[test]
fn full_cases() {
    if Golden::is_full() {
        run(FULL);
    } else {
        println!("LANCET_GOLDEN is not set: {} further cases not run", FULL.len());
    }
}

#[test]
fn positions() {
    // The subset has no f32 file of the ViT.
    if Golden::is_full() {
        published::positions(&Golden::open()).unwrap();
    } else {
        println!("LANCET_GOLDEN is not set: resampled positions not compared");
    }
}

#[test]
fn methods() {
    // The subset has no file of the other methods.
    if Golden::is_full() {
        let count = methods::features(&Golden::open()).unwrap();
        println!("{count} cases of other methods hold");
    } else {
        println!("LANCET_GOLDEN is not set: the other methods not compared");
    }
}

#[test]
fn resnets() {
    let golden = Golden::open();
    resnet::positions(&golden).unwrap();
    resnet::from_the_picture(&golden).unwrap();
    resnet::intended(&golden).unwrap();
    resnet::values_alone(&golden).unwrap();
    resnet::methods_for_blocks_are_refused(&golden).unwrap();
}

#[test]
fn functions_alone() {
    steps::functions(&Golden::open()).unwrap();
}

#[test]
fn preprocessing() {
    steps::preprocessing(&Golden::open()).unwrap();
}

#[test]
fn points_for_a_segmenter() {
    let golden = Golden::open();
    points::from_expected_scores(&golden).unwrap();
    points::from_pixels(&golden).unwrap();
}

#[test]
fn segmentation() {
    // The subset has no file of the other methods' harnesses.
    if Golden::is_full() {
        segmentation::published(&Golden::open()).unwrap();
    } else {
        println!("LANCET_GOLDEN is not set: refinement and choice of classes not compared");
    }
}

#[test]
fn same_entity() {
    // As above: the other methods' values are in the full folder only.
    if Golden::is_full() {
        same_entity::published(&Golden::open()).unwrap();
    } else {
        println!("LANCET_GOLDEN is not set: windows of attention and what a first pass says of pairs not compared");
fn outliers_and_repair() {
        dense::outliers_and_repair(&Golden::open()).unwrap();
        println!("LANCET_GOLDEN is not set: outliers and their repair not compared");
fn segments_by_clusters() {
        clusters::published(&Golden::open()).unwrap();
        println!("LANCET_GOLDEN is not set: clusters of patches and their votes not compared");
    }
}

/// Each weights file once, in OpenCLIP's layout.
#[test]
fn converted_files() {
    let golden = Golden::open();
    let mut seen = std::collections::HashSet::new();
    let full: &[Case] = if Golden::is_full() { FULL } else { &[] };
    for case in SUBSET.iter().chain(full).filter(|c| seen.insert(c.weights)) {
        converted::climb(&golden, case).unwrap_or_else(|e| panic!("{}: {e}", case.weights));
    }
    if Golden::is_full() {
        converted::resnet(&golden).unwrap();
    }
}
