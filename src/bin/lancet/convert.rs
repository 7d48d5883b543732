//! `lancet convert`: any CLIP to one safetensors file in OpenCLIP's layout.

use crate::model::{Found, resolve};
use crate::output::OutDir;
use crate::progress::Stages;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use indicatif::HumanBytes;
use lancet::clip::ConfigSource;
use lancet::clip::export::{OpenClip, open_clip};
use lancet::weights::StoreAs;
use lancet::{Error, Weights};
use serde::Serialize;
use sha2::Digest;
use std::io::Read;
use std::path::{Path, PathBuf};

const WEIGHTS: &str = "open_clip_model.safetensors";
const CONFIG: &str = "open_clip_config.json";
const TOKENIZER: &str = "tokenizer.json";

/// Write a CLIP in OpenCLIP's layout: weights, config and tokenizer in one folder
///
/// Reads OpenAI's, OpenCLIP's and transformers' layout. The result runs here with --model FOLDER, and in OpenCLIP.
///
/// Example: lancet convert clip-vit-base-patch16/ --dtype f16 --out b16-half
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A .safetensors file, a folder with one, a name of `lancet models`, or hf:ORGANISATION/NAME
    #[arg(value_name = "PATH|NAME")]
    model: String,
    /// The folder to write; not the model's own
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Storage of the values
    #[arg(long, value_enum, default_value_t = DtypeArg::Stored)]
    dtype: DtypeArg,
    /// The model's config: a JSON file (OpenCLIP or transformers form), or "openai" for OpenAI's rules
    #[arg(long, value_name = "FILE|openai")]
    config: Option<String>,
    /// Never ask the network: models by name come from the cache [env: HF_HUB_OFFLINE]
    #[arg(long)]
    offline: bool,
    /// The summary as JSON
    #[arg(long)]
    json: bool,
    /// No progress and no summary; errors and warnings only
    #[arg(long, short)]
    quiet: bool,
}

/// Storage on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum DtypeArg {
    /// As in the source, bit by bit
    Stored,
    /// 32 bits
    F32,
    /// 16 bits, 11 of them mantissa; a value beyond 65,504 is an error
    F16,
    /// 16 bits, the range of f32, 8 bits of mantissa
    Bf16,
}

impl From<DtypeArg> for StoreAs {
    fn from(dtype: DtypeArg) -> StoreAs {
        match dtype {
            DtypeArg::Stored => StoreAs::Stored,
            DtypeArg::F32 => StoreAs::F32,
            DtypeArg::F16 => StoreAs::F16,
            DtypeArg::Bf16 => StoreAs::BF16,
        }
    }
}

#[derive(Debug, Serialize)]
struct Summary {
    weights: PathBuf,
    config: PathBuf,
    tokenizer: Option<PathBuf>,
    tensors: usize,
    bytes: u64,
    sha256: String,
}

/// Runs `lancet convert`.
pub fn run(args: &Args) -> Result<()> {
    let Found { path, known } = resolve(&args.model, args.offline, args.quiet)?;
    refuse_pickle(&path)?;
    refuse_own_folder(&path, &args.out)?;
    let weights = Weights::open(&path)?;
    let source = match args.config.as_deref() {
        None => known.map_or(ConfigSource::Beside, ConfigSource::Known),
        Some("openai") => ConfigSource::OpenAi,
        Some(file) => ConfigSource::File(PathBuf::from(file)),
    };
    let OpenClip { tensors, config, assumed } = open_clip(&weights, &source)?;
    for note in assumed {
        eprintln!("note: {note}");
    }
    let mut metadata = weights.metadata().clone();
    // Python's readers look for it.
    metadata.entry("format".into()).or_insert_with(|| "pt".into());

    let mut stages = Stages::new(args.quiet);
    stages.begin("convert", format!("converting {}", path.display()));
    let mut out = OutDir::open(&args.out)?;
    let (mut bytes, mut hash) = (0, sha2::Sha256::new());
    let target = args.out.join(WEIGHTS);
    let written = out.stage(WEIGHTS, |w| {
        weights.export(&tensors, args.dtype.into(), &metadata, |chunk| {
            hash.update(chunk);
            bytes += chunk.len() as u64;
            stages.message(format!("converting {}: {}", path.display(), HumanBytes(bytes)));
            w.write_all(chunk).map_err(|reason| Error::Io { path: target.clone(), reason })
        })?;
        Ok(())
    })?;
    let config = out.stage(CONFIG, |w| Ok(serde_json::to_writer_pretty(w, &config)?))?;
    let beside = path.with_file_name(TOKENIZER);
    let tokenizer = if beside.is_file() {
        let text = std::fs::read(&beside).with_context(|| beside.display().to_string())?;
        Some(out.stage(TOKENIZER, |w| Ok(w.write_all(&text)?))?)
    } else {
        None
    };
    out.commit()?;
    stages.finish();
    let sha256 = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    let summary = Summary { weights: written, config, tokenizer, tensors: tensors.len(), bytes, sha256 };
    if args.json {
        out!("{}", serde_json::to_string_pretty(&summary)?);
    } else if !args.quiet {
        out!("{}  {} tensors, {}", summary.weights.display(), summary.tensors, HumanBytes(summary.bytes));
        out!("sha256 {}", summary.sha256);
        out!("{}", summary.config.display());
        match &summary.tokenizer {
            Some(path) => out!("{}", path.display()),
            None => out!("no {TOKENIZER} beside the source; programs take CLIP's own vocabulary then"),
        }
    }
    Ok(())
}

/// The input, its config and tokenizer are mapped or read while the output is written; and nobody wants them replaced.
fn refuse_own_folder(input: &Path, out: &Path) -> Result<()> {
    let folder = input.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let same = |a: &Path| Some(a.canonicalize().ok()? == out.canonicalize().ok()?);
    // A model in the cache is a link to elsewhere.
    let target = input.canonicalize().ok();
    if same(folder) == Some(true) || target.and_then(|t| same(t.parent()?)) == Some(true) {
        bail!("{}: the model to convert is in this folder; choose another with --out", out.display());
    }
    Ok(())
}

/// PyTorch's own files are pickles: programs, which only Python can run.
fn refuse_pickle(path: &Path) -> Result<()> {
    let mut start = [0; 4];
    let complaint = || path.display().to_string();
    let read = std::fs::File::open(path).and_then(|mut f| f.read(&mut start)).with_context(complaint)?;
    let zip = start[..read].starts_with(b"PK");
    if !zip && !start[..read].starts_with(b"\x80\x02") {
        return Ok(());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let load = if zip && is_torchscript(path).with_context(complaint)? {
        format!("torch.jit.load('{name}', map_location='cpu').state_dict()")
    } else {
        format!("torch.load('{name}', map_location='cpu', weights_only=True)")
    };
    bail!(
        "{}: a PyTorch file, which holds Python code; only Python can read it: python3 -c \"import torch, safetensors.torch as s; m = {load}; m = m.get('state_dict', m); s.save_file({{k: v.contiguous().clone() for k, v in m.items()}}, 'model.safetensors')\" and then lancet convert model.safetensors",
        path.display()
    )
}

/// A TorchScript archive, as OpenAI published its models, lists `constants.pkl` in the directory at the end of the zip.
fn is_torchscript(path: &Path) -> std::io::Result<bool> {
    use std::io::{Seek, SeekFrom};
    const DIRECTORY_BYTES: u64 = 1 << 20;
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(DIRECTORY_BYTES)))?;
    let mut end = Vec::new();
    file.take(DIRECTORY_BYTES).read_to_end(&mut end)?;
    Ok(end.windows(13).any(|w| w == b"constants.pkl"))
}
