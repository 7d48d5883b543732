//! Vision towers in timm's layout: names, wrappers, layer scales, what a file does not say, and no texts.

#[path = "common/mod.rs"]
mod common;
#[path = "common/vit.rs"]
mod vit;

use common::{Random, default_rig, run, upload};
use lancet::clip::{ConfigSource, PositionRule, VisionPath};
use lancet::reference as plain;
use lancet::shape::DType;
use lancet::{Clip, LoadOptions, Method, Result, Templates, Weights};
use pollster::block_on;
use safetensors::tensor::{Dtype, TensorView, serialize};
use std::collections::BTreeMap;
use vit::PlainVit;

const WIDTH: usize = 64;
const MLP: usize = 128;
const LAYERS: usize = 3;
const PATCH: usize = 8;
const GRID: usize = 3;
const SIDE: usize = PATCH * GRID;
/// Features behind a norm are about one; three blocks of roundings.
const SAME: f32 = 5e-5;

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// A random tower under timm's names.
fn tower(scaled: bool) -> Tensors {
    let mut random = Random::new(7);
    let mut all = Tensors::new();
    let mut add = |name: String, shape: &[usize], around: f32, spread: f32| {
        let values = random.floats(shape.iter().product(), spread, DType::F32).iter().map(|v| around + v).collect();
        all.insert(name, (shape.to_vec(), values));
    };
    add("patch_embed.proj.weight".into(), &[WIDTH, 3, PATCH, PATCH], 0.0, 0.1);
    add("cls_token".into(), &[1, 1, WIDTH], 0.0, 0.5);
    add("pos_embed".into(), &[1, 1 + GRID * GRID, WIDTH], 0.0, 0.5);
    let norms = (0..LAYERS).flat_map(|i| [1, 2].map(|n| format!("blocks.{i}.norm{n}"))).chain(["norm_pre".into(), "norm".into()]);
    for norm in norms {
        add(format!("{norm}.weight"), &[WIDTH], 1.0, 0.3);
        add(format!("{norm}.bias"), &[WIDTH], 0.0, 0.3);
    }
    for i in 0..LAYERS {
        // Queries and keys are large: scores of several units, for a cap to mean something.
        let linears = [
            ("attn.qkv", 3 * WIDTH, WIDTH, 0.4),
            ("attn.proj", WIDTH, WIDTH, 0.2),
            ("mlp.fc1", MLP, WIDTH, 0.2),
            ("mlp.fc2", WIDTH, MLP, 0.2),
        ];
        for (name, n, k, spread) in linears {
            add(format!("blocks.{i}.{name}.weight"), &[n, k], 0.0, spread);
            add(format!("blocks.{i}.{name}.bias"), &[n], 0.0, 0.2);
        }
        for scale in ["ls1", "ls2"].iter().filter(|_| scaled) {
            add(format!("blocks.{i}.{scale}.gamma"), &[WIDTH], 0.5, 0.4);
        }
    }
    all
}

fn file(tensors: &Tensors, prefix: &str) -> Weights {
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| (format!("{prefix}{name}"), shape.clone(), values.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views = bytes.iter().map(|(name, shape, data)| (name.clone(), TensorView::new(Dtype::F32, shape.clone(), data).unwrap()));
    Weights::from_bytes(serialize(views, None).unwrap()).unwrap()
}

fn config(heads: u32, softcap: &str) -> String {
    format!(
        r#"{{"heads": {heads}, "activation": "quick_gelu", "attention_softcap": {softcap}, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}}"#
    )
}

fn load(weights: &Weights, config: &str) -> Result<Clip> {
    Clip::load(&default_rig().engine, weights, LoadOptions { config: ConfigSource::Text(config.into()), ..Default::default() })
}

/// Tokens of the GPU, of pixels of the model's own size.
fn tokens(clip: &Clip, rgba: &[u8], path: &VisionPath) -> Vec<f32> {
    let config = clip.config();
    let pixels = plain::normalize(rgba, 1, [SIDE; 2], config.mean, config.std);
    let pixels = upload(default_rig(), &[1, 3, SIDE as u32, SIDE as u32], DType::F32, &pixels);
    let got = run(default_rig(), |b| {
        let pixels = b.import(&pixels);
        clip.plan_tokens(b, pixels, path, PositionRule::Bicubic)
    });
    assert_eq!(got.shape, [1 + (GRID * GRID) as u32, WIDTH as u32], "rows behind the last norm, not projected");
    got.floats()
}

/// The tower on slices; scales multiply rows here as the paper has it, not weights.
fn on_slices(clip: &Clip, tensors: &Tensors, rgba: &[u8], blocks: usize) -> Vec<f32> {
    let find = |name: &str| tensors.get(name).unwrap_or_else(|| panic!("no {name}")).1.clone();
    let tensor = |name: &str| {
        let renamed = [
            ("transformer.resblocks.", "blocks."),
            ("attn.in_proj_", "attn.qkv."),
            ("attn.out_proj", "attn.proj"),
            ("ln_1", "norm1"),
            ("ln_2", "norm2"),
            ("c_fc", "fc1"),
            ("c_proj", "fc2"),
            ("conv1", "patch_embed.proj"),
            ("ln_pre", "norm_pre"),
            ("ln_post", "norm"),
            ("class_embedding", "cls_token"),
            ("positional_embedding", "pos_embed"),
        ];
        let name = renamed.iter().fold(name.to_owned(), |name, (from, to)| name.replace(from, to));
        let block = name.rsplit_once("attn.proj").map(|b| (b.0, "ls1")).or_else(|| name.rsplit_once("mlp.fc2").map(|b| (b.0, "ls2")));
        let mut values = find(&name);
        if let Some(gamma) = block.and_then(|(block, scale)| tensors.get(&format!("{block}{scale}.gamma"))) {
            let row = values.len() / WIDTH;
            values.chunks_exact_mut(row).zip(&gamma.1).for_each(|(row, g)| row.iter_mut().for_each(|v| *v *= g));
        }
        values
    };
    PlainVit { config: clip.config(), tensor: &tensor }.tokens(rgba, blocks)
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn features_are_those_of_the_formulas() {
    let rgba = Random::new(9).bytes(SIDE * SIDE * 4);
    for scaled in [false, true] {
        let tensors = tower(scaled);
        let clip = load(&file(&tensors, ""), &config(4, "null")).unwrap();
        assert_eq!(clip.layout().name(), "timm");
        let got = tokens(&clip, &rgba, &VisionPath::ORDINARY);
        let want = on_slices(&clip, &tensors, &rgba, 0);
        assert!(furthest(&got, &want) < SAME, "scaled {scaled}: {:e} off", furthest(&got, &want));
        // A method's second stream goes through the same weights.
        let dual = tokens(&clip, &rgba, &VisionPath { blocks: 2, ..Method::SURGERY.vision });
        let want = on_slices(&clip, &tensors, &rgba, 2);
        assert!(furthest(&dual, &want) < SAME, "scaled {scaled}, dual: {:e} off", furthest(&dual, &want));
        assert!(furthest(&got, &dual) > 0.1, "the streams differ");
    }
    let (plain, scaled) = (tower(false), tower(true));
    let clip = load(&file(&plain, ""), &config(4, "null")).unwrap();
    assert!(furthest(&on_slices(&clip, &plain, &rgba, 0), &on_slices(&clip, &scaled, &rgba, 0)) > 0.1, "scales count");
}

#[test]
fn attention_is_capped() {
    let rgba = Random::new(9).bytes(SIDE * SIDE * 4);
    let tensors = tower(true);
    let open = load(&file(&tensors, ""), &config(4, "null")).unwrap();
    let open = tokens(&open, &rgba, &VisionPath::ORDINARY);
    for (cap, changes) in [("30", 1e-4), ("1.5", 1e-2)] {
        let clip = load(&file(&tensors, ""), &config(4, cap)).unwrap();
        let got = tokens(&clip, &rgba, &VisionPath::ORDINARY);
        let want = on_slices(&clip, &tensors, &rgba, 0);
        assert!(furthest(&got, &want) < SAME, "cap {cap}: {:e} off", furthest(&got, &want));
        assert!(furthest(&got, &open) > changes, "cap {cap} changes {:e}", furthest(&got, &open));
    }
}

#[test]
fn wrappers_of_training_do_not_matter() {
    let rgba = Random::new(9).bytes(SIDE * SIDE * 4);
    let mut tensors = tower(true);
    let want = tokens(&load(&file(&tensors, ""), &config(4, "null")).unwrap(), &rgba, &VisionPath::ORDINARY);
    for prefix in ["encoder.", "module.encoder.", "module._orig_mod.encoder.", "_orig_mod.module.", "state_dict.encoder."] {
        let clip = load(&file(&tensors, prefix), &config(4, "null")).unwrap();
        assert_eq!(tokens(&clip, &rgba, &VisionPath::ORDINARY), want, "{prefix}");
    }
    // What training left: a head, a decoder beside the encoder. Anything else is another model.
    tensors.insert("head.weight".into(), (vec![4], vec![0.0; 4]));
    assert!(load(&file(&tensors, "module."), &config(4, "null")).is_ok());
    tensors.insert("neck.weight".into(), (vec![4], vec![0.0; 4]));
    assert!(load(&file(&tensors, ""), &config(4, "null")).unwrap_err().to_string().contains("neck.weight"));
}

#[test]
fn texts_are_refused() {
    let clip = load(&file(&tower(false), ""), &config(4, "null")).unwrap();
    assert!(!clip.config().has_text() && clip.config().embed == WIDTH as u32);
    let said = |e: lancet::Error| assert!(e.to_string().contains("no text tower"), "{e}");
    said(block_on(clip.labels(&["cat".into()], &Templates::bare())).unwrap_err());
    said(block_on(clip.encode_text(&["cat".into()])).unwrap_err());
    said(clip.tokenizer().unwrap_err());
    said(clip.logit_scale().unwrap_err());
    said(lancet::clip::export::open_clip(clip.weights(), &ConfigSource::Text(config(4, "null"))).unwrap_err());
}

#[test]
fn what_a_file_cannot_tell_must_be_said() {
    let tensors = tower(false);
    let weights = file(&tensors, "");
    let none = Clip::load(&default_rig().engine, &weights, LoadOptions::default()).unwrap_err().to_string();
    assert!(none.contains("attention_softcap") && none.contains("quick_gelu"), "{none}");
    for (text, word) in [
        ("{}", "\"heads\" is missing"),
        (r#"{"heads": 4}"#, "\"activation\" is missing"),
        (r#"{"heads": 4, "activation": "gelu"}"#, "\"attention_softcap\" is missing"),
        (r#"{"heads": 5, "activation": "gelu", "attention_softcap": null}"#, "5 heads"),
        (r#"{"heads": 4, "activation": "relu", "attention_softcap": null}"#, "relu"),
        (r#"{"heads": 4, "activation": "gelu", "attention_softcap": -1}"#, "-1"),
        (r#"{"heads": 4, "activation": "gelu", "attention_softcap": "30"}"#, "positive number"),
        (r#"{"heads": 4, "activation": "gelu", "attention_softcap": null, "eps": 0}"#, "eps"),
        (r#"{"heads": 4, "activation": "gelu", "attention_softcap": null, "mean": [1]}"#, "three numbers"),
    ] {
        let said = load(&weights, text).unwrap_err().to_string();
        assert!(said.contains(word), "{text}: {said}");
    }
    let without = |name: &str| tensors.clone().into_iter().filter(|t| t.0 != name).collect::<Tensors>();
    for name in ["cls_token", "norm_pre.weight", "blocks.1.norm2.bias", "blocks.2.mlp.fc2.weight", "norm.bias"] {
        let said = load(&file(&without(name), ""), &config(4, "null")).unwrap_err().to_string();
        assert!(said.contains(name), "{name}: {said}");
    }
    let mut bad = tensors.clone();
    bad.insert("pos_embed".into(), (vec![1, 9, WIDTH], vec![0.0; 9 * WIDTH]));
    assert!(load(&file(&bad, ""), &config(4, "null")).unwrap_err().to_string().contains("9 positions"));
    let mut bad = tower(true);
    bad.insert("blocks.1.ls2.gamma".into(), (vec![3], vec![1.0; 3]));
    assert!(load(&file(&bad, ""), &config(4, "null")).unwrap_err().to_string().contains("ls2.gamma"));
}
