//! `lancet profile`: where the time of one explanation goes, or of a prompt ensemble, and how cost grows with the work.

mod grow;
mod kernels;
mod machine;
mod one;
mod serve;
mod texts;

use crate::args::{MethodArgs, ModelArgs};
use crate::model::Loaded;
use crate::progress::Stages;
use anyhow::Result;
use lancet::gpu::{Source, Tensor};
use lancet::ops::{Ceilings, FmaMeter};
use lancet::shape::DType;
use lancet::{Explainer, ImageInput, Labels, SourceKind};

/// Time warm explanations, whole and step by step, beside what the adapter can do at most
///
/// Two kernels measure the adapter first: one that only multiplies and adds, one that only copies. A step that does more
/// arithmetic per byte than their ratio waits for arithmetic, any other for memory; "of ceiling" is the share it reaches of
/// the speed that it waits for. More than 100 % means that its operands stay in caches.
///
/// Examples: lancet profile --method surgery --size 224 --runs 9;
/// lancet profile --texts --labels default --runs 1;
/// lancet profile --grow tokens --json > tokens.json
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    method: MethodArgs,
    /// Warm runs; medians are printed
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    /// Labels (made-up unit vectors: their text does not matter here)
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    label_count: u32,
    /// Images in one run
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch: u32,
    #[command(flatten)]
    texts: texts::TextArgs,
    /// Time and device memory over 50 to 4097 tokens, 1 to 1000 labels, or 1 to 64 images in a run
    #[arg(long, value_enum, conflicts_with = "texts")]
    grow: Option<grow::Axis>,
    /// With --grow: no larger points once a run takes this many seconds
    #[arg(long, default_value_t = 60.0, value_name = "S", requires = "grow", value_parser = positive)]
    longest: f64,
    /// Do not measure what the adapter can do at most
    #[arg(long)]
    no_ceilings: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Time one run per line read from stdin and print its milliseconds, for interleaved comparisons
    #[arg(long, hide = true, conflicts_with = "grow")]
    serve: bool,
}

/// Runs `lancet profile`.
pub fn run(args: &Args) -> Result<()> {
    match args.grow {
        _ if args.texts.texts => texts::run(args),
        Some(axis) => grow::run(args, axis),
        None => one::run(args),
    }
}

impl Args {
    /// What the adapter can do at most, and what measured its multiply-adds, unless that is not wanted; says on the terminal what it does.
    fn ceilings(&self, loaded: &Loaded, stages: &mut Stages) -> Result<Option<(Ceilings, FmaMeter)>> {
        if self.no_ceilings || self.serve {
            return Ok(None);
        }
        stages.begin("ceilings", "measuring what the adapter can do at most");
        let gpu = loaded.engine.gpu();
        let mut meter = FmaMeter::new(gpu)?;
        Ok(Some((Ceilings::measure_by(gpu, &mut meter)?, meter)))
    }

    fn explainer(&self, loaded: &Loaded, labels: u32) -> Result<Explainer> {
        let labels = made_up_labels(labels as usize, loaded.clip.config().embed as usize)?;
        Ok(Explainer::new(&loaded.clip, &labels, &crate::args::method(&self.method.method)?)?)
    }
}

/// Size of the pictures, pixels.
const PICTURE: [u32; 2] = [640, 480];

/// So many pictures, as the model sees them at `model_size`.
fn input(images: u32, model_size: [u32; 2]) -> ImageInput {
    ImageInput { kind: SourceKind::Rgba8, images, size: PICTURE, model_size }
}

/// Their pixels on the device.
fn pictures(loaded: &Loaded, images: u32) -> Result<Tensor> {
    let [w, h] = PICTURE;
    let pixels: Vec<u32> = (0..images * w * h).map(|i| i.wrapping_mul(2_654_435_761) | 0xff00_0000).collect();
    Ok(loaded.engine.gpu().upload("image", &[images, h, w], DType::U32, &pixels)?)
}

fn source(pictures: &Tensor) -> Source<'_> {
    Source::Rgba8(pictures.buffer())
}

/// Unit vectors of a fixed sequence.
fn made_up_labels(count: usize, width: usize) -> Result<Labels> {
    let row = |seed: usize| {
        let raw: Vec<f32> = (0..width).map(|i| ((seed * width + i) as f32 * 12.9898).sin()).collect();
        let length = raw.iter().map(|v| v * v).sum::<f32>().sqrt();
        raw.into_iter().map(move |v| v / length)
    };
    let names = (0..count).map(|i| i.to_string()).collect();
    Ok(Labels::new(names, (0..count).flat_map(row).collect(), row(count).collect(), width)?)
}

fn positive(text: &str) -> Result<f64, String> {
    text.parse::<f64>().ok().filter(|s| s.is_finite() && *s > 0.0).ok_or_else(|| format!("\"{text}\" is not a number of seconds above 0"))
}
