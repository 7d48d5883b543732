//! What `lancet anomaly` says: JSON and a table.

use super::Args;
use super::options::Range;
use crate::model::Loaded;
use lancet::explain::{ANOCLIP, Anomaly};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// All images of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    settings: Settings,
    images: Vec<ImageReport>,
    time_ms: BTreeMap<&'static str, f64>,
}

/// What is the same for all images.
#[derive(Debug, Serialize)]
pub struct Settings {
    model: String,
    method: String,
    object: String,
    states: String,
    prompts: usize,
    precision: &'static str,
    adapter: String,
    backend: String,
}

/// One image.
#[derive(Debug, Serialize)]
pub struct ImageReport {
    image: String,
    size: [u32; 2],
    grid: [u32; 2],
    /// The map's largest value.
    score: f32,
    /// The class token's probability of the abnormal state.
    image_probability: f32,
    /// (x, y) where the map is largest, pixels.
    peak: [u32; 2],
    map_min: f32,
    map_mean: f64,
    /// Probabilities at both ends of the overlay's colours.
    colours: [f32; 2],
    overlay: String,
    map: Option<String>,
}

/// One image with the settings of its run.
#[derive(Debug, Serialize)]
pub struct OfImage<'a> {
    #[serde(flatten)]
    settings: &'a Settings,
    #[serde(flatten)]
    image: &'a ImageReport,
}

impl Settings {
    /// `states` is what they are called, `prompts` their number.
    pub fn new(args: &Args, loaded: &Loaded, object: &str, states: String, prompts: usize) -> Settings {
        let caps = loaded.engine.caps();
        Settings {
            model: loaded.path.display().to_string(),
            method: ANOCLIP.name.to_string(),
            object: object.to_owned(),
            states,
            prompts,
            precision: args.model.precision_name(),
            adapter: caps.adapter.clone(),
            backend: format!("{:?}", caps.backend),
        }
    }

    /// What goes beside one image.
    pub fn with<'a>(&'a self, image: &'a ImageReport) -> OfImage<'a> {
        OfImage { settings: self, image }
    }
}

impl ImageReport {
    /// From a result and the names of its files.
    pub fn new(path: &Path, found: &Anomaly, range: Range, overlay: String, map: Option<String>) -> ImageReport {
        ImageReport {
            image: path.display().to_string(),
            size: found.size,
            grid: found.grid,
            score: found.score,
            image_probability: found.class_score,
            peak: found.peak,
            map_min: Range::of(&found.map).low,
            map_mean: found.map.iter().map(|&v| f64::from(v)).sum::<f64>() / found.map.len().max(1) as f64,
            colours: [range.low, range.high],
            overlay,
            map,
        }
    }
}

impl Report {
    /// Everything about a run.
    pub fn new(settings: Settings, images: Vec<ImageReport>, times: &[(&'static str, f64)]) -> Report {
        Report { settings, images, time_ms: times.iter().copied().collect() }
    }

    /// For people: the most suspicious image first.
    pub fn summary(&self, out: &Path) {
        let mut order: Vec<&ImageReport> = self.images.iter().collect();
        order.sort_by(|a, b| b.score.total_cmp(&a.score));
        let width = order.iter().map(|i| i.image.chars().count()).max().unwrap_or(0).max(5);
        out!("{:<width$}   score   image  peak at      overlay", "image");
        for image in order {
            let peak = format!("{}, {}", image.peak[0], image.peak[1]);
            let overlay = out.join(&image.overlay);
            out!("{:<width$}  {:.4}  {:.4}  {peak:<11}  {}", image.image, image.score, image.image_probability, overlay.display());
        }
        let total = self.time_ms.get("total").copied().unwrap_or(0.0) / 1e3;
        let Settings { object, states, adapter, .. } = &self.settings;
        out!("score: the map's largest probability of \"abnormal {object}\"; image: the class token's. 0.5 is neither state");
        out!("{} prompts ({states}) on {adapter}, {total:.2} s in all", self.settings.prompts);
    }
}
