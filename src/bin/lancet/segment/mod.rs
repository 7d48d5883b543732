//! `lancet segment`: a class for every pixel.

mod draw;
mod options;
mod report;

use crate::args::{self, METHOD_VALUE, ModelArgs};
use crate::inputs;
use crate::model::load;
use crate::names;
use crate::output::{OutDir, png};
use crate::progress::Stages;
use anyhow::Result;
use lancet::Segmenter;
use lancet::clip::decode::Decoded;
use options::{ClassArgs, ViewArgs};
use report::{ImageReport, Report};
use std::path::PathBuf;

/// Give every pixel the class it looks most like: an index picture, an overlay with a legend, areas
///
/// A class is one name or several, separated by commas; the names compete one by one and the best one's class wins. What is
/// none of the classes still gets one of them, so name what else is there with --background, or set a --threshold.
///
/// Examples: lancet segment photo.jpg "person, man, woman" dog --background "sky, wall, grass, floor";
/// lancet segment photos/ --classes voc21
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A PNG, JPEG or WebP file, a folder of them, or a pattern
    image: PathBuf,
    #[command(flatten)]
    classes: ClassArgs,
    /// More files, folders or patterns
    #[arg(long = "also", value_name = "PATH")]
    also: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// surgery-architecture (what CLIP Surgery segments with), another of `lancet methods`, or a TOML file with a method of
    /// your own
    #[arg(long, value_name = METHOD_VALUE, default_value = "surgery-architecture")]
    method: String,
    #[command(flatten)]
    view: ViewArgs,
    /// Prompt templates: ensemble (85), none (the name alone), or a file with one a line, {} for the name
    #[arg(long, default_value = "ensemble", value_name = "ensemble|none|FILE")]
    templates: String,
    /// Do not keep embeddings of names on disk
    #[arg(long)]
    no_cache: bool,
    /// Folder for the results: NAME.segment.png, NAME.segment.overlay.png, NAME.segment.json
    #[arg(long, default_value = "lancet-out", value_name = "DIR")]
    out: PathBuf,
    /// Print the report of all images as JSON instead of a summary
    #[arg(long)]
    json: bool,
}

/// Runs `lancet segment`.
pub fn run(args: &Args) -> Result<()> {
    let classes = args.classes.classes(args.view.wants_background())?;
    let method = args::method(&args.method)?;
    let paths = inputs::images(&[std::slice::from_ref(&args.image), &args.also].concat())?;
    let names = names::of_stems(&paths);
    let mut stages = Stages::new(args.model.quiet || args.json);
    // A wrong name should not wait for a model.
    stages.begin("decode", format!("reading {}", paths[0].display()));
    let mut first = Some(Decoded::open(&paths[0]));
    if paths.len() == 1
        && let Some(Err(e)) = first
    {
        return Err(e.into());
    }

    let mut out = OutDir::open(&args.out)?;
    stages.begin("load", format!("loading {}", args.model.model));
    let loaded = load(&args.model)?;
    let options = args.view.options(loaded.clip.config(), args.classes.set())?;
    let labels = args::embed(&loaded.clip, &classes.names(), &args::templates(&args.templates)?, !args.no_cache, &mut stages)?;
    let mut segmenter = Segmenter::new(&loaded.clip, classes, &labels, &method, options)?;
    if let Some(notice) = segmenter.notice() {
        eprintln!("note: {notice}");
    }

    let (mut images, mut done, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for (i, (path, name)) in paths.iter().zip(&names).enumerate() {
        stages.begin("decode", format!("reading {}", path.display()));
        // A bad file must not cost the others their results.
        let decoded = match first.take().unwrap_or_else(|| Decoded::open(path)) {
            Ok(decoded) => decoded,
            Err(e) => {
                failed.push(e.to_string());
                continue;
            }
        };
        stages.begin("segment", format!("segmenting {} of {}: {}", i + 1, paths.len(), path.display()));
        let started = std::time::Instant::now();
        let found = match pollster::block_on(segmenter.segment(&decoded.image())) {
            Err(e @ (lancet::Error::Input { .. } | lancet::Error::DeviceTooSmall { .. })) if paths.len() > 1 => {
                failed.push(format!("{}: {e}", path.display()));
                continue;
            }
            found => found?,
        };
        let took = started.elapsed();
        stages.begin("write", format!("writing {name}"));
        let (index, overlay) = (format!("{name}.segment.png"), format!("{name}.segment.overlay.png"));
        out.stage(&index, |w| draw::indexed(w, &found, segmenter.classes()))?;
        let (pixels, size) = draw::overlay(decoded.rgba(), &found, segmenter.classes())?;
        out.stage(&overlay, |w| png(w, &pixels, size))?;
        done.push(name);
        images.push(ImageReport::new(path, &found, segmenter.classes(), took, [index, overlay]));
    }
    let time_ms = stages.finish();
    let report = Report::new(args, &loaded, &segmenter, images, &time_ms);
    for (image, name) in report.images.iter().zip(&done) {
        out.stage(&format!("{name}.segment.json"), |w| Ok(serde_json::to_writer_pretty(w, &report.of_image(image))?))?;
    }
    out.commit()?;
    if args.json {
        out!("{}", serde_json::to_string_pretty(&report)?);
    } else if !args.model.quiet {
        report.summary(&args.out);
    }
    inputs::report_failed(&failed, paths.len())
}
