//! AnoCLIP on the bundled model against the formulas computed in plain Rust, block by block.
#![cfg(feature = "cli")]

#[path = "common/mod.rs"]
mod common;
#[path = "common/vit.rs"]
mod vit;

use common::{Random, default_rig};
use lancet::clip::{LabelCache, States, Templates, VisionPath};
use lancet::explain::{ANOCLIP, AnomalyDetector};
use lancet::reference::{self as plain, Activation, Align};
use lancet::shape::DType;
use lancet::weights::Stored;
use lancet::{Clip, Explainer, Image, Method, Weights};
use pollster::block_on;
use std::path::{Path, PathBuf};
use vit::PlainVit;

/// Probabilities near 0.5 of cosines that are good to 1e-5 after six blocks.
const SAME: f32 = 1e-5;

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/demo/open_clip_model.safetensors")
}

fn demo() -> Clip {
    Clip::load(&default_rig().engine, &Weights::open(model()).unwrap(), Default::default()).unwrap()
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The bundled model and its vision tower on slices.
struct Tower {
    clip: Clip,
    weights: Weights,
}

impl Tower {
    fn tensor(&self, name: &str) -> Vec<f32> {
        self.weights.floats(&Stored::Plain(format!("visual.{name}")), "the bundled model").unwrap()
    }

    /// Unit features `[1 + N, D]` of packed RGBA8 pixels of the model's own size, the last `blocks` blocks dual.
    fn features(&self, rgba: &[u8], blocks: usize) -> Vec<f32> {
        let config = self.clip.config();
        let normed = PlainVit { config, tensor: &|name| self.tensor(name) }.tokens(rgba, blocks);
        // Stored as [C, D].
        let (d, width) = (config.embed as usize, config.vision.width() as usize);
        let stored = self.tensor("proj");
        let proj: Vec<f32> = (0..d).flat_map(|row| stored.iter().skip(row).step_by(d).copied()).collect();
        plain::l2_normalize(&plain::matmul(&normed, &proj, [normed.len() / width, width, d], None, Activation::None, None), d)
    }
}

#[test]
fn maps_are_those_of_the_formulas() {
    let tower = Tower { clip: demo(), weights: Weights::open(model()).unwrap() };
    let clip = &tower.clip;
    let side = clip.config().image_size();
    let grid = [side / clip.config().patch; 2].map(|n| n as usize);
    let rgba = Random::new(11).bytes((side * side * 4) as usize);
    let image = Image::new([side; 2], &rgba).unwrap();
    let states = block_on(clip.states(&States::phrases().unwrap(), "bear", None, |_, _| {})).unwrap();

    let features = tower.features(&rgba, usize::MAX / 2);
    let cosines = plain::similarity(&features, states.embeddings(), states.width());
    let scores = plain::state_scores(&cosines, 2, 1.0);
    let maps = plain::mean_filter(&scores, 2, grid);
    // A size that is no multiple of the grid's, so that resizing counts.
    let want = plain::upsample_aligned(&maps[grid[0] * grid[1]..], 1, grid, [side as usize; 2], Align::Corners);

    let found = block_on(AnomalyDetector::new(clip, &states, &ANOCLIP).unwrap().detect(&image, [side; 2])).unwrap();
    assert_eq!((found.size, found.grid), ([side; 2], grid.map(|n| n as u32)));
    assert!(furthest(&found.map, &want) < SAME, "the map is {:e} off", furthest(&found.map, &want));
    // The test means something: the map varies by more than its tolerance.
    let (low, high) = want.iter().fold((1.0f32, 0.0f32), |(l, h), &v| (l.min(v), h.max(v)));
    assert!(high - low > 100.0 * SAME, "{low} to {high}");
    assert!((found.score - high).abs() < SAME && (found.class_score - scores[1]).abs() < SAME);
    assert_eq!(found.map[(found.peak[1] * side + found.peak[0]) as usize], found.score);

    // The class row is plain CLIP's for any number of blocks, and no block changed is plain CLIP.
    let ordinary = tower.features(&rgba, 0);
    let plain_cosines = plain::similarity(&ordinary, states.embeddings(), states.width());
    for blocks in [1, 3, u32::MAX] {
        let method = Method { vision: VisionPath { blocks, ..ANOCLIP.vision }, ..ANOCLIP };
        let scores = block_on(Explainer::new(clip, &states, &method).unwrap().score(&[image], [side; 2])).unwrap();
        assert!(furthest(&scores.class_cosines, &plain_cosines[..2]) < SAME, "{blocks} blocks");
    }
    let dense = block_on(Explainer::new(clip, &states, &Method::CLIP).unwrap().score(&[image], [side; 2])).unwrap();
    let by_patch: Vec<f32> = (0..2).flat_map(|l| plain_cosines.chunks_exact(2).skip(1).map(move |row| row[l])).collect();
    assert!(furthest(&dense.patches, &by_patch) < SAME);
}

#[test]
fn states_are_means_of_features_as_they_are() {
    let clip = demo();
    let states = States::parse("[normal]\n{}\nlovely {}\n[abnormal]\nsad {}\n[templates]\na photo of a {}.\nthe {} in a park\n").unwrap();
    let found = block_on(clip.states(&states, " bear ", None, |_, _| {})).unwrap();
    assert_eq!(found.names(), ["normal bear", "abnormal bear"]);
    let d = clip.config().embed as usize;
    let (mut raw, mut unit) = (Vec::new(), Vec::new());
    for state in [states.normal(), states.abnormal()] {
        let prompts = state.fill("bear");
        let features = block_on(clip.encode_text(&prompts)).unwrap();
        raw.extend(plain::ensemble(&features, prompts.len(), d));
        unit.extend(plain::ensemble(&plain::l2_normalize(&features, d), prompts.len(), d));
    }
    assert!(furthest(found.embeddings(), &raw) < 2e-6, "{:e}", furthest(found.embeddings(), &raw));
    assert!(furthest(found.embeddings(), &unit) > 2e-5, "lengths of features count");
    // The cache tells both averages of the same prompts apart, whichever comes first.
    let folder = tempfile::tempdir().unwrap();
    let cache = LabelCache::new(folder.path());
    let unit_normal = Templates::parse(&states.normal().list().join("\n")).unwrap();
    let as_label = block_on(clip.labels_cached(&["bear".into()], &unit_normal, Some(&cache), |_, _| {})).unwrap();
    for _ in 0..2 {
        let again = block_on(clip.states(&states, "bear", Some(&cache), |_, _| {})).unwrap();
        assert!(furthest(again.embeddings(), found.embeddings()) < 2e-6);
        assert!(furthest(&again.embeddings()[..d], as_label.embeddings()) > 2e-5);
    }
    assert!(block_on(clip.states(&states, "  ", None, |_, _| {})).is_err(), "no object");
}

#[test]
fn detectors_that_mean_nothing_are_refused() {
    let clip = demo();
    let d = clip.config().embed as usize;
    let unit = Random::new(3).units(4, d);
    let labels = |n: usize| {
        let names = (0..n).map(|i| i.to_string()).collect();
        lancet::Labels::new(names, unit[..n * d].to_vec(), unit[3 * d..].to_vec(), d).unwrap()
    };
    for (n, method, word) in [(1, &ANOCLIP, "abnormal"), (3, &ANOCLIP, "abnormal"), (2, &Method::SURGERY, "surgery")] {
        let said = AnomalyDetector::new(&clip, &labels(n), method).unwrap_err().to_string();
        assert!(said.contains(word), "{said}");
    }
    // One state has the probability 1 everywhere.
    assert!(Explainer::new(&clip, &labels(1), &ANOCLIP).unwrap_err().to_string().contains("one label"));
    let pixels = Random::new(5).floats(8, 1.0, DType::F32);
    assert_eq!(plain::state_scores(&pixels, 1, 1.0), vec![1.0; 8]);
}

#[test]
fn several_images_of_several_sizes_are_those_one_by_one() {
    let clip = demo();
    let states = block_on(clip.states(&States::phrases().unwrap(), "tree", None, |_, _| {})).unwrap();
    let detector = AnomalyDetector::new(&clip, &states, &ANOCLIP).unwrap();
    let sizes = [[60u32, 40u32], [33, 97], [60, 40], [1700, 1300]];
    let pictures: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(i, s)| Random::new(i as u64).bytes((s[0] * s[1] * 4) as usize)).collect();
    let images: Vec<Image<'_>> = sizes.iter().zip(&pictures).map(|(&size, rgba)| Image::new(size, rgba).unwrap()).collect();
    // The last one's maps are more than one piece holds.
    let mut stream = detector.stream([64, 48], Some(2)).unwrap();
    images.iter().for_each(|image| assert!(stream.push(image).is_ok()));
    for (i, image) in images.iter().enumerate() {
        let (number, found) = block_on(stream.next()).unwrap().unwrap();
        assert_eq!((number, found.size, found.grid), (i as u64, image.size(), [8, 6]));
        assert_eq!(found, block_on(detector.detect(image, [64, 48])).unwrap(), "image {i}");
        assert_eq!(found.map[(found.peak[1] * found.size[0] + found.peak[0]) as usize], found.score);
    }
    assert!(block_on(stream.next()).unwrap().is_none());
}
