//! `lancet explain`: heat maps of what each label lights up.

mod flow;
mod journal;
mod many;
mod one;
mod report;
mod words;
mod writer;

use crate::args::{self, LabelArgs, MethodArgs, ModelArgs};
use crate::inputs;
use crate::model::Loaded;
use anyhow::{Result, bail};
use lancet::{Explainer, Stream, StreamOptions};
use std::ffi::OsString;
use std::path::PathBuf;

/// Pieces that the device may be ahead: enough to bridge the writing of a contact sheet.
const IN_FLIGHT: u32 = 8;

/// Show where a CLIP sees each label: overlays, contact sheets, raw maps
///
/// Example: lancet explain photo.jpg "dog" "bench" "sky" --out maps
///
/// The first word is an image, and so are those right behind it that end in .png, .jpg, .jpeg, .webp or a slash, or hold a
/// star; the rest are labels. With labels behind --label or --, every other word is an image, a folder or a pattern:
///
/// lancet explain photos/ 'frames/*.png' extra.jpg -l dog -l "park bench"
///
/// Results are called NAME.LABEL.png, NAME.sheet.png and so on. NAME is the file's name without its ending; if two images share
/// one, all names become paths from their common folder, and images that differ only in their ending keep it.
///
/// With a folder, a pattern or several images, a bad file does not stop the others: failures are listed at the end, and the exit
/// code is 1. lancet-run.json says how each image ended and where the time went. Run the same command again after it was
/// stopped, or with more images: those that are finished (same file, model, labels and settings) are skipped.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// PNG, JPEG or WebP files, folders of them, patterns; then what to look for
    #[arg(required = true, value_name = "IMAGE|LABEL")]
    words: Vec<OsString>,
    /// What to look for
    #[arg(last = true, value_name = "LABEL")]
    behind: Vec<String>,
    /// What to look for; give it several times for several
    #[arg(long, short, value_name = "TEXT")]
    label: Vec<String>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    method: MethodArgs,
    #[command(flatten)]
    prompts: LabelArgs,
    /// Folder for the results
    #[arg(long, default_value = "lancet-out", value_name = "DIR")]
    out: PathBuf,
    /// Also write each map as a transparent picture to lay over others (NAME.LABEL.alpha.png)
    #[arg(long)]
    alpha: bool,
    /// Also write each map as f32 [H, W] in 0..1 (NAME.LABEL.npy)
    #[arg(long)]
    npy: bool,
    /// Also write scores, peaks, settings and times (NAME.json)
    #[arg(long)]
    json: bool,
    /// No contact sheets
    #[arg(long)]
    no_sheet: bool,
    /// Images that the model works on at once [default: by the size of the model's input, 1 to 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    batch: Option<u32>,
    /// Do images again that an earlier run finished
    #[arg(long)]
    redo: bool,
}

/// Runs `lancet explain`.
pub fn run(args: &Args) -> Result<()> {
    let explicit: Vec<String> = args.label.iter().chain(&args.behind).cloned().collect();
    let (given, labels) = words::split(&args.words, &explicit)?;
    let labels = args.prompts.names(&labels)?;
    let method = args::method(&args.method.method)?;
    method.check()?;
    match given.as_slice() {
        [image] if inputs::is_single(&given) => one::run(args, image, &labels, &method),
        _ => many::run(args, inputs::images(&given)?, &labels, &method),
    }
}

impl Args {
    fn kinds(&self) -> writer::Kinds {
        writer::Kinds { alpha: self.alpha, npy: self.npy, sheet: !self.no_sheet, json: self.json }
    }

    /// For this many images.
    fn stream<'a>(&self, explainer: &'a Explainer, model_size: [u32; 2], images: usize) -> Result<Stream<'a>> {
        let options =
            StreamOptions { batch: self.batch, in_flight: IN_FLIGHT, maps: self.alpha || self.npy, ..StreamOptions::new(model_size) };
        let stream = explainer.stream(options)?;
        // A batch that never fills is memory for nothing.
        match u32::try_from(images) {
            Ok(few) if few < stream.batch() => Ok(explainer.stream(StreamOptions { batch: Some(few.max(1)), ..options })?),
            _ => Ok(stream),
        }
    }

    fn settings(&self, loaded: &Loaded, explainer: &Explainer, activation_bytes: u64, input_size: Option<[u32; 2]>) -> report::Settings {
        let caps = loaded.engine.caps();
        report::Settings {
            model: loaded.path.display().to_string(),
            method: explainer.method().name.to_string(),
            notice: explainer.notice().map(str::to_owned),
            input_size,
            grid: input_size.map(|size| loaded.clip.config().grid(size)),
            templates: self.prompts.templates.clone(),
            precision: self.model.precision_name(),
            adapter: caps.adapter.clone(),
            backend: format!("{:?}", caps.backend),
            activation_bytes,
        }
    }
}

/// An error that a closure kept, or the reason why there is nothing else.
fn kept<T>(value: Option<T>, error: Option<lancet::Error>) -> Result<T> {
    match (value, error) {
        (_, Some(e)) => Err(e.into()),
        (Some(value), None) => Ok(value),
        (None, None) => bail!("the image came to no result"),
    }
}
