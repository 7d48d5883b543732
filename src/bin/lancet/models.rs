//! `lancet models`: the models with a name, and what of them is on this machine.

use crate::model::hub;
use crate::progress::Download;
use anyhow::{Result, bail};
use clap::Subcommand;
use indicatif::HumanBytes;
use lancet::hub::{Hub, Model, Source};
use lancet::reference::Activation;
use serde::Serialize;
use std::path::PathBuf;

/// List the models that are known by name, and fetch, find or remove them
///
/// Examples: lancet models; lancet models fetch ViT-B-16; lancet models remove ViT-B-16
///
/// Any command fetches a model by itself when it is first used. Models lie in the cache of Hugging Face's own tools
/// (HF_HOME or HF_HUB_CACHE). Besides: HF_ENDPOINT names a mirror, HF_TOKEN a token, HF_HUB_OFFLINE=1 forbids the network.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// As JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Fetch a model, or what is new of it
    Fetch {
        /// NAME, NAME@REVISION or hf:ORGANISATION/NAME
        model: String,
        /// No progress; errors only
        #[arg(long, short)]
        quiet: bool,
    },
    /// Print where the weights of a fetched model are
    Path {
        /// As for fetch
        model: String,
    },
    /// Delete a model from the cache, without asking
    Remove {
        /// As for fetch
        model: String,
    },
}

#[derive(Debug, Serialize)]
struct Listing {
    cache: PathBuf,
    models: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    aliases: Vec<&'static str>,
    repository: &'static str,
    revision: &'static str,
    activation: &'static str,
    image_px: u32,
    parameters_m: u32,
    licence: &'static str,
    cached: Option<Cached>,
}

/// A model on this machine.
#[derive(Debug, Serialize)]
struct Cached {
    weights: PathBuf,
    commit: String,
    bytes: u64,
}

impl From<lancet::hub::Snapshot> for Cached {
    fn from(found: lancet::hub::Snapshot) -> Cached {
        Cached { weights: found.weights, commit: found.commit, bytes: found.bytes }
    }
}

/// Runs `lancet models`.
pub fn run(args: &Args) -> Result<()> {
    let hub = hub(false)?;
    match &args.action {
        None => list(&hub, args.json),
        Some(Action::Fetch { model, quiet }) => fetch(&hub, model, *quiet, args.json),
        Some(Action::Path { model }) => path(&hub, model, args.json),
        Some(Action::Remove { model }) => remove(&hub, model, args.json),
    }
}

fn list(hub: &Hub, json: bool) -> Result<()> {
    let row = |m: &Model| {
        let source = Source::parse(m.name)?;
        Ok(Row {
            name: m.name,
            aliases: m.aliases.clone(),
            repository: m.repository,
            revision: m.revision,
            activation: if m.activation == Activation::QuickGelu { "quick_gelu" } else { "gelu" },
            image_px: m.image_px,
            parameters_m: m.parameters_m,
            licence: m.licence,
            cached: hub.cached(&source).map(Cached::from),
        })
    };
    let models = Model::all().iter().map(row).collect::<Result<Vec<Row>>>()?;
    if json {
        return print_json(&Listing { cache: hub.cache().to_owned(), models });
    }
    out!("{:<18} {:>7} {:>6}  {:<10} {:>10}  {:<48} licence", "name", "params", "pixels", "activation", "on disk", "repository");
    for row in &models {
        let disk = row.cached.as_ref().map_or("-".to_owned(), |c| HumanBytes(c.bytes).to_string());
        out!(
            "{:<18} {:>5} M {:>6}  {:<10} {disk:>10}  {:<48} {}",
            row.name,
            row.parameters_m,
            row.image_px,
            row.activation,
            row.repository,
            row.licence
        );
    }
    out!("\ncache: {}", hub.cache().display());
    out!("others: demo (bundled), hf:ORGANISATION/NAME, files and folders");
    Ok(())
}

fn fetch(hub: &Hub, model: &str, quiet: bool, json: bool) -> Result<()> {
    let source = Source::parse(model)?;
    let mut bar = Download::new(quiet);
    let found = hub.fetch(&source, &mut |progress| bar.show(progress))?;
    drop(bar);
    if json {
        return print_json(&Cached::from(found));
    }
    if !quiet {
        out!("{} ({}, commit {})", found.weights.display(), HumanBytes(found.bytes), found.commit);
    }
    Ok(())
}

fn path(hub: &Hub, model: &str, json: bool) -> Result<()> {
    let source = Source::parse(model)?;
    let Some(found) = hub.cached(&source) else {
        bail!("{source} is not in the cache {}; lancet models fetch {model} brings it there", hub.cache().display());
    };
    if json {
        return print_json(&Cached::from(found));
    }
    out!("{}", found.weights.display());
    Ok(())
}

fn remove(hub: &Hub, model: &str, json: bool) -> Result<()> {
    let source = Source::parse(model)?;
    let gone = hub.remove(&source)?;
    if gone.is_empty() {
        bail!("{source} is not in the cache {}", hub.cache().display());
    }
    let bytes = gone.iter().map(|g| g.0).sum();
    if json {
        let files: Vec<_> = gone.into_iter().map(|g| g.1).collect();
        return print_json(&serde_json::json!({ "removed": files, "bytes": bytes }));
    }
    for (bytes, file) in &gone {
        out!("removed {} ({})", file.display(), HumanBytes(*bytes));
    }
    out!("{source}: {} freed", HumanBytes(bytes));
    Ok(())
}

fn print_json(value: &impl Serialize) -> Result<()> {
    out!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
