//! `lancet compare`: several methods over one image, computed together.

mod choose;
mod draw;
mod options;
mod page;
mod report;
mod times;
mod truth;

use crate::args::{LabelArgs, ModelArgs, SizeArg};
use crate::model::load;
use crate::names;
use crate::output::{OutDir, file_label, png_opaque, png_page};
use crate::progress::Stages;
use anyhow::{Context, Result};
use choose::Chosen;
use draw::Drawing;
use lancet::clip::decode::Decoded;
use lancet::{Explainer, Method, Scores};
use options::TruthArgs;
use report::{MethodReport, Report};
use std::path::PathBuf;
use times::Times;

/// Put methods side by side: one picture with a row for each, what each costs, and how well each does
///
/// All methods run in one plan, in which steps that several of them need are computed once: a dozen methods cost little more
/// than a few passes of plain CLIP. The table says what each one needs for itself and what it shares, as device times.
///
/// --truth measures the maps: mIoU is the mean over labels of the intersection over union with the label's mask, each at the
/// threshold that suits it best; mSC is the mean over labels of the map's mean on the label minus its mean elsewhere.
///
/// Examples: lancet compare photo.jpg "dog" "bench" "sky" --methods clip,maskclip,surgery;
/// lancet compare scene.png house tree --methods naclip,mine.toml --truth masks/ --json;
/// lancet compare --list
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A PNG, JPEG or WebP file
    #[arg(required_unless_present = "list", value_name = "IMAGE")]
    image: Option<PathBuf>,
    /// What to look for
    #[arg(value_name = "LABEL")]
    names: Vec<String>,
    /// Methods separated by commas, in the order of their rows, by name or as TOML files of your own (see `lancet methods`); all:
    /// the presets that run on this model
    #[arg(long, default_value = "all", value_name = "NAME,FILE.toml|all")]
    methods: String,
    /// Say what methods there are, one a line
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    truth: TruthArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    size: SizeArg,
    #[command(flatten)]
    prompts: LabelArgs,
    /// Warm runs that are timed, of which medians are told; 0: do not time
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=1000))]
    runs: u32,
    /// Folder for the results: NAME.compare.png
    #[arg(long, default_value = "lancet-out", value_name = "DIR")]
    out: PathBuf,
    /// Also write each map over the image at its own size (NAME.METHOD.LABEL.png)
    #[arg(long)]
    maps: bool,
    /// Print scores, peaks, times and measures as JSON instead of a summary
    #[arg(long)]
    json: bool,
}

/// Runs `lancet compare`.
pub fn run(args: &Args) -> Result<()> {
    if args.list {
        return choose::list(args.json);
    }
    let path = args.image.as_ref().context("no image: name one, e.g. lancet compare photo.jpg \"dog\" \"bench\"")?;
    let mut chosen = Chosen::parse(&args.methods)?;
    let names = args.prompts.names(&args.names)?;
    let mut stages = Stages::new(args.model.quiet || args.json);
    // What is wrong with files should not wait for a model.
    stages.begin("decode", format!("reading {}", path.display()));
    let decoded = Decoded::open(path)?;
    let truth = args.truth.read(&names, decoded.size())?;
    let mut out = OutDir::open(&args.out)?;
    stages.begin("load", format!("loading {}", args.model.model));
    let loaded = load(&args.model)?;
    let model_size = args.size.of(&loaded.clip, decoded.size());
    chosen.fit_model(loaded.clip.config())?;
    let labels = args.prompts.embed(&loaded.clip, &names, &mut stages)?;
    let explainer = Explainer::new(&loaded.clip, &labels, &Method::CLIP)?;

    stages.begin("compare", format!("comparing {} methods", chosen.methods.len()));
    let images = [decoded.image()];
    let (mut comparison, scores) = chosen.score(&explainer, &images, model_size)?;
    for left_out in &chosen.left_out {
        eprintln!("note: {} is left out: {}", left_out.name, left_out.reason);
    }
    for notice in comparison.notices() {
        eprintln!("note: {notice}");
    }
    let times = match args.runs {
        0 => None,
        runs => {
            stages.begin("time", format!("timing {runs} runs"));
            Some(Times::measure(&explainer, &mut comparison, &images, model_size, runs as usize)?)
        }
    };

    let found: Vec<(&Method, &Scores)> = comparison.methods().zip(&scores).collect();
    let measured = match &truth {
        None => Vec::new(),
        Some(truth) => {
            stages.begin("measure", "comparing maps with masks");
            truth.measure_all(&found)?
        }
    };
    stages.begin("draw", "drawing");
    let (drawing, stem) = (Drawing::new(decoded.rgba(), decoded.size()), names::stem(path));
    let mut sheets = Vec::new();
    for (number, (pixels, size)) in (1..).zip(page::pages(&drawing, &names, &found, truth.as_ref(), &measured)) {
        let name = if number == 1 { format!("{stem}.compare.png") } else { format!("{stem}.compare-{number}.png") };
        out.stage(&name, |w| png_page(w, &pixels, size))?;
        sheets.push(name);
    }
    let mut reports: Vec<MethodReport> = found.iter().map(|(method, scores)| MethodReport::new(method, scores, &names)).collect();
    if args.maps {
        write_maps(&mut out, &stem, &drawing, &found, &mut reports)?;
    }
    reports.iter_mut().zip(&measured).for_each(|(report, measured)| report.measured(measured));
    if let Some(times) = &times {
        reports.iter_mut().zip(&times.costs.methods).for_each(|(report, cost)| report.cost(cost));
    }
    out.commit()?;
    let times_ms = stages.finish();
    let report = Report::new(args, &loaded, [decoded.size(), model_size], reports, chosen.left_out, times, sheets, &times_ms);
    if args.json {
        out!("{}", serde_json::to_string_pretty(&report)?);
    } else if !args.model.quiet {
        report.summary(&args.out);
    }
    Ok(())
}

/// Stages every map over the image; the reports get the names.
fn write_maps(
    out: &mut OutDir,
    stem: &str,
    drawing: &Drawing<'_>,
    found: &[(&Method, &Scores)],
    reports: &mut [MethodReport],
) -> Result<()> {
    for ((method, scores), report) in found.iter().zip(reports) {
        let labels: Vec<String> = report.labels.iter().map(|l| l.label.clone()).collect();
        for ((label, part), said) in (0..).zip(names::of_labels(&labels)).zip(&mut report.labels) {
            let name = format!("{stem}.{}.{part}.png", file_label(&method.name));
            let overlay = drawing.overlay(method.maps, scores, label);
            out.stage(&name, |w| png_opaque(w, &overlay, drawing.size()))?;
            said.overlay = Some(name);
        }
    }
    Ok(())
}
