//! `lancet classify`: which labels fit an image as a whole.

use crate::args::{LabelArgs, ModelArgs, SizeArg};
use crate::inputs;
use crate::model::{Loaded, load};
use crate::output::write_file;
use crate::progress::Stages;
use anyhow::{Result, bail};
use clap::ValueEnum;
use lancet::clip::decode::Decoded;
use lancet::explain::recognize::{RECOGNITION, top};
use lancet::{Explainer, Image, Method};
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Name what is in images: zero-shot classification, or several labels at once
///
/// Without --multi-label, scores are probabilities over the labels: softmax of the model's temperature times the cosine.
/// With it, each label is scored for itself by feature surgery on the class token: 0 means no more present than the
/// labels are on average, and scores compare between images; use it where several labels or none may be there.
///
/// Examples: lancet classify photo.jpg --label cat --label dog;
/// lancet classify photos/ --labels names.txt --multi-label --threshold 0.01 --format csv --out found.csv
#[derive(Debug, clap::Args)]
pub struct Args {
    /// PNG, JPEG or WebP files, folders of them, patterns
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// A label; give it several times for several
    #[arg(long = "label", short, value_name = "TEXT")]
    label: Vec<String>,
    #[command(flatten)]
    prompts: LabelArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    size: SizeArg,
    /// Score each label for itself: several may be present, or none
    #[arg(long)]
    multi_label: bool,
    /// How many labels per image, best first
    #[arg(long, default_value_t = 5, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// Only labels with at least this score
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    threshold: Option<f32>,
    /// How results are written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Write to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For reading
    Text,
    /// One document
    Json,
    /// A row per image and label, with a header
    Csv,
}

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    method: &'static str,
    notice: Option<String>,
    templates: String,
    precision: &'static str,
    adapter: String,
    logit_scale: f32,
    images: Vec<Found>,
    failed: Vec<Failed>,
}

#[derive(Debug, Serialize)]
struct Found {
    image: String,
    labels: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    label: String,
    /// Probability, or presence with --multi-label.
    score: f32,
    cosine: f32,
}

#[derive(Debug, Serialize)]
struct Failed {
    image: String,
    error: String,
}

/// Runs `lancet classify`.
pub fn run(args: &Args) -> Result<()> {
    let names = args.prompts.names(&args.label)?;
    let paths = inputs::images(&args.images)?;
    if args.threshold.is_some_and(|t| !t.is_finite()) {
        bail!("--threshold must be a number");
    }
    let mut stages = Stages::new(args.model.quiet);
    stages.begin("load", format!("loading {}", args.model.model));
    let Loaded { clip, engine, path } = load(&args.model)?;
    let labels = args.prompts.embed(&clip, &names, &mut stages)?;
    let mut explainer = Explainer::new(&clip, &labels, if args.multi_label { &RECOGNITION } else { &Method::CLIP })?;
    let logit_scale = clip.logit_scale()?;

    let (mut images, mut failed) = (Vec::new(), Vec::new());
    for (i, path) in paths.iter().enumerate() {
        stages.begin("classify", format!("classifying {} of {}: {}", i + 1, paths.len(), path.display()));
        // A bad file must not cost the others their results.
        let decoded = match Decoded::open(path) {
            Ok(decoded) => decoded,
            Err(e) => {
                failed.push(Failed { image: path.display().to_string(), error: e.to_string() });
                continue;
            }
        };
        let image = Image::new(decoded.size(), decoded.rgba())?;
        let scores = pollster::block_on(explainer.score(&[image], args.size.of(&clip, decoded.size())))?;
        let values = if args.multi_label { scores.class_scores.clone() } else { scores.probabilities(logit_scale) };
        let row = |l: usize| Row { label: names[l].clone(), score: values[l], cosine: scores.class_cosines[l] };
        let fits = |row: &Row| args.threshold.is_none_or(|t| row.score >= t);
        let labels = top(&values, args.top as usize).into_iter().map(row).filter(fits).collect();
        images.push(Found { image: path.display().to_string(), labels });
    }
    stages.finish();
    let report = Report {
        model: path.display().to_string(),
        method: if args.multi_label { "multi-label: feature surgery on the class token" } else { "softmax of scaled cosines" },
        notice: explainer.notice().map(str::to_owned),
        templates: args.prompts.templates.clone(),
        precision: args.model.precision_name(),
        adapter: engine.caps().adapter.clone(),
        logit_scale,
        images,
        failed,
    };
    if let Some(notice) = &report.notice {
        eprintln!("note: {notice}");
    }
    let format = if args.json { Format::Json } else { args.format };
    match &args.out {
        Some(out) => write_file(out, |w| write(w, &report, format))?,
        None => write(&mut std::io::stdout().lock(), &report, format)?,
    }
    finish(&report, args.out.as_deref(), args.model.quiet)
}

/// What was written where, and what went wrong.
fn finish(report: &Report, out: Option<&Path>, quiet: bool) -> Result<()> {
    if let Some(out) = out.filter(|_| !quiet) {
        out!("{}: {} image(s)", out.display(), report.images.len());
    }
    let failed: Vec<String> = report.failed.iter().map(|f| f.error.clone()).collect();
    inputs::report_failed(&failed, failed.len() + report.images.len())
}

fn write(w: &mut dyn Write, report: &Report, format: Format) -> Result<()> {
    match format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut *w, report)?;
            writeln!(w)?;
        }
        Format::Csv => {
            let mut csv = csv::Writer::from_writer(w);
            csv.write_record(["image", "rank", "label", "score", "cosine"])?;
            for found in &report.images {
                for (rank, row) in found.labels.iter().enumerate() {
                    csv.serialize((&found.image, rank + 1, &row.label, row.score, row.cosine))?;
                }
            }
            csv.flush()?;
        }
        Format::Text => {
            for found in &report.images {
                writeln!(w, "{}", found.image)?;
                if found.labels.is_empty() {
                    writeln!(w, "  no label reaches the threshold")?;
                }
                for row in &found.labels {
                    writeln!(w, "  {:>8.4}  {}  (cosine {:.4})", row.score, row.label, row.cosine)?;
                }
            }
        }
    }
    Ok(())
}
