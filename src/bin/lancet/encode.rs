//! `lancet encode`: features of images or texts as .npy.

use crate::args::{self, METHOD_VALUE, ModelArgs, SizeArg, method_help};
use crate::inputs;
use crate::model::{Loaded, label_cache, load};
use crate::output::{npy, write_file};
use crate::progress::Stages;
use anyhow::{Result, bail};
use lancet::clip::ImageOutputs;
use lancet::clip::decode::Decoded;
use lancet::clip::model::check_finite;
use lancet::gpu::{Plan, Readback, Source};
use lancet::shape::DType;
use lancet::{ImageInput, SourceKind};
use serde::Serialize;
use std::path::PathBuf;

/// Write features of images [B, D] (or all tokens [B, 1+N, D]) or of texts [C, D] as .npy
///
/// Examples: lancet encode a.jpg b.jpg --out images.npy;
/// lancet encode --text "a dog" --text "a cat" --templates none --out texts.npy
#[derive(Debug, clap::Args)]
pub struct Args {
    /// PNG, JPEG or WebP files, folders of them, patterns: projected features, not normalised
    images: Vec<PathBuf>,
    /// A text to encode; give it several times for several
    #[arg(long, value_name = "TEXT", conflicts_with = "images")]
    text: Vec<String>,
    #[command(flatten)]
    model: ModelArgs,
    #[arg(long, value_name = METHOD_VALUE, default_value = "clip", help = method_help(
        "Method whose tokens are written (the class row is plain CLIP's for clip, and for surgery on a ViT): "))]
    method: String,
    #[command(flatten)]
    size: SizeArg,
    /// All tokens [B, 1+N, D] instead of the class row [B, D]
    #[arg(long, conflicts_with = "text")]
    tokens: bool,
    /// For texts: none (the text's own feature, not normalised), ensemble (mean of 85 unit features, unit), or a file
    #[arg(long, default_value = "none", value_name = "none|ensemble|FILE")]
    templates: String,
    /// The file to write
    #[arg(long, value_name = "F.npy")]
    out: PathBuf,
    /// The summary as JSON: what each row is, shape, model
    #[arg(long)]
    json: bool,
}

/// What the summary says.
#[derive(Debug, Serialize)]
struct Report {
    out: String,
    shape: Vec<u64>,
    dtype: &'static str,
    /// What each row of the first dimension is: an image's path, or a text.
    rows: Vec<String>,
    model: String,
    precision: &'static str,
}

/// Features, their shape, and what each row is.
struct Encoded {
    values: Vec<f32>,
    shape: Vec<u64>,
    rows: Vec<String>,
    model: PathBuf,
}

/// Runs `lancet encode`.
pub fn run(args: &Args) -> Result<()> {
    if args.images.is_empty() && args.text.is_empty() {
        bail!("nothing to encode: name images, or give --text \"...\"");
    }
    let mut stages = Stages::new(args.model.quiet);
    let Encoded { values, shape, rows, model } = if args.text.is_empty() { images(args, &mut stages)? } else { texts(args, &mut stages)? };
    write_file(&args.out, |w| npy(w, &values, &shape))?;
    stages.finish();
    let (out, model, precision) = (args.out.display().to_string(), model.display().to_string(), args.model.precision_name());
    let report = Report { out, shape, dtype: "f32", rows, model, precision };
    if args.json {
        out!("{}", serde_json::to_string_pretty(&report)?);
    } else if !args.model.quiet {
        out!("{} {:?} f32", report.out, report.shape);
    }
    Ok(())
}

fn texts(args: &Args, stages: &mut Stages) -> Result<Encoded> {
    let templates = args::templates(&args.templates)?;
    stages.begin("load", format!("loading {}", args.model.model));
    let Loaded { clip, path: model, .. } = load(&args.model)?;
    stages.begin("encode", format!("encoding {} text(s)", args.text.len()));
    let values = if args.templates == "none" {
        pollster::block_on(clip.encode_text(&args.text))?
    } else {
        let progress = |done, all| stages.message(format!("encoding texts: {done} of {all}"));
        pollster::block_on(clip.labels_cached(&args.text, &templates, label_cache().as_ref(), progress))?.embeddings().to_vec()
    };
    let shape = vec![args.text.len() as u64, u64::from(clip.config().embed)];
    Ok(Encoded { values, shape, rows: args.text.clone(), model })
}

fn images(args: &Args, stages: &mut Stages) -> Result<Encoded> {
    let paths = inputs::images(&args.images)?;
    let method = args::method(&args.method)?;
    stages.begin("load", format!("loading {}", args.model.model));
    let Loaded { clip, engine, path: model } = load(&args.model)?;
    let gpu = engine.gpu();
    method.check_for(clip.config())?;
    let width = clip.config().embed as usize;
    let mut all = Vec::new();
    let mut planned: Option<([u32; 2], Plan<ImageOutputs>, Readback)> = None;
    let mut tokens = 0;
    for (i, path) in paths.iter().enumerate() {
        stages.begin("encode", format!("encoding {} of {}: {}", i + 1, paths.len(), path.display()));
        let decoded = Decoded::open(path)?;
        let size = decoded.size();
        // One plan per image size; images of one size in a row share it.
        let (_, plan, read) = match planned.take() {
            Some(same @ (known, ..)) if known == size => planned.insert(same),
            _ => {
                let model_size = args.size.of(&clip, size);
                let grid = clip.config().grid(model_size);
                let input = ImageInput { kind: SourceKind::Rgba8, images: 1, size, model_size };
                let plan = clip.plan_image(&input, &method.vision, method.positions_for(grid))?;
                let read = Readback::new(gpu, &plan.outputs().tokens)?;
                planned.insert((size, plan, read))
            }
        };
        let image = gpu.upload("image", &[size[1], size[0]], DType::U32, bytemuck::cast_slice::<u8, [u8; 4]>(decoded.rgba()))?;
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let here = plan.record(&mut encoder, Source::Rgba8(image.buffer()))?.tokens_per_image as usize;
        if args.tokens && i > 0 && here != tokens {
            bail!(
                "{}: {here} tokens, {tokens} in the image before: one array holds grids of one size; pass --size WxH, or encode them apart",
                path.display()
            );
        }
        tokens = here;
        let pending = read.record(&mut encoder)?;
        gpu.submit(encoder)?;
        let features = pollster::block_on(pending.floats())?;
        check_finite(&format!("the feature of {}", path.display()), &features)?;
        all.extend_from_slice(if args.tokens { &features } else { &features[..width] });
    }
    let b = paths.len() as u64;
    let shape = if args.tokens { vec![b, tokens as u64, width as u64] } else { vec![b, width as u64] };
    let rows = paths.iter().map(|p| p.display().to_string()).collect();
    Ok(Encoded { values: all, shape, rows, model })
}
