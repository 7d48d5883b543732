//! From `--model` to a loaded CLIP.

use crate::args::ModelArgs;
use crate::progress::Download;
use anyhow::{Context, Result};
use lancet::clip::Known;
use lancet::clip::config::{OPENAI_MEAN, OPENAI_STD};
use lancet::gpu::Tuned;
use lancet::hub::{Hub, Model, Source};
use lancet::{Clip, Engine, LoadOptions, Options, Weights};
use std::path::{Path, PathBuf};

/// A loaded model and its engine.
pub struct Loaded {
    pub engine: Engine,
    pub clip: Clip,
    pub path: PathBuf,
}

/// A weights file, and what is known of it beside its config.
pub struct Found {
    pub path: PathBuf,
    pub known: Option<Known>,
}

/// Opens the adapter and the model; says on stderr what had to be assumed.
pub fn load(args: &ModelArgs) -> Result<Loaded> {
    // The file first: a wrong path should not wait for a driver.
    let Found { path, known } = resolve(&args.model, args.offline, args.quiet)?;
    let weights = Weights::open(&path)?;
    let engine = pollster::block_on(Engine::new(engine_options(args.adapter.clone())))?;
    let options =
        LoadOptions { precision: args.precision.into(), config: args.config_source(known), truncate: args.truncate, tokenizer: None };
    let clip = Clip::load(&engine, &weights, options)?;
    for note in &clip.config().assumed {
        eprintln!("note: {note}");
    }
    Ok(Loaded { engine, clip, path })
}

/// The weights file behind a path or a name; fetches what is not there yet.
pub fn resolve(model: &str, offline: bool, quiet: bool) -> Result<Found> {
    let path = Path::new(model);
    let local = |path: PathBuf| Ok(Found { path, known: None });
    if path.is_dir() {
        return local(in_folder(path)?);
    }
    if path.exists() {
        return local(path.to_owned());
    }
    if model == "demo" {
        return local(demo()?);
    }
    let source = match Source::parse(model) {
        Ok(source) => source,
        Err(_) if !model.starts_with("hf:") && (model.contains(['/', '\\']) || model.ends_with(".safetensors")) => {
            anyhow::bail!("model {model}: no such file or folder")
        }
        Err(error) => return Err(error.into()),
    };
    let mut bar = Download::new(quiet);
    let found = hub(offline)?.get(&source, &mut |progress| bar.show(progress))?;
    drop(bar);
    if let Some(note) = found.note {
        eprintln!("note: {note}");
    }
    Ok(Found { path: found.weights, known: source.model.map(known) })
}

/// The hub of the environment.
pub fn hub(offline: bool) -> Result<Hub> {
    let hub = Hub::from_env()?;
    Ok(if offline { hub.offline(true) } else { hub })
}

fn known(model: &Model) -> Known {
    let (mean, std) = if model.half_pixels { ([0.5; 3], [0.5; 3]) } else { (OPENAI_MEAN, OPENAI_STD) };
    Known { activation: model.activation, mean, std }
}

fn in_folder(folder: &Path) -> Result<PathBuf> {
    for name in ["open_clip_model.safetensors", "model.safetensors"] {
        if folder.join(name).is_file() {
            return Ok(folder.join(name));
        }
    }
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut files: Vec<PathBuf> =
        entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.extension().is_some_and(|x| x == "safetensors")).collect();
    files.sort();
    match files.as_slice() {
        [one] => Ok(one.clone()),
        [] => anyhow::bail!("model {}: no .safetensors file in this folder", folder.display()),
        many => anyhow::bail!("model {}: {} .safetensors files in this folder; name one of them", folder.display(), many.len()),
    }
}

/// The bundled model: in `LANCET_WEIGHTS`, beside the program, or in the source tree it was built from.
fn demo() -> Result<PathBuf> {
    let file = Path::new("demo/open_clip_model.safetensors");
    let exe = std::env::current_exe().ok();
    let folders = std::env::var_os("LANCET_WEIGHTS")
        .map(PathBuf::from)
        .into_iter()
        .chain(exe.iter().flat_map(|exe| exe.ancestors().skip(1).take(3)).map(|folder| folder.join("weights")))
        .chain([Path::new(env!("CARGO_MANIFEST_DIR")).join("weights")]);
    let tried: Vec<PathBuf> = folders.map(|f| f.join(file)).collect();
    tried.iter().find(|p| p.is_file()).cloned().with_context(|| {
        format!("the bundled model was not found; set LANCET_WEIGHTS to the folder that holds {} or pass --model PATH", file.display())
    })
}

/// How every subcommand opens its device: with the kernels that were tuned for it, if they were.
pub fn engine_options(adapter: Option<String>) -> Options {
    let pipeline_folder = cache_folder().map(|folder| folder.join("pipelines"));
    Options { adapter, pipeline_folder, tuned: tuned_folder().map_or(Tuned::Shipped, Tuned::Folder), ..Default::default() }
}

/// What lancet keeps between runs.
fn cache_folder() -> Option<PathBuf> {
    std::env::var_os("LANCET_CACHE").map(PathBuf::from).or_else(|| Some(dirs::cache_dir()?.join("lancet")))
}

/// Where `lancet tune --write` puts its tables.
pub fn tuned_folder() -> Option<PathBuf> {
    Some(cache_folder()?.join("tuned"))
}

/// Where label embeddings are kept between runs.
pub fn label_cache() -> Option<lancet::clip::LabelCache> {
    Some(lancet::clip::LabelCache::new(cache_folder()?.join("labels")))
}
