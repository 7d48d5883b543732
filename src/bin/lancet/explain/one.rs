//! One image: its numbers on the terminal, and an error if it fails.

use super::flow::{self, Job, Target};
use super::report::Report;
use super::{Args, kept};
use crate::model::load;
use crate::names;
use crate::output::OutDir;
use crate::progress::Stages;
use anyhow::Result;
use lancet::clip::decode::Decoded;
use lancet::{Explainer, Method};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Explains `image`; all files get their names, or none.
pub fn run(args: &Args, image: &Path, labels: &[String], method: &Method) -> Result<()> {
    let mut stages = Stages::new(args.model.quiet);
    stages.begin("decode", format!("reading {}", image.display()));
    let decoded = Decoded::open(image)?;
    let size = decoded.size();
    let out = OutDir::open(&args.out)?;
    stages.begin("load", format!("loading {}", args.model.model));
    let loaded = load(&args.model)?;
    let model_size = args.method.size.of(&loaded.clip, size);
    let embedded = args.prompts.embed(&loaded.clip, labels, &mut stages)?;
    let explainer = Explainer::new(&loaded.clip, &embedded, method)?;
    if let Some(notice) = explainer.notice() {
        eprintln!("note: {notice}");
    }

    stages.begin("explain", "explaining");
    let mut stream = args.stream(&explainer, model_size, 1)?;
    let name = names::stem(image);
    let (complete, failed) = (Mutex::new(None), Mutex::new(None));
    let target = Target {
        out: &out,
        parts: &names::of_labels(labels),
        kinds: args.kinds(),
        complete: &|_, files| {
            *complete.lock().unwrap_or_else(PoisonError::into_inner) = Some(files);
            Ok(())
        },
        failed: &|_, e| *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(e),
    };
    let job = Job { index: 0, path: image.to_owned(), name: name.clone(), decoded: Some(decoded) };
    flow::run(&mut stream, vec![job], &target)?;
    let take = |value: Mutex<_>| value.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut complete = kept(take(complete), failed.into_inner().unwrap_or_else(PoisonError::into_inner))?;

    let settings = args.settings(&loaded, &explainer, stream.memory().activations, Some(model_size));
    let time_ms = stages.finish().into_iter().collect();
    let report = Report { image: image.display().to_string(), size, settings, labels: complete.labels, sheet: complete.sheet, time_ms };
    if args.json {
        complete.files.push((out.temporary(|w| Ok(serde_json::to_writer_pretty(w, &report)?))?, format!("{name}.json")));
    }
    out.keep(complete.files)?;
    if !args.model.quiet {
        summary(&report, &args.out);
    }
    Ok(())
}

fn summary(report: &Report, out: &Path) {
    let width = report.labels.iter().map(|l| l.label.chars().count()).max().unwrap_or(0).max(5);
    out!("{:<width$}  score   peak (x, y)", "label");
    for l in &report.labels {
        out!("{:<width$}  {:>5.3}   {}, {}", l.label, l.score, l.peak.x, l.peak.y);
    }
    let total = report.time_ms.get("total").copied().unwrap_or(0.0) / 1e3;
    out!("{} on {}: {}, {total:.2} s", report.settings.method, report.settings.adapter, report.settings.patches());
    match &report.sheet {
        Some(sheet) => out!("contact sheet: {}", out.join(sheet).display()),
        None => out!("overlays: {}", out.display()),
    }
}
