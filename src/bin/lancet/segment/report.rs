//! What `lancet segment` says: JSON and a table.

use super::Args;
use crate::model::Loaded;
use lancet::explain::segment::View;
use lancet::{Classes, Segmentation, Segmenter};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// All images of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    settings: Settings,
    pub images: Vec<ImageReport>,
    time_ms: BTreeMap<&'static str, f64>,
}

#[derive(Debug, Serialize)]
struct Settings {
    model: String,
    method: String,
    view: String,
    logit_scale: f32,
    threshold: f32,
    min_area: Option<f32>,
    refinement: Option<String>,
    presence: f32,
    times_class_row: bool,
    /// Distance and number of patches.
    cluster_vote: Option<(f64, usize)>,
    closing: bool,
    padded_windows: bool,
    templates: String,
    precision: &'static str,
    adapter: String,
    backend: String,
}

/// One image.
#[derive(Debug, Serialize)]
pub struct ImageReport {
    image: String,
    size: [u32; 2],
    /// What the windows lie on.
    input_size: [u32; 2],
    windows: usize,
    grid: [u32; 2],
    classes: Vec<ClassReport>,
    index_picture: String,
    overlay: String,
    segment_ms: f64,
}

#[derive(Debug, Serialize)]
struct ClassReport {
    index: usize,
    class: String,
    names: Vec<String>,
    colour: [u8; 3],
    /// Pixels.
    area: u64,
    /// Of the image.
    fraction: f64,
    /// Null where the class has no pixel.
    mean_confidence: Option<f32>,
}

/// One image with the settings of its run.
#[derive(Debug, Serialize)]
pub struct OfImage<'a> {
    #[serde(flatten)]
    settings: &'a Settings,
    #[serde(flatten)]
    image: &'a ImageReport,
}

impl ImageReport {
    /// From a result and the names of its pictures.
    pub fn new(path: &Path, found: &Segmentation, classes: &Classes, took: Duration, [index_picture, overlay]: [String; 2]) -> ImageReport {
        let total: u64 = found.areas.iter().sum();
        let class = |(index, (class, colour)): (usize, (&lancet::explain::segment::Class, [u8; 3]))| ClassReport {
            index,
            class: class.title.clone(),
            names: class.names.clone(),
            colour,
            area: found.areas[index],
            fraction: found.areas[index] as f64 / total as f64,
            mean_confidence: (found.areas[index] > 0).then_some(found.mean_confidence[index]),
        };
        ImageReport {
            image: path.display().to_string(),
            size: found.size,
            input_size: found.input,
            windows: found.windows,
            grid: found.grid,
            classes: classes.list().iter().zip(classes.colours()).enumerate().map(class).collect(),
            index_picture,
            overlay,
            segment_ms: took.as_secs_f64() * 1e3,
        }
    }
}

impl Report {
    /// Everything about a run.
    pub fn new(args: &Args, loaded: &Loaded, segmenter: &Segmenter, images: Vec<ImageReport>, times: &[(&'static str, f64)]) -> Report {
        let (caps, options) = (loaded.engine.caps(), segmenter.options());
        let view = match options.view {
            View::Whole([w, h]) => format!("whole image, {w}x{h}"),
            View::Aspect(side) => format!("whole image at its aspect, as many patches as {side}x{side}"),
            View::Short(short) => format!("whole image, short side {}, long side up to {}", short.side, short.long),
            View::Windows { short, crop, stride } => {
                format!("windows of {crop} every {stride}, short side {}, long side up to {}", short.side, short.long)
            }
        };
        let settings = Settings {
            model: loaded.path.display().to_string(),
            method: segmenter.method().name.to_string(),
            view,
            logit_scale: options.logit_scale,
            threshold: options.prob_thd,
            min_area: options.area_thd,
            presence: options.presence,
            times_class_row: options.class_row,
            cluster_vote: options.cluster_vote.map(|vote| (vote.eps, vote.min_samples)),
            closing: options.closing,
            padded_windows: options.pad,
            refinement: options.pamr.as_ref().map(|p| format!("{} x PAMR, dilations {:?}", p.iterations, p.dilations)),
            templates: args.templates.clone(),
            precision: args.model.precision_name(),
            adapter: caps.adapter.clone(),
            backend: format!("{:?}", caps.backend),
        };
        Report { settings, images, time_ms: times.iter().copied().collect() }
    }

    /// What goes beside one image.
    pub fn of_image<'a>(&'a self, image: &'a ImageReport) -> OfImage<'a> {
        OfImage { settings: &self.settings, image }
    }

    /// For people.
    pub fn summary(&self, out: &Path) {
        for image in &self.images {
            let mut there: Vec<&ClassReport> = image.classes.iter().filter(|c| c.area > 0).collect();
            there.sort_by_key(|c| std::cmp::Reverse(c.area));
            let width = there.iter().map(|c| c.class.chars().count()).max().unwrap_or(0).max(5);
            out!("{}", image.image);
            out!("  {:<width$}   area  confidence", "class");
            for class in there {
                let sure = class.mean_confidence.unwrap_or(0.0);
                out!("  {:<width$} {:>5.1} %  {sure:>5.2}", class.class, 100.0 * class.fraction);
            }
            let [gw, gh] = image.grid;
            out!(
                "  {} window(s) of {gw}x{gh} patches, {:.2} s: {}",
                image.windows,
                image.segment_ms / 1e3,
                out.join(&image.overlay).display()
            );
        }
        let total = self.time_ms.get("total").copied().unwrap_or(0.0) / 1e3;
        out!("{} on {}, {total:.2} s in all", self.settings.method, self.settings.adapter);
    }
}
