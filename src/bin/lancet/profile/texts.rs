//! `lancet profile --texts`: what a prompt ensemble costs, and what it would cost padded.

use super::kernels::{Kernel, Limits, Work, by_kernel};
use super::machine::Machine;
use super::serve::serve;
use super::{Args, kernels};
use crate::args;
use crate::model::{Loaded, load};
use crate::progress::Stages;
use anyhow::Result;
use lancet::Clip;
use lancet::gpu::Source;
use lancet::gpu::profile::median;
use serde::Serialize;
use std::path::PathBuf;

/// Rows of the padded comparison: as full as the plans it is compared with.
const PADDED_ROWS: u32 = 4096;

/// Which texts.
#[derive(Debug, clap::Args)]
pub struct TextArgs {
    /// Profile the text tower on a prompt ensemble instead, and compare with prompts padded to the context
    #[arg(long)]
    pub texts: bool,
    /// Labels of the ensemble, one a line, or "default", the 59 of CLIP Surgery's demo
    #[arg(long, default_value = "default", value_name = "FILE|default", requires = "texts")]
    labels: PathBuf,
    /// Prompt templates of the ensemble: ensemble (85), none, or a file with one a line
    #[arg(long, default_value = "ensemble", value_name = "ensemble|none|FILE", requires = "texts")]
    templates: String,
}

#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    model: String,
    adapter: String,
    ceilings: Option<Limits>,
    labels: usize,
    templates: usize,
    /// Tokens in all prompts, end markers included.
    tokens: usize,
    /// Rows that are computed: a shared beginning counts once per plan.
    rows: u64,
    plans: usize,
    gflops: f64,
    /// Sum over the plans of each one's median warm run.
    ms: f64,
    percent_of_ceiling: Option<f64>,
    padded: Padded,
    /// Padded over real: the work, and the measured time.
    flops_ratio: f64,
    time_ratio: f64,
    kernels: Vec<Kernel>,
}

/// All prompts padded to the context, nothing shared, the same kernels.
#[derive(Debug, Serialize)]
struct Padded {
    rows: u64,
    gflops: f64,
    /// From the median warm run of a plan of `measured_prompts`, times as many as there are.
    ms: f64,
    measured_prompts: u32,
}

/// Runs it.
pub fn run(args: &Args) -> Result<()> {
    let mut stages = Stages::new(args.model.quiet || args.serve);
    let (choice, runs) = (&args.texts, args.runs as usize);
    let names = args::labels(&[], Some(&choice.labels))?;
    let templates = args::templates(&choice.templates)?;
    let loaded = load(&args.model)?;
    let ceilings = args.ceilings(&loaded, &mut stages)?.map(|(ceilings, _)| ceilings);
    let Loaded { engine, clip, path } = &loaded;
    let prompts: Vec<String> = names.iter().flat_map(|name| templates.fill(name)).collect();
    let ids = clip.tokenize(&prompts)?;
    let group = templates.list().len();

    let batches = clip.text_batches(&ids, group);
    let plan = |batch: &&[Vec<u32>]| clip.plan_ensemble(batch, group as u32);
    if args.serve {
        let mut plans = batches.iter().map(plan).collect::<lancet::Result<Vec<_>>>()?;
        let mut all = || plans.iter_mut().map(|plan| plan.run_timed(Source::None)).sum::<lancet::Result<f64>>();
        return serve(&engine.caps().adapter, || Ok(all()?));
    }
    let (mut rows, mut ms, mut steps) = (0, 0.0, Vec::new());
    for (i, batch) in batches.iter().enumerate() {
        stages.begin("runs", format!("plan {} of {}", i + 1, batches.len()));
        rows += clip.text_rows(batch) as u64;
        let profile = plan(batch)?.profile(Source::None, runs)?;
        ms += profile.median_ms();
        steps.extend(profile.steps);
    }
    stages.begin("padded", "the same, padded");
    let padded = padded(clip, ids.len(), runs)?;
    stages.finish();
    let whole = Work::sum(&steps, ceilings.as_ref()).in_ms(ms);
    let report = Report {
        machine: Machine::here(engine),
        model: path.display().to_string(),
        adapter: engine.caps().adapter.clone(),
        ceilings: ceilings.map(Limits::from),
        labels: names.len(),
        templates: group,
        tokens: ids.iter().map(Vec::len).sum(),
        rows,
        plans: batches.len(),
        gflops: whole.gflops,
        ms,
        percent_of_ceiling: whole.percent_of_ceiling,
        flops_ratio: padded.gflops / whole.gflops,
        time_ratio: padded.ms / ms,
        padded,
        kernels: by_kernel(steps.iter(), ceilings.as_ref()),
    };
    if args.json {
        out!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

/// A plan of prompts that fill the context and have no beginning in common, and what `prompts` of them would take.
fn padded(clip: &Clip, prompts: usize, runs: usize) -> Result<Padded> {
    let config = clip.config();
    let (context, end) = (config.context, config.vocabulary - 1);
    let count = (PADDED_ROWS / context).clamp(1, end.min(prompts as u32).max(1));
    let prompt = |first: u32| [first].into_iter().chain((2..context).map(|_| 0)).chain([end]).collect::<Vec<u32>>();
    let ids: Vec<Vec<u32>> = (0..count).map(prompt).collect();
    let mut plan = clip.plan_ensemble(&ids, 1)?;
    plan.run_timed(Source::None)?;
    let times = (0..runs.max(1)).map(|_| plan.run_timed(Source::None)).collect::<lancet::Result<Vec<f64>>>()?;
    let each = prompts as f64 / f64::from(count);
    Ok(Padded {
        rows: prompts as u64 * u64::from(context),
        gflops: plan.steps().iter().map(|s| s.flops).sum::<u64>() as f64 / 1e9 * each,
        ms: median(&times) * each,
        measured_prompts: count,
    })
}

fn print(r: &Report) {
    out!("{} labels x {} templates, {} on {}", r.labels, r.templates, r.model, r.adapter);
    if let Some(ceilings) = &r.ceilings {
        ceilings.print();
    }
    out!("{:<8}  {:>9}  {:>10}  {:>10}", "", "rows", "GFLOP", "ms");
    out!("{:<8}  {:>9}  {:>10.2}  {:>10.1}   {} plan(s), {} tokens before sharing", "real", r.rows, r.gflops, r.ms, r.plans, r.tokens);
    let p = &r.padded;
    out!("{:<8}  {:>9}  {:>10.2}  {:>10.1}   from {} measured", "padded", p.rows, p.gflops, p.ms, p.measured_prompts);
    let more = p.rows as f64 / r.rows as f64;
    out!("{:<8}  {:>9}  {:>10}  {:>10}", "ratio", format!("{more:.1}"), format!("{:.1}", r.flops_ratio), format!("{:.1}", r.time_ratio));
    if let Some(percent) = r.percent_of_ceiling {
        out!("{percent:.0} % of what the ceilings allow");
    }
    kernels::print(&r.kernels);
}
