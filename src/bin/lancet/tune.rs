//! `lancet tune`: which kernel makes which matrix product fastest on this device.

mod cells;
mod measure;
mod products;

use crate::model::{engine_options, resolve, tuned_folder};
use crate::output::write_file;
use crate::progress::Stages;
use anyhow::{Context, Result};
use clap::ValueEnum;
use lancet::clip::ConfigSource;
use lancet::gpu::Tuned;
use lancet::gpu::tuning::{Rule, file_of, write_file as table_text};
use lancet::ops::Choice;
use lancet::shape::DType;
use lancet::{Engine, Options, Weights};
use measure::{Measured, Storage, measure};
use products::Product;
use serde::Serialize;
use std::path::PathBuf;

/// Measure every matmul kernel that this device runs, and keep the winners for later runs
///
/// Examples: lancet tune; lancet tune --model ViT-B-16 --precision f16 --write
///
/// Without --write nothing changes. With it a table of rules goes into lancet's cache (LANCET_CACHE), for this adapter,
/// driver and version alone; every later command on this device follows it. Delete the file to go back.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Measure the products of this model: as for --model elsewhere; may be given several times. Default: those of
    /// ViT-B/32, B/16, L/14 and RN50 at 224 pixels
    #[arg(long, value_name = "PATH|NAME")]
    model: Vec<String>,
    /// Never ask the network for a model [env: HF_HUB_OFFLINE]
    #[arg(long)]
    offline: bool,
    /// Storage to measure; may be given several times. Default: all
    #[arg(long, value_enum)]
    precision: Vec<PrecisionArg>,
    /// Turns of each kernel; the best counts
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Keep the winners: write the table for this device
    #[arg(long)]
    write: bool,
    /// Part of an adapter's name, or its number in `lancet info` [env: LANCET_ADAPTER]
    #[arg(long, value_name = "NAME|N")]
    adapter: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// No progress
    #[arg(long, short)]
    quiet: bool,
}

/// Storage on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PrecisionArg {
    /// Everything f32
    F32,
    /// Activations f32, weights f16: --precision stored on a file of halves
    Mixed,
    /// Everything f16
    F16,
    /// Activations f16, weights int8
    Int8,
}

impl PrecisionArg {
    fn storage(self) -> Storage {
        let [act, weight] = match self {
            PrecisionArg::F32 => [DType::F32; 2],
            PrecisionArg::Mixed => [DType::F32, DType::F16],
            PrecisionArg::F16 => [DType::F16; 2],
            PrecisionArg::Int8 => [DType::F16, DType::I8],
        };
        Storage { act, weight }
    }
}

#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    adapter: String,
    driver: String,
    clock: &'static str,
    rounds: u32,
    products: Vec<Row>,
    rules: Vec<String>,
    file: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    m: u32,
    n: u32,
    k: u32,
    activations: &'static str,
    weights: &'static str,
    winner: Chosen,
    shipped: Chosen,
    kernels: Vec<Timed>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Chosen {
    kernel: &'static str,
    slices: u32,
}

impl From<Choice> for Chosen {
    fn from(c: Choice) -> Chosen {
        Chosen { kernel: c.kernel.name, slices: c.slices }
    }
}

#[derive(Debug, Serialize)]
struct Timed {
    kernel: &'static str,
    slices: u32,
    ms: f64,
    gflops_per_second: f64,
    rounds: u32,
}

/// Runs `lancet tune`.
pub fn run(args: &Args) -> Result<()> {
    let products = products(args)?;
    let folder = match args.write {
        true => Some(tuned_folder().context("no folder for the table: set LANCET_CACHE")?),
        false => None,
    };
    // A broken table is no reason not to write a better one.
    let options = Options { tuned: Tuned::Shipped, ..engine_options(args.adapter.clone()) };
    let engine = pollster::block_on(Engine::new(options))?;
    let (gpu, caps) = (engine.gpu(), engine.caps());
    let precisions = if args.precision.is_empty() { PrecisionArg::value_variants() } else { &args.precision };

    let stages = Stages::new(args.quiet || args.json);
    let bar = stages.count((precisions.len() * products.len()) as u64, "products");
    let mut measured: Vec<Measured> = Vec::new();
    for precision in precisions {
        for product in &products {
            bar.set_message(product.name.clone());
            measured.push(measure(gpu, product, precision.storage(), args.rounds)?);
            bar.inc(1);
        }
    }
    stages.finish();

    let rules = cells::rules(&measured);
    let file = folder.map(|folder| file_of(&folder, caps));
    if let Some(path) = &file {
        let folder = path.parent().context("a file in a folder")?;
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        write_file(path, |w| Ok(w.write_all(table_text(caps, &rules).as_bytes())?))?;
    }
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        adapter: caps.adapter.clone(),
        driver: caps.driver.clone(),
        clock: if caps.timestamps { "timestamps" } else { "submit and wait (the device has no timestamps)" },
        rounds: args.rounds,
        products: measured.iter().map(row).collect(),
        rules: rules.iter().map(Rule::to_string).collect(),
        file,
    };
    match args.json {
        true => out!("{}", serde_json::to_string_pretty(&report)?),
        false => print(&report),
    }
    Ok(())
}

fn products(args: &Args) -> Result<Vec<Product>> {
    if args.model.is_empty() {
        return Ok(products::usual());
    }
    let mut all = Vec::new();
    for model in &args.model {
        let found = resolve(model, args.offline, args.quiet)?;
        let source = found.known.map_or(ConfigSource::Beside, ConfigSource::Known);
        all.extend(products::of_model(&Weights::open(&found.path)?, &source)?);
    }
    Ok(all)
}

fn row(m: &Measured) -> Row {
    let [rows, n, k] = m.product.shape;
    let timed = m.timed.iter().map(|t| Timed {
        kernel: t.choice.kernel.name,
        slices: t.choice.slices,
        ms: t.ms,
        gflops_per_second: m.gflops(t.ms),
        rounds: t.rounds,
    });
    Row {
        name: m.product.name.clone(),
        m: rows,
        n,
        k,
        activations: m.storage.act.name(),
        weights: m.storage.weight.name(),
        winner: m.winner().choice.into(),
        shipped: m.shipped.into(),
        kernels: timed.collect(),
    }
}

fn print(report: &Report) {
    out!("{} ({}), best of {} rounds by {}, GFLOP/s", report.adapter, report.driver, report.rounds, report.clock);
    let name = report.products.iter().map(|p| p.name.len()).max().unwrap_or(0);
    let mut storage = ("", "");
    for p in &report.products {
        if storage != (p.activations, p.weights) {
            storage = (p.activations, p.weights);
            out!("activations {}, weights {}:", p.activations, p.weights);
        }
        // Enough to see by how much: the fastest, and what runs today.
        let figure = |t: &Timed| match t.slices {
            1 => format!("{} {:.1}", short(t.kernel), t.gflops_per_second),
            n => format!("{} in {n} slices {:.1}", short(t.kernel), t.gflops_per_second),
        };
        let figures: Vec<String> = p.kernels.iter().take(4).map(figure).collect();
        let shipped = p.kernels.iter().find(|t| t.kernel == p.shipped.kernel && t.slices == p.shipped.slices);
        let verdict = match shipped {
            _ if p.winner == p.shipped => "as shipped".to_owned(),
            Some(t) => format!("shipped: {}", figure(t)),
            None => format!("shipped: {}", short(p.shipped.kernel)),
        };
        out!("  {:<name$}  [{}, {}] x {}: {}; {verdict}", p.name, p.m, p.n, p.k, figures.join(", "));
    }
    match &report.file {
        Some(path) => out!("wrote {} rules to {}", report.rules.len(), path.display()),
        None => {
            out!("rules that --write would keep (acts weights m n k kernel slices):");
            report.rules.iter().for_each(|rule| out!("  {rule}"));
        }
    }
}

/// A kernel's name without that of the family.
fn short(kernel: &str) -> &str {
    kernel.strip_prefix("matmul_").unwrap_or(kernel)
}
