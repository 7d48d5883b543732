//! Several methods in one plan: the same scores as each alone, at the price of what they do not share.

use crate::host::{beside_others, input, labels, picture, shared};
use lancet::{Explainer, Image, Method, Scores, SourceKind};

const SIZE: [u32; 2] = [120, 90];
/// The bundled model's own.
const MODEL: [u32; 2] = [96, 96];

/// Scores of one picture by these methods in one plan.
fn together(methods: &[Method]) -> Vec<Scores> {
    let explainer = shared().explainer();
    let pixels = picture(SIZE, 5);
    let mut comparison = explainer.compare(methods).unwrap();
    pollster::block_on(comparison.score(&[Image::new(SIZE, &pixels).unwrap()], MODEL)).unwrap()
}

fn parts(scores: &Scores) -> [&[f32]; 3] {
    [&scores.class_cosines, &scores.class_scores, &scores.patches]
}

/// A plan for one method may fuse what a comparison keeps apart, so sums of the second stream's blocks are rounded in
/// another order: scores, which lie in -1..1, differ by a few roundings and no more.
#[test]
fn every_preset_scores_as_it_does_alone() {
    let _turn = beside_others();
    let pixels = picture(SIZE, 5);
    let image = Image::new(SIZE, &pixels).unwrap();
    for (method, scores) in Method::ALL.iter().zip(together(Method::ALL)) {
        let mut explainer = Explainer::new(&shared().clip, labels(), method).unwrap();
        let alone = pollster::block_on(explainer.score(&[image], MODEL)).unwrap();
        assert_eq!((scores.grid, scores.labels), ([12, 12], labels().names().len()));
        for (together, alone) in parts(&scores).into_iter().zip(parts(&alone)) {
            assert_eq!(together.len(), alone.len());
            let furthest = together.iter().zip(alone).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(furthest <= 5e-6, "{}: {furthest} apart", method.name);
            assert!(alone.iter().any(|v| v.abs() > 1e-3), "{}: nothing but zeros", method.name);
        }
    }
}

#[test]
fn methods_do_not_depend_on_their_neighbours() {
    let _turn = beside_others();
    let all = together(Method::ALL);
    let every_third: Vec<Method> = Method::ALL.iter().step_by(3).cloned().collect();
    let turned: Vec<Method> = Method::ALL.iter().rev().cloned().collect();
    let bits = |scores: &Scores| parts(scores).map(|part| part.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
    for ((few, all), method) in together(&every_third).iter().zip(all.iter().step_by(3)).zip(&every_third) {
        assert_eq!(bits(few), bits(all), "{} without the others", method.name);
    }
    for ((there, here), method) in together(&turned).iter().zip(all.iter().rev()).zip(&turned) {
        assert_eq!(bits(there), bits(here), "{} in another order", method.name);
    }
}

#[test]
fn shared_steps_are_planned_once() {
    let _turn = beside_others();
    let of = |methods: &[Method]| {
        let comparison = shared().explainer().compare(methods).unwrap();
        comparison.plan_scores(&input(SourceKind::Rgba8, 1, SIZE, MODEL)).unwrap()
    };
    let apart = |methods: &[Method]| methods.iter().map(|m| of(std::slice::from_ref(m)).steps().len()).sum::<usize>();
    let plan = of(Method::ALL);
    let (together, alone) = (plan.steps().len(), apart(Method::ALL));
    assert!(5 * together < 3 * alone, "{together} steps together, {alone} one by one");
    // Those that change the last block alone and agree about positions have one backbone.
    let last = [Method::SCLIP, Method::CLEAR_CLIP, Method::NACLIP, Method::CLIPTRASE, Method::ITACLIP];
    let (together, alone) = (of(&last).steps().len(), apart(&last));
    assert!(2 * together < alone, "{together} steps together, {alone} one by one");
    assert_eq!(plan.outputs().len(), Method::ALL.len());
    // Every method needs some step, and what the backbone does belongs to many.
    for (i, method) in Method::ALL.iter().enumerate() {
        assert!(plan.steps().iter().any(|s| s.owners.contains(&(i as u16))), "{} owns nothing", method.name);
    }
    assert!(plan.steps().iter().any(|s| s.owners.len() >= 6));
    // The same method again has a table of labels of its own, and nothing else: similarity, surgery, stretch.
    let twice = of(&[Method::SURGERY, Method::NACLIP, Method::SURGERY]);
    assert_eq!(twice.steps().len(), of(&[Method::SURGERY, Method::NACLIP]).steps().len() + 3);
}

#[test]
fn costs_add_up() {
    let _turn = beside_others();
    let methods = [Method::CLIP, Method::SURGERY, Method::NACLIP];
    let pixels = picture(SIZE, 5);
    let images = [Image::new(SIZE, &pixels).unwrap()];
    let mut comparison = shared().explainer().compare(&methods).unwrap();
    let before = pollster::block_on(comparison.score(&images, MODEL)).unwrap();
    let costs = comparison.costs(&images, MODEL, 1).unwrap();
    assert_eq!(costs.methods.len(), 3);
    let own: f64 = costs.methods.iter().map(|c| c.own_ms).sum();
    assert!(own < costs.all_ms && costs.run_ms > 0.0, "{costs:?}");
    for cost in &costs.methods {
        assert!(cost.shared_ms > 0.0 && cost.own_ms + cost.shared_ms <= costs.all_ms * (1.0 + 1e-9), "{costs:?}");
    }
    // Timing leaves no trace.
    let after = pollster::block_on(comparison.score(&images, MODEL)).unwrap();
    assert_eq!(before[1].patches, after[1].patches);
    assert!(shared().explainer().compare(&[]).unwrap_err().to_string().contains("at least one"));
}
