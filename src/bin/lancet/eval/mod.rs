//! `lancet eval`: how good maps, segmentations and recognition are on a data set.

pub mod datasets;
mod measure;
mod merge;
mod models;
mod protocol;
mod record;
mod report;
mod rows;
mod run;
mod scorers;
mod store;
mod table;

use crate::args::{METHOD_VALUE, ModelArgs, SizeArg};
use anyhow::{Result, bail};
use datasets::Kind;
use lancet::explain::segment::Protocol;
use record::Task;
use rows::LabelSet;
use std::path::PathBuf;
use store::Shard;

/// Measure heat maps, segmentation and recognition on a data set: mIoU, mSC, mAP
///
/// A run that was stopped goes on where it was. Parts run anywhere and are joined exactly.
/// docs/eval.md has the definitions, the formats, and job scripts.
///
/// Examples:
///   lancet eval scenes my-scenes --methods clip,surgery --out result
///   lancet eval voc VOCdevkit/VOC2012 --model ViT-B-16.safetensors --shard 2/8 --out part2
///   lancet eval merge part1 part2 --out whole
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, verbatim_doc_comment)]
pub struct Args {
    #[command(subcommand)]
    merge: Option<Sub>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Sub {
    Merge(merge::Args),
}

/// Arguments of a run.
#[derive(Debug, clap::Args)]
struct RunArgs {
    /// Kind of data set
    #[arg(value_enum, value_name = "DATASET", required = true)]
    dataset: Option<Kind>,
    /// Its folder
    #[arg(value_name = "FOLDER", required = true)]
    folder: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// Methods to compare, in one pass of the model; NAME@K is a method on the last K blocks, FILE.toml one of your own, all
    /// every one of `lancet methods` that the model can run
    #[arg(long, value_delimiter = ',', value_name = METHOD_VALUE, default_value = "clip,surgery-architecture,surgery")]
    methods: Vec<String>,
    /// Labels that feature surgery sees; two give two rows
    #[arg(long, value_enum, value_delimiter = ',', default_value = "all")]
    label_set: Vec<LabelSet>,
    /// What to measure [default: all that the data set allows; segmentation of scenes only when asked for]
    #[arg(long, value_enum, value_delimiter = ',')]
    tasks: Vec<Task>,
    #[command(flatten)]
    size: SizeArg,
    /// Images that go through the model together; those of one size can
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    batch: u32,
    /// Prompt templates: ensemble (85), none, or a file [default: those of the data set, or ensemble]
    #[arg(long, value_name = "ensemble|none|FILE")]
    templates: Option<String>,
    #[arg(long, value_name = "NAME", help = protocol_help())]
    protocol: Option<String>,
    /// Names of the classes, one a line, in place of the built-in ones: title = name, name
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// For maps and recognition too, the mean of all names of a class stands for it
    #[arg(long)]
    synonyms: bool,
    /// Do not keep label embeddings on disk
    #[arg(long)]
    no_cache: bool,
    /// Only the first N images
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Part I of N of the images; lancet eval merge joins the parts
    #[arg(long, value_name = "I/N", default_value_t = Shard::WHOLE, hide_default_value = true)]
    shard: Shard,
    /// Folder for the records and the result; a run that was stopped goes on from there
    #[arg(long, default_value = "lancet-eval", value_name = "DIR")]
    out: PathBuf,
    /// Print the result as JSON instead of a table
    #[arg(long)]
    json: bool,
}

fn protocol_help() -> String {
    let known = Protocol::ALL.map(|p| p.0).join(", ");
    format!(
        "How segmentation looks at images and chooses: surgery (the whole image at the model's size, the best cosine), a published harness \
         with its windows and thresholds for this data set ({known}), or own: each method by the harness that it was published with, \
         where there is one [default: surgery; with --methods all: own]"
    )
}

/// Runs `lancet eval`.
pub fn run(args: &Args) -> Result<()> {
    match (&args.merge, args.run.dataset, &args.run.folder) {
        (Some(Sub::Merge(args)), ..) => merge::run(args),
        (None, Some(kind), Some(folder)) => run::run(&args.run, kind, folder),
        _ => bail!("no data set; see lancet eval --help"),
    }
}
