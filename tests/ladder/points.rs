//! Points of the original, exactly: from its own scores, and from scores that lancet computes.

use crate::cases::{Case, FULL, SUBSET};
use crate::golden::{Golden, floats};
use crate::steps::{LabelSets, engine, inspect, upload};
use lancet::clip::{Clip, LoadOptions};
use lancet::explain::{Method, PointOptions, Threshold, combined_points, points};
use lancet::weights::Weights;
use serde_json::Value;
use std::collections::HashMap;

/// One call of the original's function, and what came out.
struct Expected {
    /// File and tensor of the scores.
    file: &'static str,
    tensor: String,
    /// Several: the '+' recipe.
    columns: Vec<usize>,
    /// (width, height) of the image.
    size: [u32; 2],
    options: PointOptions,
    points: Vec<[u32; 2]>,
    labels: Vec<u8>,
}

impl Expected {
    /// Cases and '+' recipes of `points.json`.
    fn all(golden: &Golden) -> Vec<Expected> {
        let text = std::fs::read_to_string(golden.path("expected/points.json")).unwrap();
        let json: Value = serde_json::from_str(&text).unwrap();
        let cases = json["cases"].as_array().unwrap().iter().map(|c| Expected::read(c, vec![c["column"].as_u64().unwrap_or(0) as usize]));
        let combined = json["combined"].as_array().unwrap().iter().map(|c| Expected::read(c, vec![0, 1]));
        cases.chain(combined).collect()
    }

    fn read(case: &Value, columns: Vec<usize>) -> Expected {
        let name = case["similarity"].as_str().unwrap();
        let (file, tensor) = match name.split_once(": ") {
            Some(("functions", tensor)) => ("functions", tensor),
            Some(("gelu", tensor)) => ("gelu", tensor),
            Some(("rn", tensor)) => ("resnet", tensor),
            Some((other, _)) => panic!("scores in an unheard-of file {other}"),
            None => ("vit", name),
        };
        let numbers = |v: &Value| v.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as u32).collect::<Vec<u32>>();
        let size = numbers(&case["image_height_width"]);
        Expected {
            file,
            tensor: tensor.to_owned(),
            columns,
            size: [size[1], size[0]],
            options: PointOptions {
                threshold: Threshold::Stretched(case["t"].as_f64().unwrap() as f32),
                down_sample: case["down_sample"].as_u64().unwrap_or(2) as u32,
                most: None,
            },
            points: case["points"].as_array().unwrap().iter().map(|p| numbers(p)[..].try_into().unwrap()).collect(),
            labels: numbers(&case["labels"]).into_iter().map(|l| l as u8).collect(),
        }
    }

    /// `scores` is `[1 + N, L]`, or `[N]` for the function alone.
    fn compare(&self, scores: &[f32], labels: usize) -> Result<(), String> {
        let skipped = if self.file == "functions" { 0 } else { 1 };
        let maps: Vec<Vec<f32>> = self.columns.iter().map(|&c| scores.chunks(labels).skip(skipped).map(|row| row[c]).collect()).collect();
        let side = (maps[0].len() as f64).sqrt() as u32;
        let all: Vec<&[f32]> = maps.iter().map(Vec::as_slice).collect();
        let found = match all.as_slice() {
            [one] => points(one, [side; 2], self.size, &self.options),
            many => combined_points(many, [side; 2], self.size, &self.options),
        };
        let found = found.map_err(|e| format!("{}: {e}", self.tensor))?;
        if found.coords == self.points && found.labels == self.labels {
            return Ok(());
        }
        Err(format!(
            "{} {:?}, {:?}: {:?} {:?}, expected {:?} {:?}",
            self.tensor, self.columns, self.options, found.coords, found.labels, self.points, self.labels
        ))
    }
}

/// The function alone, on the original's scores.
pub fn from_expected_scores(golden: &Golden) -> Result<(), String> {
    let mut files: HashMap<&str, Weights> = HashMap::new();
    let mut compared = 0;
    for case in Expected::all(golden) {
        let file = files.entry(case.file);
        // The subset has some of the files only.
        if !golden.path(&format!("expected/{}.safetensors", case.file)).exists() {
            continue;
        }
        let file = file.or_insert_with(|| golden.expected(case.file));
        let Some(shape) = file.shape(&case.tensor) else { continue };
        let labels = if case.file == "functions" { 1 } else { shape[shape.len() - 1] as usize };
        case.compare(&floats(file, &case.tensor), labels)?;
        compared += 1;
    }
    let enough = if Golden::is_full() { 159 } else { 130 };
    if compared < enough { Err(format!("only {compared} of {enough} cases compared")) } else { Ok(()) }
}

/// From pixels to points: every case whose model file is here, scored by lancet.
pub fn from_pixels(golden: &Golden) -> Result<(), String> {
    let cases = Expected::all(golden);
    let models: Vec<&Case> = SUBSET.iter().chain(if Golden::is_full() { FULL } else { &[] }).filter(|c| !c.half).collect();
    let mut compared = 0;
    for model in models {
        // Points belong to weights in f32.
        if model.expected == "vit_stored_precision" || (model.expected == "gelu" && model.prefix != "f32.") {
            continue;
        }
        let weights = Weights::open(golden.path(model.weights)).map_err(|e| e.to_string())?;
        let clip = Clip::load(engine(), &weights, LoadOptions::default()).map_err(|e| e.to_string())?;
        let (inputs, expected) = (golden.expected(model.inputs), golden.expected(model.expected));
        let pixels = upload(inputs.shape(model.pixels).unwrap(), &floats(&inputs, model.pixels));
        let sets = LabelSets::of(model, &clip, &expected)?;
        // One text switches to the empty string by itself.
        let runs = [
            ("similarity.labels", &sets.labels, Method::SURGERY),
            ("similarity.person_bench_minus_empty", &sets.person_bench, Method::SURGERY_ONE_LABEL),
            ("similarity.single_shoes_minus_empty", &sets.shoes, Method::SURGERY),
        ];
        for (name, labels, method) in runs {
            let tensor = format!("{}{name}", model.prefix);
            let of_this: Vec<&Expected> = cases.iter().filter(|c| c.file == model.expected && c.tensor == tensor).collect();
            if of_this.is_empty() {
                continue;
            }
            let stages = inspect(&clip, labels, &method, &pixels)?;
            let scores = &stages.iter().find(|s| s.0 == "explain.scores").ok_or("no scores")?.1;
            for case in of_this {
                case.compare(scores, labels.names().len())?;
                compared += 1;
            }
        }
    }
    let enough = if Golden::is_full() { 31 } else { 2 };
    if compared < enough { Err(format!("only {compared} of {enough} cases compared")) } else { Ok(()) }
}
