//! `lancet profile`: where the time of one explanation goes, or of a prompt ensemble.

use crate::args::{self, MethodArgs, ModelArgs};
use crate::model::load;
use crate::profile_texts::{self, TextArgs};
use anyhow::Result;
use lancet::gpu::{Clock, Profile, Source};
use lancet::shape::DType;
use lancet::{Explainer, ImageInput, Labels, SourceKind};
use serde::Serialize;
use std::io::BufRead;

/// Time warm explanations, whole and step by step
///
/// Examples: lancet profile --method surgery --size 224 --runs 9;
/// lancet profile --texts --labels default --runs 1
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
    texts: TextArgs,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Time one run per line read from stdin and print its milliseconds, for interleaved comparisons
    #[arg(long, hide = true)]
    serve: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    method: String,
    input_size: [u32; 2],
    batch: u32,
    labels: u32,
    precision: &'static str,
    adapter: String,
    median_ms: f64,
    runs_ms: Vec<f64>,
    clock: &'static str,
    gflops_total: f64,
    gflops_per_second: f64,
    activation_bytes: u64,
    slots: usize,
    steps: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    label: String,
    kernel: &'static str,
    ms: f64,
    gflops_per_second: f64,
    gbytes_per_second: f64,
    share: f64,
}

/// Runs `lancet profile`.
pub fn run(args: &Args) -> Result<()> {
    if args.texts.texts {
        return profile_texts::run(&args.texts, &args.model, args.runs as usize, args.json);
    }
    let method = args::method(&args.method.method)?;
    let loaded = load(&args.model)?;
    let clip = &loaded.clip;
    let labels = made_up_labels(args.label_count as usize, clip.config().embed as usize)?;
    let explainer = Explainer::new(clip, &labels, &method)?;
    let image = [640u32, 480];
    let model_size = args.method.size.of(clip, image);
    let input = ImageInput { kind: SourceKind::Rgba8, images: args.batch, size: image, model_size };
    let mut plan = explainer.plan_scores(&input)?;
    let pixels: Vec<u32> = (0..args.batch * image[0] * image[1]).map(|i| i.wrapping_mul(2_654_435_761) | 0xff00_0000).collect();
    let source = loaded.engine.gpu().upload("image", &[args.batch, image[1], image[0]], DType::U32, &pixels)?;
    let source = Source::Rgba8(source.buffer());

    if args.serve {
        plan.run_timed(source)?;
        eprintln!("lancet: ready on {}", loaded.engine.caps().adapter);
        for line in std::io::stdin().lock().lines() {
            line?;
            out!("{:.3}", plan.run_timed(source)?);
        }
        return Ok(());
    }
    let profile = plan.profile(source, args.runs as usize)?;
    let memory = plan.memory();
    let caps = loaded.engine.caps();
    let gflops = profile.steps.iter().map(|s| s.flops).sum::<u64>() as f64 / 1e9;
    let report = Report {
        model: loaded.path.display().to_string(),
        method: explainer.method().name.to_string(),
        input_size: model_size,
        batch: args.batch,
        labels: args.label_count,
        precision: args.model.precision_name(),
        adapter: caps.adapter.clone(),
        median_ms: profile.median_ms(),
        runs_ms: profile.runs_ms.clone(),
        clock: match profile.clock {
            Clock::Timestamps => "timestamps",
            Clock::SubmitAndWait => "submit and wait (the device has no timestamps)",
        },
        gflops_total: gflops,
        gflops_per_second: gflops / profile.median_ms() * 1e3,
        activation_bytes: memory.activations,
        slots: memory.slots,
        steps: rows(&profile),
    };
    if args.json {
        out!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(())
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

fn rows(profile: &Profile) -> Vec<Row> {
    let total: f64 = profile.steps.iter().map(|s| s.ms).sum();
    let per_second = |count: u64, ms: f64| if ms > 0.0 { count as f64 / ms / 1e6 } else { 0.0 };
    let row = |s: &lancet::gpu::Timing| Row {
        label: s.label.clone(),
        kernel: s.kernel,
        ms: s.ms,
        gflops_per_second: per_second(s.flops, s.ms),
        gbytes_per_second: per_second(s.bytes, s.ms),
        share: s.ms / total.max(1e-9),
    };
    profile.steps.iter().map(row).collect()
}

fn print(report: &Report) {
    let [w, h] = report.input_size;
    out!("{} at {w}x{h}, batch {}, {} labels, {} on {}", report.method, report.batch, report.labels, report.model, report.adapter);
    out!(
        "median {:.2} ms of {} warm runs, {:.2} GFLOP, {:.1} GFLOP/s",
        report.median_ms,
        report.runs_ms.len(),
        report.gflops_total,
        report.gflops_per_second
    );
    out!("activations {:.2} MiB in {} slots; steps by {}", report.activation_bytes as f64 / (1 << 20) as f64, report.slots, report.clock);
    let width = report.steps.iter().map(|s| s.label.len()).max().unwrap_or(0);
    out!("{:<width$}  {:>9}  {:>8}  {:>8}  {:>6}", "step", "ms", "GFLOP/s", "GB/s", "share");
    for s in &report.steps {
        out!("{:<width$}  {:>9.3}  {:>8.2}  {:>8.2}  {:>5.1}%", s.label, s.ms, s.gflops_per_second, s.gbytes_per_second, 100.0 * s.share);
    }
    out!("by kernel:");
    let mut kernels: Vec<(&str, f64, f64)> = Vec::new();
    for s in &report.steps {
        match kernels.iter_mut().find(|k| k.0 == s.kernel) {
            Some(k) => (k.1, k.2) = (k.1 + s.ms, k.2 + s.share),
            None => kernels.push((s.kernel, s.ms, s.share)),
        }
    }
    kernels.sort_by(|a, b| b.1.total_cmp(&a.1));
    for (kernel, ms, share) in kernels {
        out!("  {kernel:<18} {ms:>9.3} ms  {:>5.1}%", 100.0 * share);
    }
}
