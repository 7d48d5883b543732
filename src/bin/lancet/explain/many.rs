//! Many images: goes on past bad ones, skips what an earlier run finished, and says where the time went.

use super::Args;
use super::flow::{self, Job, Target};
use super::journal::{self, Journal};
use super::report::{ImageReport, Report, Run, Settings, Speed, Status, peak_memory};
use super::writer::{Complete, Writing, all_files};
use crate::model::load;
use crate::names;
use crate::output::OutDir;
use crate::progress::Stages;
use anyhow::{Result, bail};
use lancet::clip::decode::Decoded;
use lancet::{Clip, Error, Explainer, Method};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How each image ended is written here.
const RUN: &str = "lancet-run.json";

/// Explains all `images`.
pub fn run(args: &Args, images: Vec<PathBuf>, labels: &[String], method: &Method) -> Result<()> {
    let started = Instant::now();
    let mut stages = Stages::new(args.model.quiet);
    let out = OutDir::open(&args.out)?;
    stages.begin("load", format!("loading {}", args.model.model));
    let loaded = load(&args.model)?;
    let embedded = args.prompts.embed(&loaded.clip, labels, &mut stages)?;
    let explainer = Explainer::new(&loaded.clip, &embedded, method)?;
    if let Some(notice) = explainer.notice() {
        eprintln!("note: {notice}");
    }

    let journal = Journal::open(&args.out)?;
    let of_run = journal::of_run(args, &loaded, &explainer, method)?;
    let (kinds, parts) = (args.kinds(), names::of_labels(labels));
    // A file that cannot be looked at has no fingerprint, and fails when it is read.
    let prints: Vec<Option<String>> = images.iter().map(|path| journal::of_image(&of_run, path).ok()).collect();
    let mut reports: Vec<ImageReport> = images
        .iter()
        .zip(names::of_images(&images))
        .map(|(path, name)| ImageReport { image: path.display().to_string(), name, status: Status::Skipped })
        .collect();
    let finished = |name: &str, print: &str| {
        !args.redo && journal.has(name, print) && all_files(name, &parts, kinds).all(|file| args.out.join(file).is_file())
    };
    let jobs: Vec<Job> = images
        .into_iter()
        .enumerate()
        .filter(|(index, _)| prints[*index].as_ref().is_none_or(|print| !finished(&reports[*index].name, print)))
        .map(|(index, path)| Job { index, path, name: reports[index].name.clone(), decoded: None })
        .collect();
    let skipped = reports.len() - jobs.len();
    stages.begin("explain", "explaining");
    let bar = stages.count(jobs.len() as u64, "images");
    let ended: Mutex<Vec<(usize, Status)>> = Mutex::default();
    let end = |index: usize, status: Status| {
        ended.lock().unwrap_or_else(PoisonError::into_inner).push((index, status));
        bar.inc(1);
    };
    let mut speed = Speed::default();
    let mut common: Option<Settings> = None;
    for (model_size, jobs) in by_model_size(args, &loaded.clip, jobs) {
        let mut stream = args.stream(&explainer, model_size, jobs.len())?;
        let settings = args.settings(&loaded, &explainer, stream.memory().activations, Some(model_size));
        let complete = |image: &Writing, mut complete: Complete| -> Result<()> {
            if args.json {
                let file = format!("{}.json", image.name);
                let report = Report {
                    image: reports[image.index].image.clone(),
                    size: image.size,
                    settings: settings.clone(),
                    labels: complete.labels,
                    sheet: complete.sheet,
                    time_ms: [("decode", image.decode_ms)].into(),
                };
                complete.files.push((out.temporary(|w| Ok(serde_json::to_writer_pretty(w, &report)?))?, file));
            }
            out.keep(complete.files)?;
            if let Some(print) = &prints[image.index] {
                journal.add(&image.name, print)?;
            }
            end(image.index, Status::Done { size: image.size });
            Ok(())
        };
        let failed = |index: usize, e: Error| end(index, Status::Failed { error: e.to_string() });
        let target = Target { out: &out, parts: &parts, kinds, complete: &complete, failed: &failed };
        speed.add(&flow::run(&mut stream, jobs, &target)?, stream.device_time(), stream.batch());
        common = common.map(|known: Settings| known.shared_with(&settings)).or(Some(settings.clone()));
    }
    for (index, status) in ended.into_inner().unwrap_or_else(PoisonError::into_inner) {
        reports[index].status = status;
    }
    stages.finish();

    let done = reports.iter().filter(|r| matches!(r.status, Status::Done { .. })).count();
    let failed = reports.len() - done - skipped;
    speed.images_per_s = if speed.wall_s > 0.0 { done as f64 / speed.wall_s } else { 0.0 };
    speed.peak_memory_bytes = peak_memory();
    speed.total_s = started.elapsed().as_secs_f64();
    // Nothing was left to do, and nothing was planned for it.
    let settings = common.unwrap_or_else(|| args.settings(&loaded, &explainer, 0, args.method.size.fixed(&loaded.clip).ok()));
    let run = Run { version: env!("CARGO_PKG_VERSION"), settings, labels: labels.to_vec(), done, skipped, failed, images: reports, speed };
    out.keep(vec![(out.temporary(|w| Ok(serde_json::to_writer_pretty(w, &run)?))?, RUN.to_owned())])?;
    if !args.model.quiet {
        summary(args, &run);
    }
    if failed > 0 {
        for image in &run.images {
            if let Status::Failed { error } = &image.status {
                eprintln!("failed: {}", said_of(&image.image, error));
            }
        }
        bail!("{failed} of {} images failed; the list is above and in {}", run.images.len(), args.out.join(RUN).display());
    }
    Ok(())
}

/// Most messages name the file themselves.
fn said_of(image: &str, error: &str) -> String {
    let line = error.replace('\n', " ");
    if line.contains(image) { line } else { format!("{image}: {line}") }
}

/// Images by what the model sees of them, which with `--size aspect` depends on their shape. A file whose size cannot be
/// read fails where it is decoded.
fn by_model_size(args: &Args, clip: &Clip, jobs: Vec<Job>) -> Vec<([u32; 2], Vec<Job>)> {
    let mut groups: Vec<([u32; 2], Vec<Job>)> = Vec::new();
    for job in jobs {
        let image = if args.method.size.is_aspect() { Decoded::size_of(&job.path).unwrap_or([1, 1]) } else { [1, 1] };
        let size = args.method.size.of(clip, image);
        match groups.iter_mut().find(|g| g.0 == size) {
            Some(group) => group.1.push(job),
            None => groups.push((size, vec![job])),
        }
    }
    groups
}

fn summary(args: &Args, run: &Run) {
    let counts = [(run.done, "explained"), (run.skipped, "finished before (--redo does them again)"), (run.failed, "failed")];
    let counts: Vec<String> = counts.iter().filter(|c| c.0 > 0).map(|(n, what)| format!("{n} {what}")).collect();
    out!("{} images, {} labels: {}", run.images.len(), run.labels.len(), counts.join(", "));
    let s = &run.speed;
    if run.done > 0 {
        let memory = s.peak_memory_bytes.map_or(String::new(), |bytes| format!(", peak memory {} MiB", bytes >> 20));
        out!(
            "{:.1} s, {:.1} images/s, GPU busy {:.0} % ({}), decode {:.1} s, encode {:.1} s on {} threads{memory}",
            s.wall_s,
            s.images_per_s,
            100.0 * s.gpu_busy,
            s.gpu_clock,
            s.decode_s,
            s.encode_s,
            s.encode_threads
        );
    }
    out!("{} on {}: {}, batches of {}", run.settings.method, run.settings.adapter, run.settings.patches(), s.batch);
    out!("results: {}, each image in {RUN}", args.out.display());
}
