//! One explanation.

use super::kernels::{Kernel, Limits, Work, by_kernel};
use super::machine::Machine;
use super::serve::serve;
use super::{Args, input, kernels, pictures, source};
use crate::model::load;
use crate::progress::Stages;
use anyhow::Result;
use lancet::gpu::profile::median;
use lancet::gpu::{Clock, Timing};
use lancet::ops::Ceilings;
use serde::Serialize;

#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    model: String,
    method: String,
    input_size: [u32; 2],
    batch: u32,
    labels: u32,
    precision: &'static str,
    adapter: String,
    ceilings: Option<Limits>,
    median_ms: f64,
    best_ms: f64,
    /// Unless `--no-ceilings`, each behind a sample of multiply-adds.
    runs_ms: Vec<f64>,
    clock: &'static str,
    gflops_total: f64,
    gflops_per_second: f64,
    /// Of the median run.
    percent_of_ceiling: Option<f64>,
    /// The rate of multiply-adds alone, GFLOP/s, measured before each run.
    fma_gflops_per_second: Vec<f64>,
    /// A run's rate over the one measured just before it, median.
    percent_of_fma: Option<f64>,
    activation_bytes: u64,
    slots: usize,
    kernels: Vec<Kernel>,
    steps: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    label: String,
    kernel: &'static str,
    best_ms: f64,
    share: f64,
    #[serde(flatten)]
    work: Work,
}

/// Runs it.
pub fn run(args: &Args) -> Result<()> {
    let mut stages = Stages::new(args.model.quiet || args.serve);
    let loaded = load(&args.model)?;
    let caps = loaded.engine.caps();
    let (ceilings, mut meter) = args.ceilings(&loaded, &mut stages)?.unzip();
    stages.begin("plan", "planning");
    let explainer = args.explainer(&loaded, args.label_count)?;
    let model_size = args.method.size.of(&loaded.clip, super::PICTURE);
    let mut plan = explainer.plan_scores(&input(args.batch, model_size))?;
    let pictures = pictures(&loaded, args.batch)?;
    let source = source(&pictures);
    if args.serve {
        return serve(&caps.adapter, || Ok(plan.run_timed(source)?));
    }
    stages.begin("runs", format!("{} warm runs, whole and step by step", args.runs));
    let mut fma: Vec<f64> = Vec::new();
    let profile = plan.profile_between(source, args.runs as usize, || {
        if let Some(meter) = &mut meter {
            fma.push(meter.sample()?);
        }
        Ok(())
    })?;
    let flops: u64 = profile.steps.iter().map(|s| s.flops).sum();
    let shares: Vec<f64> = profile.runs_ms.iter().zip(&fma).map(|(ms, rate)| 100.0 * flops as f64 / ms * 1e3 / rate).collect();
    stages.finish();
    let memory = plan.memory();
    let whole = Work::sum(&profile.steps, ceilings.as_ref()).in_ms(profile.median_ms());
    let report = Report {
        machine: Machine::here(&loaded.engine),
        model: loaded.path.display().to_string(),
        method: explainer.method().name.to_string(),
        input_size: model_size,
        batch: args.batch,
        labels: args.label_count,
        precision: args.model.precision_name(),
        adapter: caps.adapter.clone(),
        ceilings: ceilings.map(Limits::from),
        median_ms: profile.median_ms(),
        best_ms: profile.best_ms(),
        runs_ms: profile.runs_ms.clone(),
        clock: clock(profile.clock),
        gflops_total: whole.gflops,
        gflops_per_second: whole.gflops_per_second,
        percent_of_ceiling: whole.percent_of_ceiling,
        fma_gflops_per_second: fma.iter().map(|rate| rate / 1e9).collect(),
        percent_of_fma: (!shares.is_empty()).then(|| median(&shares)),
        activation_bytes: memory.activations,
        slots: memory.slots,
        kernels: by_kernel(profile.steps.iter(), ceilings.as_ref()),
        steps: rows(&profile.steps, ceilings.as_ref()),
    };
    if args.json {
        out!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

fn clock(clock: Clock) -> &'static str {
    match clock {
        Clock::Timestamps => "timestamps",
        Clock::SubmitAndWait => "submit and wait (the device has no timestamps)",
    }
}

fn rows(steps: &[Timing], ceilings: Option<&Ceilings>) -> Vec<Row> {
    let total: f64 = steps.iter().map(|s| s.ms).sum();
    let row = |s: &Timing| Row {
        label: s.label.clone(),
        kernel: s.kernel,
        best_ms: s.best_ms,
        share: s.ms / total.max(1e-9),
        work: Work::of(s, ceilings),
    };
    steps.iter().map(row).collect()
}

fn print(report: &Report) {
    let [w, h] = report.input_size;
    out!("{} at {w}x{h}, batch {}, {} labels, {} on {}", report.method, report.batch, report.labels, report.model, report.adapter);
    if let Some(ceilings) = &report.ceilings {
        ceilings.print();
    }
    out!(
        "median {:.2} ms of {} warm runs (best {:.2}), {:.2} GFLOP, {:.1} GFLOP/s{}",
        report.median_ms,
        report.runs_ms.len(),
        report.best_ms,
        report.gflops_total,
        report.gflops_per_second,
        report.percent_of_ceiling.map_or(String::new(), |p| format!(", {p:.0} % of what the ceilings allow"))
    );
    if let Some(percent) = report.percent_of_fma {
        out!(
            "{percent:.0} % of multiply-adds alone ({:.1} GFLOP/s), which were measured before each run; median of the pairs",
            median(&report.fma_gflops_per_second)
        );
    }
    out!("activations {:.2} MiB in {} slots; steps by {}", report.activation_bytes as f64 / (1 << 20) as f64, report.slots, report.clock);
    let width = report.steps.iter().map(|s| s.label.len()).max().unwrap_or(0);
    out!("{:<width$}  {:>9}  {:>8}  {:>8}  {:>6}  of ceiling", "step", "ms", "GFLOP/s", "GB/s", "share");
    for s in &report.steps {
        let (w, share) = (&s.work, 100.0 * s.share);
        out!(
            "{:<width$}  {:>9.3}  {:>8.2}  {:>8.2}  {share:>5.1}%  {}",
            s.label,
            w.ms,
            w.gflops_per_second,
            w.gbytes_per_second,
            w.of_ceiling()
        );
    }
    kernels::print(&report.kernels);
}
