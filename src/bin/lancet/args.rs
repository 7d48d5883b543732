//! Arguments that several subcommands share.

use crate::model::label_cache;
use crate::progress::Stages;
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use lancet::clip::preprocess::aspect_size;
use lancet::clip::{ConfigSource, Known};
use lancet::{Clip, Labels, Method, Precision, Templates};
use std::path::{Path, PathBuf};

/// Which model, on which adapter.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// A .safetensors file (OpenAI, OpenCLIP or transformers layout), a folder with one, a name of `lancet models` or
    /// hf:ORGANISATION/NAME (both with @REVISION if wanted; fetched on first use), or "demo", the bundled model
    #[arg(long, default_value = "demo", value_name = "PATH|NAME", help_heading = "Model")]
    pub model: String,
    /// The model's config: a JSON file (OpenCLIP or transformers form), or "openai" for OpenAI's rules
    #[arg(long, value_name = "FILE|openai", help_heading = "Model")]
    pub config: Option<String>,
    /// Never ask the network: models by name come from the cache [env: HF_HUB_OFFLINE]
    #[arg(long, help_heading = "Model")]
    pub offline: bool,
    /// How weights and activations are stored; arithmetic is always f32
    #[arg(long, value_enum, default_value_t = PrecisionArg::Stored, help_heading = "Model")]
    pub precision: PrecisionArg,
    /// Cut texts that are longer than the model's context instead of refusing them
    #[arg(long, help_heading = "Model")]
    pub truncate: bool,
    /// GPU adapter: part of its name, or its number in `lancet info` [env: LANCET_ADAPTER]
    #[arg(long, value_name = "NAME|N", help_heading = "Model")]
    pub adapter: Option<String>,
    /// No progress and no summary; errors and warnings only
    #[arg(long, short)]
    pub quiet: bool,
}

/// Storage on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum PrecisionArg {
    /// Weights as in the file, activations f32: exact
    Stored,
    /// Everything f32
    F32,
    /// Everything f16: half the memory, about three digits
    F16,
    /// As f16, weights of linear layers int8: half of f16's memory; maps of the bundled model stay within 0.02 of their range
    Int8,
}

impl From<PrecisionArg> for Precision {
    fn from(p: PrecisionArg) -> Precision {
        match p {
            PrecisionArg::Stored => Precision::Stored,
            PrecisionArg::F32 => Precision::F32,
            PrecisionArg::F16 => Precision::F16,
            PrecisionArg::Int8 => Precision::Int8,
        }
    }
}

impl ModelArgs {
    /// Where the config comes from; `known` is what is known of a model by name.
    pub fn config_source(&self, known: Option<Known>) -> ConfigSource {
        match self.config.as_deref() {
            None => known.map_or(ConfigSource::Beside, ConfigSource::Known),
            Some("openai") => ConfigSource::OpenAi,
            Some(path) => ConfigSource::File(PathBuf::from(path)),
        }
    }

    /// For the JSON.
    pub fn precision_name(&self) -> &'static str {
        match self.precision {
            PrecisionArg::Stored => "stored",
            PrecisionArg::F32 => "f32",
            PrecisionArg::F16 => "f16",
            PrecisionArg::Int8 => "int8",
        }
    }
}

/// Which method, at which input size.
#[derive(Debug, Args)]
pub struct MethodArgs {
    #[arg(long, value_name = METHOD_VALUE, default_value = "surgery", help = method_help(""))]
    pub method: String,
    #[command(flatten)]
    pub size: SizeArg,
}

/// What stands for a method in help texts.
pub const METHOD_VALUE: &str = "NAME|FILE.toml";

/// Help of a method's argument: all presets, behind what is particular to the command.
pub fn method_help(first: &str) -> String {
    let names: Vec<_> = Method::ALL.iter().map(|m| m.name.as_ref()).collect();
    format!("{first}{}; or a TOML file with a method of your own, see `lancet methods`", names.join(", "))
}

/// A preset, or a method in a TOML file: what ends in .toml or has a folder in it.
pub fn method(name: &str) -> Result<Method> {
    let file = is_method_file(name) || name.contains(std::path::is_separator);
    Ok(if file { Method::open(Path::new(name))? } else { Method::named(name)? })
}

/// True if `name` ends as files of methods do.
pub fn is_method_file(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|x| x.eq_ignore_ascii_case("toml"))
}

/// What the model sees.
#[derive(Debug, Args)]
pub struct SizeArg {
    /// What the model sees: N or WxH pixels; aspect keeps the image's shape, with as many patches as the default size has;
    /// aspect:N with as many as a square of N pixels [default: the model's own size, for points more]
    #[arg(long, value_name = "N|WxH|aspect")]
    size: Option<Size>,
}

impl SizeArg {
    /// (width, height), pixels, for an image of size `image` (width, height).
    pub fn of(&self, clip: &Clip, image: [u32; 2]) -> [u32; 2] {
        self.or(clip, image, clip.config().image_size())
    }

    /// True if what the model sees depends on the image's shape.
    pub fn is_aspect(&self) -> bool {
        matches!(self.size, Some(Size::Aspect(_)))
    }

    /// What the model sees of every image, where it has to be the same for all.
    pub fn fixed(&self, clip: &Clip) -> Result<[u32; 2]> {
        if self.is_aspect() {
            bail!("--size aspect: the images must all be seen at one size here; pass N or WxH");
        }
        Ok(self.of(clip, [1, 1]))
    }

    /// As [`SizeArg::of`] where the default size is a square of side `default`.
    pub fn or(&self, clip: &Clip, image: [u32; 2], default: u32) -> [u32; 2] {
        let patch = clip.config().patch;
        match self.size {
            None => [default; 2],
            Some(Size::Fixed(size)) => size,
            Some(Size::Aspect(side)) => match side.unwrap_or(default) {
                // Less than a patch is refused where every size is.
                side if side < patch => [side; 2],
                side => aspect_size(image, patch, (side / patch).pow(2)),
            },
        }
    }
}

/// `N`, `WxH`, `aspect` or `aspect:N`, pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// (width, height), whatever the image's shape.
    Fixed([u32; 2]),
    /// The image's shape, with the patches of a square of this side, or of the default size.
    Aspect(Option<u32>),
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let side = |t: &str| match t.parse::<u32>() {
            Ok(n) if (1..=8192).contains(&n) => Ok(n),
            _ => Err(format!("\"{text}\" is not a size; expected N, WxH or aspect, 1 to 8192 pixels, e.g. 224, 448x336 or aspect:448")),
        };
        match (text.split_once(['x', 'X']), text.strip_prefix("aspect")) {
            (_, Some("")) => Ok(Size::Aspect(None)),
            (_, Some(rest)) => Ok(Size::Aspect(Some(side(rest.strip_prefix(':').unwrap_or(text))?))),
            (Some((w, h)), None) => Ok(Size::Fixed([side(w)?, side(h)?])),
            (None, None) => Ok(Size::Fixed([side(text)?; 2])),
        }
    }
}

/// How labels become embeddings.
#[derive(Debug, Args)]
pub struct LabelArgs {
    /// More labels, one a line; "default": the 59 of CLIP Surgery's demo
    #[arg(long = "labels", value_name = "FILE|default")]
    pub labels_file: Option<PathBuf>,
    /// Prompt templates: ensemble (85), none (the label alone), or a file with one a line, {} for the label
    #[arg(long, default_value = "ensemble", value_name = "ensemble|none|FILE")]
    pub templates: String,
    /// Do not keep label embeddings on disk
    #[arg(long)]
    pub no_cache: bool,
}

impl LabelArgs {
    /// The labels given, and those of the file.
    pub fn names(&self, given: &[String]) -> Result<Vec<String>> {
        labels(given, self.labels_file.as_deref())
    }

    /// Their embeddings; says on the terminal how far it is.
    pub fn embed(&self, clip: &Clip, names: &[String], stages: &mut Stages) -> Result<Labels> {
        embed(clip, names, &templates(&self.templates)?, !self.no_cache, stages)
    }
}

/// Embeddings of `names`, from the cache on disk as far as that is wanted; says on the terminal how far it is.
pub fn embed(clip: &Clip, names: &[String], templates: &Templates, cached: bool, stages: &mut Stages) -> Result<Labels> {
    stages.begin("labels", format!("encoding {} label(s) x {} template(s)", names.len(), templates.list().len()));
    let cache = if cached { label_cache() } else { None };
    let progress = |done, all| stages.message(format!("encoding labels: {done} of {all}"));
    Ok(pollster::block_on(clip.labels_cached(names, templates, cache.as_ref(), progress))?)
}

/// `ensemble`, `none`, or a file of templates.
pub fn templates(choice: &str) -> Result<Templates> {
    match choice {
        "ensemble" => Ok(Templates::ensemble()),
        "none" => Ok(Templates::bare()),
        path => Templates::parse(&read_text(Path::new(path))?).with_context(|| path.to_owned()),
    }
}

/// Labels from the command line and from a file, one a line; twice the same is refused, since it would change the set.
pub fn labels(given: &[String], file: Option<&Path>) -> Result<Vec<String>> {
    let mut all = given.to_vec();
    if file == Some(Path::new("default")) {
        all.extend(Labels::default_names());
    } else if let Some(path) = file {
        let text = read_text(path)?;
        all.extend(text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).map(str::to_owned));
    }
    if all.is_empty() {
        bail!("no labels: name at least one thing to look for, e.g. lancet explain photo.jpg \"dog\" \"bench\", or pass --labels FILE");
    }
    for (i, label) in all.iter().enumerate() {
        if label.trim().is_empty() {
            bail!("an empty label: name what to look for");
        }
        if all[..i].contains(label) {
            bail!("label \"{label}\" is given twice; name it once");
        }
    }
    Ok(all)
}

fn read_text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!("224".parse(), Ok(Size::Fixed([224, 224])));
        assert_eq!("448x336".parse(), Ok(Size::Fixed([448, 336])));
        assert_eq!("aspect".parse(), Ok(Size::Aspect(None)));
        assert_eq!("aspect:448".parse(), Ok(Size::Aspect(Some(448))));
        for bad in ["", "0", "axb", "10x", "99999", "aspect:", "aspect:0", "aspect448", "aspects"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }
}
