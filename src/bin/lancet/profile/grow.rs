//! `lancet profile --grow`: time and memory over tokens, labels or images, beside the growth of the work itself.

use super::kernels::{Kernel, Limits, Work, by_kernel};
use super::machine::Machine;
use super::{Args, input, pictures, source};
use crate::model::{Loaded, load};
use crate::progress::Stages;
use anyhow::Result;
use lancet::Error;
use lancet::gpu::Timing;
use lancet::ops::Ceilings;
use serde::Serialize;

/// Sides of the square grids: 50 to 4097 tokens.
const GRIDS: [u32; 8] = [7, 10, 14, 20, 28, 40, 56, 64];
const LABELS: [u32; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
const BATCHES: [u32; 7] = [1, 2, 4, 8, 16, 32, 64];
/// Steps shorter than this say more about the cost of a dispatch than about the kernel, milliseconds.
const TELLING_MS: f64 = 0.5;

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Axis {
    /// The input's size, one image
    Tokens,
    /// Labels, one image of the method's size
    Labels,
    /// Images in a run
    Batch,
}

#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    model: String,
    method: String,
    precision: &'static str,
    adapter: String,
    axis: Axis,
    ceilings: Option<Limits>,
    points: Vec<Point>,
    /// Why there are no larger points.
    ended: Option<String>,
    growth: Vec<Growth>,
}

/// A plan of one size; times are the shortest of `runs`.
#[derive(Debug, Serialize)]
struct Point {
    tokens: u32,
    labels: u32,
    batch: u32,
    input_size: [u32; 2],
    runs: u32,
    #[serde(flatten)]
    work: Work,
    activation_bytes: u64,
    /// All that the process holds on the device, weights too, as far as wgpu's allocator tells.
    device_bytes: Option<u64>,
    kernels: Vec<Kernel>,
}

/// A kernel from the first point where it takes some time to the last.
#[derive(Debug, Serialize)]
struct Growth {
    kernel: &'static str,
    from: u32,
    to: u32,
    /// Time at `to` over time at `from`.
    time: f64,
    /// The same for its work: the least time at the ceilings, or its operations where those were not measured.
    work: f64,
}

/// Runs it.
pub fn run(args: &Args, axis: Axis) -> Result<()> {
    let mut stages = Stages::new(args.model.quiet);
    let loaded = load(&args.model)?;
    let ceilings = args.ceilings(&loaded, &mut stages)?.map(|(ceilings, _)| ceilings);
    let values: &[u32] = match axis {
        Axis::Tokens => &GRIDS,
        Axis::Labels => &LABELS,
        Axis::Batch => &BATCHES,
    };
    let (mut points, mut ended) = (Vec::new(), None);
    for (i, &value) in values.iter().enumerate() {
        stages.begin("points", format!("point {} of {}", i + 1, values.len()));
        match point(args, &loaded, axis, value, ceilings.as_ref()) {
            Ok(point) => {
                let seconds = point.work.ms / 1e3;
                points.push(point);
                if seconds > args.longest && i + 1 < values.len() {
                    ended = Some(format!("a run took {seconds:.0} s, more than --longest {}", args.longest));
                    break;
                }
            }
            // Smaller points stay worth knowing.
            Err(error) if !points.is_empty() && too_much(&error) => {
                ended = Some(format!("{error:#}"));
                break;
            }
            Err(error) => return Err(error),
        }
    }
    stages.finish();
    let report = Report {
        machine: Machine::here(&loaded.engine),
        model: loaded.path.display().to_string(),
        method: args.method.method.clone(),
        precision: args.model.precision_name(),
        adapter: loaded.engine.caps().adapter.clone(),
        axis,
        ceilings: ceilings.map(Limits::from),
        growth: growth(&points, axis),
        points,
        ended,
    };
    if args.json {
        out!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

fn too_much(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::DeviceTooSmall { .. } | Error::OutOfMemory { .. }))
}

fn point(args: &Args, loaded: &Loaded, axis: Axis, value: u32, ceilings: Option<&Ceilings>) -> Result<Point> {
    let config = loaded.clip.config();
    let pick = |this: Axis, otherwise: u32| if axis == this { value } else { otherwise };
    let (labels, batch) = (pick(Axis::Labels, args.label_count), pick(Axis::Batch, args.batch));
    let input_size = match axis {
        Axis::Tokens => [value * config.patch; 2],
        _ => args.method.size.of(&loaded.clip, super::PICTURE),
    };
    let explainer = args.explainer(loaded, labels)?;
    let pictures = pictures(loaded, batch)?;
    let mut plan = explainer.plan_scores(&input(batch, input_size))?;
    let warm = plan.run_timed(source(&pictures)).and_then(|_| plan.run_timed(source(&pictures)))?;
    // Whole and step by step, and once more to warm up: long points get fewer runs, not an hour.
    let runs = (args.longest * 1e3 / 2.0 / warm).clamp(1.0, f64::from(args.runs)) as u32;
    let profile = plan.profile(source(&pictures), runs as usize)?;
    let best: Vec<Timing> = profile.steps.iter().map(|s| Timing { ms: s.best_ms, ..s.clone() }).collect();
    let [w, h] = config.grid(input_size);
    Ok(Point {
        tokens: 1 + w * h,
        labels,
        batch,
        input_size,
        runs,
        work: Work::sum(&best, ceilings).in_ms(profile.best_ms().min(warm)),
        activation_bytes: plan.memory().activations,
        device_bytes: loaded.engine.gpu().device.generate_allocator_report().map(|r| r.total_allocated_bytes),
        kernels: by_kernel(best.iter(), ceilings),
    })
}

impl Point {
    fn value(&self, axis: Axis) -> u32 {
        match axis {
            Axis::Tokens => self.tokens,
            Axis::Labels => self.labels,
            Axis::Batch => self.batch,
        }
    }
}

fn growth(points: &[Point], axis: Axis) -> Vec<Growth> {
    let Some(last) = points.last() else { return Vec::new() };
    let one = |end: &Kernel| {
        let known =
            |p: &Point| p.kernels.iter().find(|k| k.kernel == end.kernel && k.work.ms >= TELLING_MS).map(|k| (p.value(axis), k.work));
        let (from, begin) = points.iter().find_map(known).filter(|(from, _)| *from != last.value(axis))?;
        let work = match (begin.floor_ms, end.work.floor_ms) {
            (Some(a), Some(b)) => b / a,
            _ => end.work.gflops / begin.gflops.max(1e-12),
        };
        Some(Growth { kernel: end.kernel, from, to: last.value(axis), time: end.work.ms / begin.ms, work })
    };
    last.kernels.iter().filter_map(one).collect()
}

fn print(r: &Report) {
    out!("{} of {} ({} precision) on {}; the shortest of the runs", r.method, r.model, r.precision, r.adapter);
    if let Some(ceilings) = &r.ceilings {
        ceilings.print();
    }
    out!(
        "{:>6}  {:>6}  {:>5}  {:>11}  {:>10}  {:>9}  {:>12}  {:>11}  of ceiling",
        "tokens",
        "labels",
        "batch",
        "ms",
        "GFLOP",
        "GFLOP/s",
        "activations",
        "on device"
    );
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    for p in &r.points {
        out!(
            "{:>6}  {:>6}  {:>5}  {:>11.2}  {:>10.2}  {:>9.1}  {:>12}  {:>11}  {}",
            p.tokens,
            p.labels,
            p.batch,
            p.work.ms,
            p.work.gflops,
            p.work.gflops_per_second,
            mib(p.activation_bytes),
            p.device_bytes.map_or("-".into(), mib),
            p.work.of_ceiling()
        );
    }
    if let Some(why) = &r.ended {
        out!("no larger points: {why}");
    }
    if !r.growth.is_empty() {
        out!("growth of kernels that take over {TELLING_MS} ms:");
    }
    for g in &r.growth {
        out!("  {:<16} {:>6} to {:<6} time x{:<9.2} work x{:.2}", g.kernel, g.from, g.to, g.time, g.work);
    }
}
