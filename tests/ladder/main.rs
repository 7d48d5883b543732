//! The golden ladder: every stage of the original PyTorch code, in order, so that a failure names the first wrong one.
//!
//! A committed subset runs always; with `LANCET_GOLDEN` naming the full folder, every case does.

mod bundled;
mod cases;
mod clusters;
mod converted;
mod dense;
mod golden;
mod harness;
mod image_views;
mod methods;
mod points;
mod published;
mod refinements;
mod resnet;
mod same_entity;
mod segmentation;
mod steps;
mod twin;
mod whole_pictures;

use cases::{Case, FULL, SUBSET};
use golden::Golden;
use lancet::gpu::tuning::{ANY, Rule};
use lancet::ops;
use lancet::shape::DType;

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

/// Every kernel that can make a matrix product makes all of them: a ViT's in f32 and f16, a ResNet's, and with K in slices.
#[test]
fn committed_cases_by_every_matmul_kernel() {
    let caps = steps::engine().caps();
    let able = ops::matmul_variants().iter().filter(|v| v.runs(caps, DType::F32, DType::F32, 8));
    for (kernel, slices) in able.flat_map(|v| [(v.kernel, 1), (v.kernel, 3)]) {
        let rule = Rule { act: None, weight: None, m: ANY, n: ANY, k: ANY, kernel, slices };
        println!("{rule}");
        let few: &[Case] = if slices == 1 { &[SUBSET[0], SUBSET[1], SUBSET[3]] } else { &SUBSET[..1] };
        steps::with_rules(vec![rule], || run(few));
    }
}

#[test]
fn bundled_model() {
    bundled::climb().unwrap();
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

/// The other methods' values are in the full folder only.
macro_rules! of_the_full_folder {
    ($($name:ident: $check:path;)+) => {
        $(#[test]
        fn $name() {
            if Golden::is_full() {
                $check(&Golden::open()).unwrap();
            } else {
                println!("LANCET_GOLDEN is not set: {} not compared", stringify!($name).replace('_', " "));
            }
        })+
    };
}

#[test]
fn features_of_methods() {
    println!("{} cases of other methods hold", methods::features(&Golden::open()).unwrap());
}

#[test]
fn windows_of_attention_and_pairs_of_a_first_pass() {
    same_entity::published(&Golden::open()).unwrap();
}

#[test]
fn outliers_and_their_repair() {
    dense::outliers_and_repair(&Golden::open()).unwrap();
}

of_the_full_folder! {
    refinement_and_choice_of_classes: segmentation::published;
    clusters_of_patches_and_their_votes: clusters::published;
    views_of_a_picture_and_closing: image_views::published;
    refined_scores: refinements::published;
    harnesses: harness::published;
    whole_pictures_by_methods: whole_pictures::published;
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
