//! The other training-free methods: features of the last layer against their own repositories (golden/METHODS.md).

use crate::golden::{Golden, STAGE, Tolerance, compare, floats};
use crate::steps::{engine, inspect, upload};
use lancet::clip::{Clip, Labels, LoadOptions, LogitMix, Pair, PostMix, Scale, Term, VisionPath};
use lancet::explain::Method;
use lancet::reference::Projection::{self, Key, Query, Value};
use lancet::weights::Weights;

/// Weights rounded to halves: 2^-11 of each, through eight blocks. The closest mistake (another epsilon and activation) is 8e-3 away.
const HALF_WEIGHTS: Tolerance = Tolerance { rel_l2: 1.5e-3, max_abs: 2e-2 };
/// The path tested twice, once through a matrix of its own.
const TWO_PASSES: Tolerance = Tolerance { rel_l2: 2e-5, max_abs: 2e-4 };

fn pair(p: Projection, q: Projection) -> Term {
    Term::of(p, q)
}

/// A method with other terms in its last block.
fn with(method: &Method, terms: &[Term], whole: bool) -> Method {
    let vision = VisionPath { terms: terms.to_vec().into(), residual: whole, mlp: whole, ..method.vision.clone() };
    Method { vision, ..method.clone() }
}

/// GEM with another number of iterations or another scale.
fn gem(iterations: u32, scale: Scale) -> Method {
    let terms = [Value, Key, Query].map(|p| Term { unit: true, iterations, scale, weight: 1.0 / 3.0, ..pair(p, p) });
    Method { vision: VisionPath { terms: terms.to_vec().into(), ..Method::GEM.vision }, ..Method::GEM }
}

/// ResCLIP on a base, one pass or two.
fn resclip(base: &Method, mix: Option<LogitMix>, lambda: f32) -> Method {
    let post_mix = Method::RESCLIP.vision.post_mix.map(|mix| PostMix { lambda, ..mix });
    Method { vision: VisionPath { post_mix, logit_mix: mix, ..base.vision.clone() }, ..base.clone() }
}

/// (tensor without `.features`, method)
fn cases() -> Vec<(String, Method)> {
    let mut all: Vec<(String, Method)> = Vec::new();
    let mut add = |name: &str, sizes: &[&str], model: &str, method: &Method| {
        all.extend(sizes.iter().map(|size| (format!("{model}.{size}.{name}"), method.clone())));
    };
    let sizes = ["112", "160", "112x160"];
    for (name, method) in [("sclip", Method::SCLIP), ("clearclip", Method::CLEAR_CLIP), ("naclip", Method::NACLIP)] {
        add(name, &sizes, "m8", &method);
        if name != "sclip" {
            add(name, &["112"], "m12", &method);
        }
    }
    add("sclip", &["112"], "m12", &Method::SCLIP);
    add("sclip_vanilla", &["112"], "m8", &Method::CLIP);
    add("maskclip_repository", &sizes, "m8", &Method::MASK_CLIP_REPOSITORY);
    add("gem", &["112", "160", "112x160", "64"], "m8", &Method::GEM);
    add("gem", &["112"], "m12", &Method::GEM);
    add("gem_iter0", &["112"], "m8", &gem(0, Scale::TokenLength));
    add("gem_iter2", &["112"], "m8", &gem(2, Scale::TokenLength));
    add("gem_temp5", &["112"], "m8", &gem(1, Scale::Constant(5.0)));
    let three = VisionPath { blocks: 3, ..Method::GEM.vision };
    add("gem_depth4", &["112"], "m8", &Method { vision: three, ..Method::GEM });
    add("cliptrase", &sizes, "m12", &Method::CLIPTRASE);
    add("itaclip", &sizes, "m12", &Method::ITACLIP);
    // Its code takes those of blocks 7, 8 and 10 that a shallower model has.
    let as_coded = VisionPath { numbered_for: None, ..Method::ITACLIP.vision };
    add("itaclip", &["112"], "m8", &Method { vision: as_coded, ..Method::ITACLIP });
    add("scclip", &["112", "160"], "m12", &Method::SC_CLIP);
    add("scclip.features_correct_cells", &["112x160", "160x112"], "m12", &Method::SC_CLIP);

    let (qq, kk, qk) = (pair(Query, Query), pair(Key, Key), pair(Query, Key));
    let clear = |terms: &[Term], whole| with(&Method::CLEAR_CLIP, terms, whole);
    add("clearclip_code.vanilla_reduced", &["112"], "m8", &clear(&[qk], false));
    add("clearclip_code.vanilla_full", &["112"], "m8", &clear(&[qk], true));
    add("clearclip_code.maskclip_reduced", &["112", "160"], "m8", &clear(&[], false));
    add("clearclip_code.maskclip_full", &["112"], "m8", &clear(&[], true));
    add("clearclip_code.sclip_reduced", &["112"], "m8", &clear(&[qq, kk], false));
    add("clearclip_code.sclip_full", &["112"], "m8", &clear(&[qq, kk], true));
    add("clearclip_code.clearclip_full", &["112"], "m8", &clear(&[qq], true));
    // Three blocks, each read from the ordinary stream, and nothing but what they say: a second stream that starts at nothing.
    let last3 = VisionPath { blocks: 3, dual: true, ..Method::CLEAR_CLIP.vision };
    add("clearclip_last3", &["112"], "m8", &Method { vision: last3, ..Method::CLEAR_CLIP });
    let near = |terms: &[Term], gaussian, whole| {
        let method = with(&Method::NACLIP, terms, whole);
        Method { vision: VisionPath { gaussian, ..method.vision }, ..method }
    };
    add("naclip_code.naclip_full", &["112"], "m8", &near(&[kk], Some(5.0), true));
    add("naclip_code.naclip_sigma2_reduced", &["112"], "m8", &near(&[kk], Some(2.0), false));
    add("naclip_code.kk_reduced", &["112"], "m8", &near(&[kk], None, false));
    add("naclip_code.kk_full", &["112"], "m8", &near(&[kk], None, true));
    let place = Term { pair: Pair::Neighbourhood(Query, Key), ..qk };
    add("naclip_code.nonly_reduced", &["112", "112x160"], "m8", &near(&[place], Some(5.0), false));
    add("naclip_code.nonly_full", &["112"], "m8", &near(&[place], Some(5.0), true));
    add("naclip_code.csa_full", &["112"], "m8", &near(&[qq, kk], None, true));
    add("naclip_code.vanilla_reduced", &["112"], "m8", &near(&[qk], None, false));
    add("naclip_code.vanilla_full", &["112"], "m8", &near(&[qk], None, true));

    let mix = LogitMix { tau: 2.2, lambda: 0.7, threshold: 0.1, path_rule: true };
    let vanilla = near(&[qk], None, true);
    let bases = [("resclip", &Method::NACLIP), ("clearclip", &Method::CLEAR_CLIP), ("sclip", &Method::SCLIP), ("vanilla", &vanilla)];
    for (name, base) in bases {
        let sizes = if name == "resclip" { &sizes[..] } else { &["112"] };
        add(&format!("resclip_{name}_rcs_only"), sizes, "m12", &resclip(base, None, 0.3));
        add(&format!("resclip_{name}"), sizes, "m12", &resclip(base, Some(mix), 0.3));
    }
    for (name, preset) in [("resclip", Method::RESCLIP), ("clearclip", Method::RESCLIP_CLEARCLIP), ("sclip", Method::RESCLIP_SCLIP)] {
        add(&format!("resclip_{name}"), &["112"], "m12", &preset);
    }
    let free = LogitMix { tau: 1.8, threshold: 0.3, path_rule: false, ..mix };
    add("resclip_nodelete", &["112"], "m12", &resclip(&Method::NACLIP, Some(free), 0.6));
    all
}

/// The picture of a case, `[1, 3, H, W]`.
pub fn pixels(inputs: &Weights, size: &str) -> (Vec<u32>, Vec<f32>) {
    let cut = |y: std::ops::Range<usize>, x: std::ops::Range<usize>| {
        let whole = floats(inputs, "size_160.pixels");
        let rows = whole.chunks(160 * 160).flat_map(|plane| y.clone().map(|y| plane[y * 160..][x.clone()].to_vec()).collect::<Vec<_>>());
        (vec![1, 3, y.len() as u32, x.len() as u32], rows.flatten().collect())
    };
    match size {
        "112x160" => cut(24..136, 0..160),
        "160x112" => cut(0..160, 24..136),
        _ => {
            let name = if size == "112" { "scene.pixels".to_owned() } else { format!("size_{size}.pixels") };
            (inputs.shape(&name).unwrap().to_vec(), floats(inputs, &name))
        }
    }
}

/// A golden model; where the f32 file of the ViT is not there, its weights as halves. `None`: not in this folder.
fn find(golden: &Golden, model: &str) -> Option<(Clip, Tolerance)> {
    let files = match model {
        "m8" => [("weights/openai_vit_f32.safetensors", STAGE), ("weights/openai_vit_f16.safetensors", HALF_WEIGHTS)],
        _ => [("weights/openai_vit12_f16.safetensors", STAGE); 2],
    };
    let (file, limit) = files.into_iter().find(|(file, _)| golden.path(file).is_file())?;
    let weights = Weights::open(golden.path(file)).unwrap();
    let precision = lancet::clip::Precision::F32;
    Some((Clip::load(engine(), &weights, LoadOptions { precision, ..Default::default() }).unwrap(), limit))
}

/// A golden model of the full folder.
pub fn load(golden: &Golden, model: &str) -> Clip {
    find(golden, model).unwrap_or_else(|| panic!("no model {model} in the golden folder")).0
}

/// The 16 texts that the feedback of two passes is about.
pub fn texts(inputs: &Weights, clip: &Clip) -> Labels {
    let width = clip.config().embed as usize;
    // Only two passes ask what the labels are, and the committed part has none of them.
    let rows = match inputs.shape("ensemble.features") {
        Some(_) => floats(inputs, "ensemble.features"),
        None => (0..2 * width).map(|i| if i % width == i / width { 1.0 } else { 0.0 }).collect(),
    };
    Labels::new((0..rows.len() / width).map(|i| i.to_string()).collect(), rows, vec![0.0; width], width).unwrap()
}

pub fn features(golden: &Golden) -> Result<usize, String> {
    let (expected, inputs) = (golden.expected("methods"), golden.expected("vit"));
    let models = ["m8", "m12"].map(|model| find(golden, model));
    let (mut failures, mut compared) = (Vec::new(), 0);
    for (name, method) in &cases() {
        let Some((clip, limit)) = &models[usize::from(name.starts_with("m12"))] else { continue };
        let size = name.split('.').nth(1).unwrap();
        let tensor = if name.ends_with("_cells") { name.clone() } else { format!("{name}.features") };
        if expected.shape(&tensor).is_none() && !Golden::is_full() {
            continue;
        }
        compared += 1;
        let (shape, pixels) = pixels(&inputs, size);
        let stages = inspect(clip, &texts(&inputs, clip), method, &upload(&shape, &pixels)).map_err(|e| format!("{name}: {e}"))?;
        // The last pass's.
        let got = &stages.iter().rev().find(|s| s.0 == "vision.features").ok_or("no features")?.1;
        let want = floats(&expected, &tensor);
        // Some originals drop the class row.
        let width = clip.config().embed as usize;
        let got = &got[got.len() - got.len().min(want.len())..];
        assert!(got.len() == want.len() && want.len().is_multiple_of(width), "{tensor}: {} values, expected {}", got.len(), want.len());
        let limit = if method.vision.logit_mix.is_some() { TWO_PASSES } else { *limit };
        failures.extend(compare(&tensor, got, &want, limit).err());
    }
    // The committed part has 11 of 62.
    assert!(compared >= 11 && (compared >= 60 || !Golden::is_full()), "{compared} cases compared");
    if failures.is_empty() { Ok(compared) } else { Err(failures.join("\n")) }
}
