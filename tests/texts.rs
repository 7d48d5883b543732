//! Prompt ensembles: shared beginnings change the work and not the result.

#[path = "common/mod.rs"]
mod common;

use common::{default_rig, record_and_read};
use lancet::gpu::{Plan, PlanBuilder, Source, Tensor};
use lancet::{Clip, Labels, Templates, Weights};
use pollster::block_on;
use std::path::Path;

fn demo() -> Clip {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/demo/open_clip_model.safetensors");
    Clip::load(&default_rig().engine, &Weights::open(path).unwrap(), Default::default()).unwrap()
}

fn prompts(clip: &Clip, labels: usize) -> Vec<Vec<u32>> {
    let filled: Vec<String> = Labels::default_names()[..labels].iter().flat_map(|name| Templates::ensemble().fill(name)).collect();
    clip.tokenize(&filled).unwrap()
}

fn plan(clip: &Clip, ids: &[Vec<u32>]) -> Plan<Tensor> {
    let mut b = PlanBuilder::new(clip.gpu());
    let features = clip.plan_text(&mut b, ids).unwrap();
    b.keep(features);
    b.finish(|r| r.tensor(features)).unwrap()
}

fn features(clip: &Clip, ids: &[Vec<u32>]) -> Vec<f32> {
    record_and_read(default_rig(), &mut plan(clip, ids), Source::None, 1).remove(0).floats()
}

fn flops<O>(plan: &Plan<O>) -> u64 {
    plan.steps().iter().map(|s| s.flops).sum()
}

/// The largest difference, in units of the largest feature.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
}

/// Roundings of another order of sums, over all blocks.
const SAME: f32 = 1e-5;

#[test]
fn shared_beginnings_give_the_features_of_each_text_alone() {
    let clip = demo();
    let mut ids = prompts(&clip, 2);
    // Out of order, one twice, one padded, one that is another's beginning.
    ids.reverse();
    ids.push(ids[7].clone());
    ids.push(ids[8].iter().copied().chain([0, 0, 0]).collect());
    ids.extend(clip.tokenize(&["a photo".into(), "a photo of".into(), String::new()]).unwrap());
    let together = features(&clip, &ids);
    let width = clip.config().embed as usize;
    for (i, text) in ids.iter().enumerate().step_by(9).chain(ids.iter().enumerate().skip(170)) {
        let alone = features(&clip, std::slice::from_ref(text));
        let off = distance(&together[i * width..][..width], &alone);
        assert!(off < SAME, "text {i} is {off:e} off");
    }
    assert_eq!(together[7 * width..][..width], together[170 * width..][..width], "the same text twice");
}

#[test]
fn the_work_is_a_fraction_of_padded_prompts() {
    let clip = demo();
    let (context, end) = (clip.config().context, clip.config().vocabulary - 1);
    let ids = prompts(&clip, 59);
    let batches = clip.text_batches(&ids, 85);
    assert_eq!(batches.iter().map(|b| b.len()).sum::<usize>(), ids.len());
    assert!(batches.iter().all(|b| b.len() % 85 == 0 && clip.text_rows(b) <= 4096), "whole labels, and flat memory");
    // Two batches stand for all: planning uploads, and rows count the rest.
    let rows: usize = batches.iter().map(|b| clip.text_rows(b)).sum();
    let done: u64 = batches[..2].iter().map(|b| flops(&plan(&clip, b))).sum();
    let prompts_done: usize = batches[..2].iter().map(|b| b.len()).sum();
    let padded: Vec<Vec<u32>> = (0..4).map(|i| [i].into_iter().chain((2..context).map(|_| 0)).chain([end]).collect()).collect();
    let padded = flops(&plan(&clip, &padded)) / 4 * prompts_done as u64;
    // The bundled model's context is 32; published ones have 77 (clip::packed counts those).
    let ratio = padded as f64 / done as f64;
    assert!(ratio > 6.0, "only {ratio:.2} times less work than padded to {context}");
    assert!(rows * 6 < ids.len() * context as usize, "{rows} rows");
}

#[test]
fn labels_do_not_depend_on_their_company() {
    let clip = demo();
    let names = Labels::default_names();
    let all = block_on(clip.labels(&names, &Templates::ensemble())).unwrap();
    assert_eq!(all.names(), names);
    for i in [0, 33, 58] {
        let alone = block_on(clip.labels(&names[i..=i], &Templates::ensemble())).unwrap();
        let width = all.width();
        let off = distance(&all.embeddings()[i * width..][..width], alone.embeddings());
        assert!(off < SAME, "{} is {off:e} off", names[i]);
        assert!(distance(alone.empty(), all.empty()) < SAME);
    }
}

#[test]
fn tokens_end_in_the_feature_of_the_text() {
    let clip = demo();
    let text = "a photo of a teddy bear";
    let tokens = block_on(clip.encode_tokens(text)).unwrap();
    assert_eq!(tokens.ids, clip.tokenize(&[text.into()]).unwrap()[0]);
    let width = clip.config().embed as usize;
    assert_eq!(tokens.features.len(), tokens.ids.len() * width);
    let whole = lancet::reference::l2_normalize(&block_on(clip.encode_text(&[text.into()])).unwrap(), width);
    assert!(distance(&tokens.features[tokens.features.len() - width..], &whole) < SAME, "the end marker's row is the text's");
    // Causal: a token's row depends on what was said before it alone.
    let longer = block_on(clip.encode_tokens("a photo of a teddy bear on a bench")).unwrap();
    let n = tokens.ids.len() - 1;
    assert!(distance(&longer.features[..n * width], &tokens.features[..n * width]) < SAME);
}

#[test]
fn bad_texts_are_refused() {
    let clip = demo();
    assert!(block_on(clip.encode_text(&[])).is_err(), "no text");
    assert!(block_on(clip.encode_tokens(&"word ".repeat(200))).is_err(), "beyond the context");
    let mut b = PlanBuilder::new(clip.gpu());
    for bad in [&[vec![]][..], &[vec![0; 1000]], &[vec![clip.config().vocabulary]]] {
        assert!(clip.plan_text(&mut b, bad).is_err(), "{bad:?}");
    }
    assert!(clip.plan_ensemble(&prompts(&clip, 1), 2).is_err(), "85 texts in groups of two");
}
