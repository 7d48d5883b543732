//! `lancet points`: a text to point prompts for a segmenter such as SAM.

use crate::args::{self, LabelArgs, MethodArgs, ModelArgs};
use crate::inputs;
use crate::marks::{heat, marked};
use crate::model::{Loaded, load};
use crate::names;
use crate::output::{OutDir, png};
use crate::progress::Stages;
use anyhow::{Context, Result, bail};
use lancet::clip::decode::Decoded;
use lancet::explain::{PointOptions, Points, Threshold, combined_points};
use lancet::{Clip, Explainer, Score, Scores};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Turn a text into point prompts for SAM: NAME.points.json and a picture with the points, NAME.points.png
///
/// Examples: lancet points photo.jpg "dog";
/// lancet points photo.jpg "person+bench" (both together);
/// lancet points photos/ "dog" --against "cat" "sofa" "lawn" (dog rather than these)
///
/// point_coords ([x, y], pixels of the image) and point_labels (1 part of it, 0 not) are in the form that SamPredictor.predict
/// takes; tools/sam_predict.py feeds them to SAM, src/bin/sam_points.rs shows the loop in Rust. One text is told from the empty
/// text; with --against, from those labels.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// PNG, JPEG or WebP files, folders of them, patterns
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// What to point at; several things with +, as in "person+bench"
    #[arg(required = true)]
    text: String,
    /// Labels to tell it from
    #[arg(long, value_name = "LABEL", num_args = 1..)]
    against: Vec<String>,
    /// How strong a cell must be for a point, 0 to 1 of the way from the weakest to the strongest
    #[arg(long, default_value_t = 0.8, value_name = "0..1")]
    threshold: f32,
    /// Instead of --threshold: the quantile of the cells from which on they count; 0.9 takes a tenth of them
    #[arg(long, value_name = "0..1", conflicts_with = "threshold")]
    quantile: Option<f32>,
    /// Smooth: divide the sides of the map by this before points are chosen
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    down_sample: u32,
    /// At most so many positive points a text, and so many negative ones, taken evenly by rank [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_points: Option<u32>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    method: MethodArgs,
    #[command(flatten)]
    prompts: LabelArgs,
    /// Draw the points over the heat map instead of the bare image
    #[arg(long)]
    heat: bool,
    /// Folder for the results
    #[arg(long, default_value = "lancet-out", value_name = "DIR")]
    out: PathBuf,
    /// Print the JSON instead of a summary, one line an image
    #[arg(long)]
    json: bool,
}

/// What `NAME.points.json` says.
#[derive(Debug, Serialize)]
struct Report {
    image: String,
    size: [u32; 2],
    text: String,
    point_coords: Vec<[u32; 2]>,
    point_labels: Vec<u8>,
    /// The score of each point's cell.
    point_scores: Vec<f32>,
    parts: Vec<Part>,
    picture: String,
    against: Vec<String>,
    threshold: Option<f32>,
    quantile: Option<f32>,
    down_sample: u32,
    max_points: Option<u32>,
    method: String,
    /// What the cosines are corrected by: "empty text", "labels" or "nothing".
    minus: &'static str,
    input_size: [u32; 2],
    grid: [u32; 2],
    model: String,
    templates: String,
    precision: &'static str,
    adapter: String,
    backend: String,
}

/// One of the texts between the plus signs.
#[derive(Debug, Serialize)]
struct Part {
    text: String,
    /// Cosine of the image's class row with the text.
    score: f32,
    peak: Peak,
}

/// Strongest patch: its centre, and its score.
#[derive(Debug, Serialize)]
struct Peak {
    x: u32,
    y: u32,
    score: f32,
}

/// Runs `lancet points`.
pub fn run(args: &Args) -> Result<()> {
    let parts = parts(&args.text)?;
    let labels = label_set(args, &parts)?;
    let options = options(args)?;
    let method = args::method(&args.method.method)?;
    // Texts sought together are no label set: nothing tells them from each other.
    let method = if labels.len() == parts.len() { method.for_labels(1).0 } else { method };
    let paths = inputs::images(&args.images)?;
    let mut stages = Stages::new(args.model.quiet);
    // A folder that cannot be written should not wait for a model.
    drop(OutDir::open(&args.out)?);
    stages.begin("load", format!("loading {}", args.model.model));
    let loaded = load(&args.model)?;
    let embedded = args.prompts.embed(&loaded.clip, &labels, &mut stages)?;
    let explainer = Explainer::new(&loaded.clip, &embedded, &method)?;
    let mut pointer = Pointer { args, loaded: &loaded, explainer, parts, options };

    let (mut reports, mut done, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for (i, (path, name)) in paths.iter().zip(names::of_stems(&paths)).enumerate() {
        let place = if paths.len() > 1 { format!(" ({} of {})", i + 1, paths.len()) } else { String::new() };
        stages.begin("points", format!("{}{place}", path.display()));
        match pointed(&mut pointer, path, &name) {
            Ok(report) => {
                done.push(name);
                reports.push(report);
            }
            // A bad file must not cost the others their results.
            Err(e) if paths.len() > 1 => failed.push(format!("{e:#}")),
            Err(e) => return Err(e),
        }
    }
    let times: BTreeMap<_, _> = stages.finish().into_iter().collect();
    for (report, name) in reports.iter().zip(&done) {
        if args.json {
            out!("{}", serde_json::to_string(report)?);
        } else if !args.model.quiet {
            summary(report, &args.out.join(format!("{name}.points.json")));
        }
    }
    if let (Some(last), false) = (reports.last(), args.json || args.model.quiet) {
        out!("{} on {}: {:.2} s", last.method, last.adapter, times.get("total").copied().unwrap_or(0.0) / 1e3);
    }
    inputs::report_failed(&failed, paths.len())
}

/// One image's files, all of them or none.
fn pointed(pointer: &mut Pointer<'_>, path: &Path, name: &str) -> Result<Report> {
    let mut out = OutDir::open(&pointer.args.out)?;
    let report = pointer.point(path, name, &mut out)?;
    out.stage(&format!("{name}.points.json"), |w| Ok(serde_json::to_writer_pretty(w, &report)?))?;
    out.commit()?;
    Ok(report)
}

/// The texts between the plus signs.
fn parts(text: &str) -> Result<Vec<String>> {
    let parts: Vec<String> = text.split('+').map(|part| part.trim().to_owned()).collect();
    for (i, part) in parts.iter().enumerate() {
        if part.is_empty() {
            bail!("text \"{text}\": nothing to point at{}", if parts.len() > 1 { " on one side of a +" } else { "" });
        }
        if parts[..i].contains(part) {
            bail!("text \"{text}\": \"{part}\" is in it twice; name it once");
        }
    }
    Ok(parts)
}

/// What is sought, then what it is told from.
fn label_set(args: &Args, parts: &[String]) -> Result<Vec<String>> {
    let mut labels = parts.to_vec();
    if !args.against.is_empty() || args.prompts.labels_file.is_some() {
        // The sought ones may be among them.
        labels.extend(args.prompts.names(&args.against)?.into_iter().filter(|l| !parts.contains(l)));
        if labels.len() == parts.len() {
            bail!("nothing to tell \"{}\" from: --against names only what is sought", args.text);
        }
    }
    Ok(labels)
}

fn options(args: &Args) -> Result<PointOptions> {
    let (name, limit) = args.quantile.map_or(("--threshold", args.threshold), |q| ("--quantile", q));
    if !(0.0..=1.0).contains(&limit) {
        bail!("{name} {limit}: expected 0 to 1");
    }
    let threshold = args.quantile.map_or(Threshold::Stretched(args.threshold), Threshold::Quantile);
    Ok(PointOptions { threshold, down_sample: args.down_sample, most: args.max_points.map(|n| n as usize) })
}

/// Points at one text in image after image.
struct Pointer<'a> {
    args: &'a Args,
    loaded: &'a Loaded,
    explainer: Explainer,
    parts: Vec<String>,
    options: PointOptions,
}

impl Pointer<'_> {
    /// Scores an image, stages its picture, and says everything about it.
    fn point(&mut self, path: &Path, name: &str, out: &mut OutDir) -> Result<Report> {
        let decoded = Decoded::open(path)?;
        let (args, size) = (self.args, decoded.size());
        let clip = &self.loaded.clip;
        let input_size = args.method.size.or(clip, size, default_side(clip));
        let scores = pollster::block_on(self.explainer.score(&[decoded.image()], input_size))?;
        let maps: Vec<&[f32]> = (0..self.parts.len()).map(|l| scores.map(0, l)).collect();
        let points =
            combined_points(&maps, scores.grid, size, &self.options).with_context(|| format!("\"{}\" in {}", args.text, path.display()))?;

        let cells = scores.grid.map(|n| (n / args.down_sample).max(1));
        let cell = [0, 1].map(|axis| size[axis] as f32 / cells[axis] as f32);
        let warm = args.heat.then(|| heat(clip.gpu(), &maps, scores.grid, &decoded.image())).transpose()?;
        let below = warm.as_deref().unwrap_or(decoded.rgba());
        let (pixels, page) = marked(below, size, &points.coords, &points.labels, cell);
        let picture = format!("{name}.points.png");
        out.stage(&picture, |w| png(w, &pixels, page))?;
        Ok(self.report(path, size, input_size, &scores, points, picture))
    }

    fn report(&self, path: &Path, size: [u32; 2], input_size: [u32; 2], scores: &Scores, points: Points, picture: String) -> Report {
        let (args, method, caps) = (self.args, self.explainer.method(), self.loaded.engine.caps());
        let parts = self.parts.iter().enumerate().map(|(l, text)| Part {
            text: text.clone(),
            score: scores.class_cosines[l],
            peak: peak(scores.map(0, l), scores.grid, size),
        });
        Report {
            image: path.display().to_string(),
            size,
            text: args.text.clone(),
            point_coords: points.coords,
            point_labels: points.labels,
            point_scores: points.scores,
            parts: parts.collect(),
            picture,
            against: self.explainer.labels().names()[self.parts.len()..].to_vec(),
            threshold: args.quantile.is_none().then_some(args.threshold),
            quantile: args.quantile,
            down_sample: args.down_sample,
            max_points: args.max_points,
            method: method.name.to_string(),
            minus: match method.score {
                Score::EmptyText => "empty text",
                Score::LabelSet { .. } => "labels",
                Score::Cosine | Score::States { .. } => "nothing",
            },
            input_size,
            grid: scores.grid,
            model: self.loaded.path.display().to_string(),
            templates: args.prompts.templates.clone(),
            precision: args.model.precision_name(),
            adapter: caps.adapter.clone(),
            backend: format!("{:?}", caps.backend),
        }
    }
}

/// The original's demonstration looks at 512 pixels with a model of 224, 32 patches a side instead of 14: the same ratio for
/// every model, on an even number of patches.
fn default_side(clip: &Clip) -> u32 {
    let config = clip.config();
    2 * ((config.native_grid * 8 + 3) / 7).max(1) * config.patch
}

/// The strongest patch of a map.
fn peak(map: &[f32], grid: [u32; 2], size: [u32; 2]) -> Peak {
    let (at, score) = map.iter().enumerate().fold((0, f32::MIN), |best, (i, &v)| if v > best.1 { (i, v) } else { best });
    let cell = [at as u32 % grid[0], at as u32 / grid[0]];
    let [x, y] = [0, 1].map(|axis| ((cell[axis] as f32 + 0.5) * size[axis] as f32 / grid[axis] as f32) as u32);
    Peak { x, y, score }
}

fn summary(report: &Report, json: &Path) {
    let positives = report.point_labels.iter().filter(|&&l| l == 1).count();
    out!("{}: {positives} positive, {} negative points", report.image, report.point_labels.len() - positives);
    let width = report.parts.iter().map(|p| p.text.chars().count()).max().unwrap_or(0);
    for p in &report.parts {
        out!("  {:<width$}  score {:.3}, strongest at {}, {}", p.text, p.score, p.peak.x, p.peak.y);
    }
    let [w, h] = report.grid;
    out!("  {w}x{h} patches; {}, {}", json.display(), report.picture);
}
