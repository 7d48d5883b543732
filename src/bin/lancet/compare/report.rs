//! What the JSON and the summary say.

use super::Args;
use super::choose::LeftOut;
use super::times::Times;
use super::truth::Measured;
use crate::model::Loaded;
use lancet::eval::threshold;
use lancet::explain::Cost;
use lancet::{Method, Scores};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Everything about a comparison.
#[derive(Debug, Serialize)]
pub struct Report {
    image: String,
    /// (width, height), pixels.
    size: [u32; 2],
    model: String,
    /// What the model saw, (width, height), pixels.
    input_size: [u32; 2],
    /// Patches, (width, height).
    grid: [u32; 2],
    templates: String,
    precision: &'static str,
    adapter: String,
    backend: String,
    /// What device times were measured by; nothing if nothing was timed.
    clock: Option<&'static str>,
    device: Option<Times>,
    methods: Vec<MethodReport>,
    left_out: Vec<LeftOut>,
    sheets: Vec<String>,
    time_ms: BTreeMap<&'static str, f64>,
}

/// One method.
#[derive(Debug, Serialize)]
pub struct MethodReport {
    name: String,
    about: String,
    /// Device time of what it alone needs, milliseconds.
    own_ms: Option<f64>,
    /// Device time of what others need too.
    shared_ms: Option<f64>,
    /// Against the masks, each label at its own best threshold, 0 to 1.
    miou: Option<f64>,
    /// The same at one threshold for all labels, as `lancet eval` has it.
    miou_one_threshold: Option<f64>,
    one_threshold: Option<f64>,
    /// Mean score contrast, -1 to 1.
    msc: Option<f64>,
    pub labels: Vec<LabelReport>,
}

/// One label of one method.
#[derive(Debug, Serialize)]
pub struct LabelReport {
    pub label: String,
    /// Cosine of the class row of the method's features.
    class_cosine: f32,
    /// The method's score of that row.
    class_score: f32,
    /// The strongest patch, column and row from 0, and its score.
    peak: [u32; 2],
    peak_score: f32,
    iou: Option<f64>,
    threshold: Option<f64>,
    contrast: Option<f64>,
    /// The peak's pixel lies on the label.
    hit: Option<bool>,
    pub overlay: Option<String>,
}

impl MethodReport {
    /// What a method found.
    pub fn new(method: &Method, scores: &Scores, labels: &[String]) -> MethodReport {
        let label = |(i, label): (usize, &String)| {
            let map = scores.map(0, i);
            // The first of equals.
            let best = (1..map.len()).fold(0, |best, at| if map[at] > map[best] { at } else { best });
            let width = scores.grid[0].max(1);
            LabelReport {
                label: label.clone(),
                class_cosine: scores.class_cosines[i],
                class_score: scores.class_scores[i],
                peak: [best as u32 % width, best as u32 / width],
                peak_score: map[best],
                iou: None,
                threshold: None,
                contrast: None,
                hit: None,
                overlay: None,
            }
        };
        MethodReport {
            name: method.name.to_string(),
            about: method.about.to_string(),
            own_ms: None,
            shared_ms: None,
            miou: None,
            miou_one_threshold: None,
            one_threshold: None,
            msc: None,
            labels: labels.iter().enumerate().map(label).collect(),
        }
    }

    /// What it costs.
    pub fn cost(&mut self, cost: &Cost) {
        (self.own_ms, self.shared_ms) = (Some(cost.own_ms), Some(cost.shared_ms));
    }

    /// How well it does.
    pub fn measured(&mut self, measured: &Measured) {
        let [miou, at] = measured.miou_one_threshold;
        (self.miou, self.miou_one_threshold, self.one_threshold, self.msc) = (Some(measured.miou), Some(miou), Some(at), measured.msc);
        for (label, found) in self.labels.iter_mut().zip(&measured.labels) {
            let Some(found) = found else { continue };
            (label.iou, label.threshold) = (Some(found.miou[found.best]), Some(threshold(found.best)));
            (label.contrast, label.hit) = (found.contrast, Some(found.pointing > 0.0));
        }
    }
}

impl Report {
    /// `sizes` are those of the image and of the model's input, (width, height).
    #[expect(clippy::too_many_arguments, reason = "one place brings everything together")]
    pub fn new(
        args: &Args,
        loaded: &Loaded,
        [size, input_size]: [[u32; 2]; 2],
        methods: Vec<MethodReport>,
        left_out: Vec<LeftOut>,
        device: Option<Times>,
        sheets: Vec<String>,
        times: &[(&'static str, f64)],
    ) -> Report {
        let caps = loaded.engine.caps();
        let clock = if caps.timestamps { "timestamps" } else { "submit and wait (the device has no timestamps)" };
        Report {
            image: args.image.as_ref().map_or_else(String::new, |p| p.display().to_string()),
            size,
            model: loaded.path.display().to_string(),
            input_size,
            grid: loaded.clip.config().grid(input_size),
            templates: args.prompts.templates.clone(),
            precision: args.model.precision_name(),
            adapter: caps.adapter.clone(),
            backend: format!("{:?}", caps.backend),
            clock: device.as_ref().map(|_| clock),
            device,
            methods,
            left_out,
            sheets,
            time_ms: times.iter().copied().collect(),
        }
    }

    /// For people.
    pub fn summary(&self, out: &Path) {
        let (timed, measured) = (self.device.is_some(), self.methods.iter().any(|m| m.miou.is_some()));
        if timed || measured {
            self.table(timed, measured);
        }
        if let Some(t) = &self.device {
            let times = |of: f64| t.together_ms / of.max(f64::MIN_POSITIVE);
            out!(
                "together {:.2} ms: {:.1} passes of plain CLIP ({:.2} ms), {:.0}% of the {:.2} ms that the methods take one by one",
                t.together_ms,
                times(t.clip_ms),
                t.clip_ms,
                100.0 * times(t.separately_ms),
                t.separately_ms
            );
            let runs = if t.runs == 1 { "of one run".to_owned() } else { format!("medians of {} runs", t.runs) };
            out!("device times, {runs}, by {}; shared: what other methods need too", self.clock.unwrap_or_default());
        }
        if measured {
            out!("mIoU: each label at its own best threshold; mSC: mean of the map on the label minus its mean elsewhere; percent");
        }
        let [w, h] = self.grid;
        let total = self.time_ms.get("total").copied().unwrap_or(0.0) / 1e3;
        out!("{} methods on {}, {w}x{h} patches, {total:.2} s in all", self.methods.len(), self.adapter);
        for sheet in &self.sheets {
            out!("contact sheet: {}", out.join(sheet).display());
        }
    }

    fn table(&self, timed: bool, measured: bool) {
        let width = self.methods.iter().map(|m| m.name.chars().count()).max().unwrap_or(0).max(6);
        let number = |value: Option<f64>, of: usize, digits: usize| value.map_or(format!("{:>of$}", "-"), |v| format!("{v:>of$.digits$}"));
        let mut head = format!("{:<width$}", "method");
        if timed {
            head += "    own ms  shared ms";
        }
        if measured {
            head += "   mIoU    mSC";
        }
        out!("{head}");
        for m in &self.methods {
            let mut line = format!("{:<width$}", m.name);
            if timed {
                line += &format!("  {}  {}", number(m.own_ms, 8, 3), number(m.shared_ms, 9, 3));
            }
            if measured {
                let percent = |value: Option<f64>| number(value.map(|v| 100.0 * v), 5, 1);
                line += &format!("  {}  {}", percent(m.miou), percent(m.msc));
            }
            out!("{line}");
        }
    }
}
