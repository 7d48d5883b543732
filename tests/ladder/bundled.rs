//! The bundled model, loaded as any other, against PyTorch in float64 (`tools/train golden`): texts, ensembles, tokens, scores.

use crate::golden::{SIMILARITY, STAGE, compare, floats};
use crate::steps::{engine, inspect, upload};
use lancet::clip::{Clip, Labels, LoadOptions, Templates};
use lancet::explain::Method;
use lancet::weights::Weights;
use pollster::block_on;
use std::path::{Path, PathBuf};

/// What `weights/demo/scene.json` lists.
const LABELS: [&str; 5] = ["house", "tree", "helicopter", "teddy bear", "basketball"];

fn file(name: &str) -> PathBuf {
    // As `Golden::open`: where cargo says at run time.
    let root = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&root).join("weights/demo").join(name)
}

pub fn climb() -> Result<(), String> {
    let weights = Weights::open(file("open_clip_model.safetensors")).map_err(|e| e.to_string())?;
    let clip = Clip::load(engine(), &weights, LoadOptions::default()).map_err(|e| e.to_string())?;
    let expected = Weights::open(file("golden.safetensors")).map_err(|e| e.to_string())?;
    let want = |name: &str| floats(&expected, name);
    let width = clip.config().embed as usize;

    let texts: Vec<String> = LABELS.iter().map(|label| format!("a photo of a {label}.")).collect();
    let got = block_on(clip.encode_text(&texts)).map_err(|e| e.to_string())?;
    compare("texts", &lancet::reference::l2_normalize(&got, width), &want("texts"), STAGE)?;

    let ensembles = want("ensembles");
    let named = LABELS.map(str::to_owned).to_vec();
    let labels = block_on(clip.labels(&named, &Templates::ensemble())).map_err(|e| e.to_string())?;
    compare("ensembles", labels.embeddings(), &ensembles[..LABELS.len() * width], STAGE)?;
    compare("empty text", labels.empty(), &ensembles[LABELS.len() * width..], STAGE)?;

    // From here on by the expected labels, so that nothing above counts twice.
    let (of_labels, of_nothing) = ensembles.split_at(LABELS.len() * width);
    let labels = Labels::new(named, of_labels.to_vec(), of_nothing.to_vec(), width).map_err(|e| e.to_string())?;
    let pixels = upload(expected.shape("pixels").ok_or("no pixels")?, &want("pixels"));
    for (method, name, stages) in [(&Method::CLIP, "clip", &["features"][..]), (&Method::SURGERY, "surgery", &["features", "scores"])] {
        let got = inspect(&clip, &labels, method, &pixels)?;
        for stage in stages {
            let found = got.iter().find(|s| s.0.ends_with(&format!(".{stage}"))).ok_or(format!("no {stage}"))?;
            let limit = if *stage == "scores" { SIMILARITY } else { STAGE };
            compare(&format!("{name}.{stage}"), &found.1, &want(&format!("{name}.{stage}")), limit)?;
        }
    }
    Ok(())
}
