//! `lancet anomaly`: how far images are from normal, and where.

mod draw;
mod options;
mod report;

use crate::args::{ModelArgs, SizeArg};
use crate::inputs;
use crate::model::{label_cache, load};
use crate::names;
use crate::output::{OutDir, npy, png};
use crate::progress::Stages;
use anyhow::Result;
use lancet::clip::decode::Decoded;
use lancet::explain::{ANOCLIP, Anomaly, AnomalyDetector};
use options::{Range, StateArgs};
use report::{ImageReport, Report, Settings};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// Show what is not normal about a named thing, without an example of it: AnoCLIP's map and scores
///
/// A patch's score is the probability of "damaged bottle" and the like against "flawless bottle" and the like: 0.5 is neither.
/// The model's cosines go into it as they are, so all scores lie near 0.5; compare images of one kind with each other. Two numbers
/// rank images: the map's largest value (score) and the class token's probability (image probability).
///
/// Colours run from the map's smallest to its largest value, so the hottest place of a faultless image is red too: look at the
/// scale below the picture, or fix it for all images with --range.
///
/// The bundled model knows illustrated scenes and no defects: it shows how the command works, and its scores mean nothing. Take a real
/// CLIP, for example --model ViT-L-14-336. The authors used ViT-B-16-plus-240, LAION-400M.
///
/// Examples: lancet anomaly bottle.jpg --object bottle --model ViT-B-16;
/// lancet anomaly carpets/ --object carpet --texture --npy --range 0.45,0.55
#[derive(Debug, clap::Args)]
pub struct Args {
    /// PNG, JPEG or WebP files, folders of them, patterns
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// What the images show, in a word or a few
    #[arg(long, value_name = "TEXT")]
    object: String,
    #[command(flatten)]
    states: StateArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    size: SizeArg,
    /// Probabilities that the colours begin and end with, the same for all images
    #[arg(long, value_name = "LOW,HIGH")]
    range: Option<Range>,
    /// Folder for the results: NAME.anomaly.png, NAME.anomaly.json
    #[arg(long, default_value = "lancet-out", value_name = "DIR")]
    out: PathBuf,
    /// Also write each map as f32 [H, W], probabilities as they are (NAME.anomaly.npy)
    #[arg(long)]
    npy: bool,
    /// Print the report of all images as JSON instead of a summary
    #[arg(long)]
    json: bool,
}

/// Runs `lancet anomaly`.
pub fn run(args: &Args) -> Result<()> {
    let object = options::object(&args.object)?;
    let chosen = args.states.chosen()?;
    let paths = inputs::images(&args.images)?;
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
    let (states, states_name) = chosen.for_model(&loaded.clip, object)?;
    let prompts = states.normal().list().len() + states.abnormal().list().len();
    stages.begin("states", format!("encoding {prompts} prompts"));
    let cache = if args.states.no_cache { None } else { label_cache() };
    let labels = pollster::block_on(loaded.clip.states(&states, object, cache.as_ref(), |_, _| {}))?;
    let detector = AnomalyDetector::new(&loaded.clip, &labels, &ANOCLIP)?;

    let mut done = Vec::new();
    let mut failed = Vec::new();
    let mut waiting: VecDeque<(usize, Decoded)> = VecDeque::new();
    let mut images = paths.iter().enumerate().peekable();
    let mut stream = None;
    while images.peek().is_some() || !waiting.is_empty() {
        // As many images as there is room for; one model size at a time, since a stream has one.
        while let Some(&(i, path)) = images.peek() {
            stages.begin("decode", format!("reading {}", path.display()));
            // A bad file must not cost the others their results.
            let decoded = match first.take().unwrap_or_else(|| Decoded::open(path)) {
                Ok(decoded) => decoded,
                Err(e) => {
                    failed.push(e.to_string());
                    images.next();
                    continue;
                }
            };
            let model_size = args.size.of(&loaded.clip, decoded.size());
            let (_, stream) = match stream.take() {
                Some(kept @ (size, _)) if size == model_size => stream.insert(kept),
                Some(other) if !waiting.is_empty() => {
                    (stream, first) = (Some(other), Some(Ok(decoded)));
                    break;
                }
                _ => stream.insert((model_size, detector.stream(model_size, (paths.len() == 1).then_some(1))?)),
            };
            if !stream.has_room() {
                first = Some(Ok(decoded));
                break;
            }
            images.next();
            match stream.push(&decoded.image()) {
                Ok(_) => waiting.push_back((i, decoded)),
                Err(e @ (lancet::Error::Input { .. } | lancet::Error::DeviceTooSmall { .. })) if paths.len() > 1 => {
                    failed.push(format!("{}: {e}", path.display()));
                }
                Err(e) => return Err(e.into()),
            }
        }
        let Some(((_, stream), (i, decoded))) = stream.as_mut().zip(waiting.pop_front()) else { continue };
        stages.begin("detect", format!("looking at {} of {}: {}", i + 1, paths.len(), paths[i].display()));
        let found = match pollster::block_on(stream.next()) {
            Err(e @ lancet::Error::ResultNotFinite { .. }) if paths.len() > 1 => {
                failed.push(format!("{}: {e}", paths[i].display()));
                continue;
            }
            found => found?,
        };
        let Some((_, found)) = found else { anyhow::bail!("{}: the image came to no result", paths[i].display()) };
        stages.begin("write", format!("writing {}", names[i]));
        done.push((&names[i], write(args, &mut out, &paths[i], &names[i], &decoded, &found)?));
    }
    let time_ms = stages.finish();
    let settings = Settings::new(args, &loaded, object, states_name, prompts);
    for (name, image) in &done {
        out.stage(&format!("{name}.anomaly.json"), |w| Ok(serde_json::to_writer_pretty(w, &settings.with(image))?))?;
    }
    out.commit()?;
    let report = Report::new(settings, done.into_iter().map(|(_, image)| image).collect(), &time_ms);
    if args.json {
        out!("{}", serde_json::to_string_pretty(&report)?);
    } else if !args.model.quiet {
        report.summary(&args.out);
    }
    inputs::report_failed(&failed, paths.len())
}

/// Stages the pictures of one image; what there is to say about it.
fn write(args: &Args, out: &mut OutDir, path: &Path, name: &str, decoded: &Decoded, found: &Anomaly) -> Result<ImageReport> {
    let range = args.range.unwrap_or_else(|| Range::of(&found.map));
    let overlay = format!("{name}.anomaly.png");
    let (pixels, size) = draw::overlay(decoded.rgba(), found, range)?;
    out.stage(&overlay, |w| png(w, &pixels, size))?;
    let map = args.npy.then(|| format!("{name}.anomaly.npy"));
    if let Some(map) = &map {
        let [width, height] = found.size.map(u64::from);
        out.stage(map, |w| npy(w, &found.map, &[height, width]))?;
    }
    Ok(ImageReport::new(path, found, range, overlay, map))
}
