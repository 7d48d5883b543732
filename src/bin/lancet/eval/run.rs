//! The run: images through the model, records to the disk.

use super::RunArgs;
use super::datasets::{Dataset, Item, Kind, Truth};
use super::measure::{Job, present, record};
use super::merge::{print, stage};
use super::models::{Models, Texts};
use super::protocol::Choice;
use super::record::{MultiLabel, Record, Settings, Task, ZeroShot};
use super::report::Results;
use super::rows::{LabelSet, Row, names, possible, rows};
use super::scorers::class_cosines;
use super::store::{FORMAT, Header, Shard, Store};
use crate::args;
use crate::model::{Loaded, load};
use crate::output::OutDir;
use crate::progress::Stages;
use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use lancet::clip::decode::Decoded;
use lancet::eval::{confusion_cells, rank};
use lancet::explain::segment::{Classes, SegmentOptions};
use lancet::{Image, Score, Templates};
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel, sync_channel};

/// Images whose scores wait for a thread; bounds the memory.
const WAITING: usize = 16;

/// Runs an evaluation.
pub fn run(args: &RunArgs, kind: Kind, folder: &Path) -> Result<()> {
    let dataset = open(args, kind, folder)?;
    let tasks = tasks(args, kind, &dataset)?;
    let rows = if tasks.contains(&Task::Maps) { rows(&args.methods, &args.label_set)? } else { Vec::new() };
    let segmenting = if tasks.contains(&Task::Segmentation) { segmenting(&args.methods)? } else { Vec::new() };
    let protocol = Choice::of(args, kind)?;

    let mut stages = Stages::new(args.model.quiet);
    stages.begin("load", format!("loading {}", args.model.model));
    let loaded = load(&args.model)?;
    let templates = match (&args.templates, &dataset.templates) {
        (Some(choice), _) => args::templates(choice)?,
        (None, Some(own)) => own.clone(),
        (None, None) => Templates::ensemble(),
    };
    let mut left_out = Vec::new();
    let rows = possible(rows, &loaded.clip, &mut left_out)?;
    let segmenting = possible(segmenting, &loaded.clip, &mut left_out)?;
    if !args.model.quiet {
        left_out.iter().for_each(|what| eprintln!("left out: {what}"));
    }
    let with_options = |row: Row| Ok((row.clone(), protocol.options(args, kind, &loaded.clip, &row)?));
    let segmenting = segmenting.into_iter().map(with_options).collect::<Result<Vec<_>>>()?;
    let header = Header {
        lancet_eval: FORMAT,
        shard: args.shard,
        adapter: loaded.engine.caps().adapter.clone(),
        settings: settings(args, kind, &dataset, tasks, &rows, &segmenting, protocol, &loaded, &templates)?,
    };
    let (store, done) = Store::open(&args.out, &header)?;
    let mut have = vec![false; dataset.items.len()];
    done.iter().for_each(|r| have[r.index] = true);
    let todo: Vec<usize> = (0..dataset.items.len()).filter(|&i| args.shard.has(i) && !have[i]).collect();
    let mut records = done;
    if !todo.is_empty() {
        if !records.is_empty() && !args.model.quiet {
            eprintln!("going on: {} images are done, {} to do", records.len(), todo.len());
        }
        let texts = Texts { clip: &loaded.clip, templates: &templates, cache: !args.no_cache };
        let models = Models::new(&texts, &dataset, &rows, &segmenting, args.synonyms, &mut stages)?;
        stages.begin("order", "reading image sizes");
        let todo = by_size(&dataset, todo)?;
        stages.begin("measure", "measuring");
        let bar = stages.count(todo.len() as u64, "images");
        let mut runner = Runner { dataset: &dataset, settings: &header.settings, models, bar };
        records.extend(runner.run(&todo, store)?);
        stages.finish();
    } else {
        stages.finish();
        store.finish()?;
    }
    finish(args, &header, records)
}

/// The result, or what to do for one.
fn finish(args: &RunArgs, header: &Header, records: Vec<Record>) -> Result<()> {
    if args.shard != Shard::WHOLE {
        if !args.model.quiet {
            let (out, count) = (args.out.display(), records.len());
            out!("part {} is done: {count} images in {out}; when all parts are: lancet eval merge {out} ... --out DIR", args.shard);
        }
        return Ok(());
    }
    let results = Results::of(&header.settings, records)?;
    let mut out = OutDir::open(&args.out)?;
    stage(&mut out, &results)?;
    out.commit()?;
    print(&results, args.json, args.model.quiet)
}

fn open(args: &RunArgs, kind: Kind, folder: &Path) -> Result<Dataset> {
    let mut dataset = Dataset::open(kind, folder)?;
    if let Some(path) = &args.classes {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let classes = Classes::parse(&text).with_context(|| path.display().to_string())?;
        if classes.list().len() != dataset.classes.len() || classes.has_background() != dataset.background.is_some() {
            bail!(
                "{}: {} classes, expected {}, {} a background first",
                path.display(),
                classes.list().len(),
                dataset.classes.len(),
                if dataset.background.is_some() { "with" } else { "without" }
            );
        }
        dataset.classes = classes.list().to_vec();
    }
    if let Some(limit) = args.limit {
        dataset.items.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    Ok(dataset)
}

/// What is asked for, or all that there is; in a fixed order.
fn tasks(args: &RunArgs, kind: Kind, dataset: &Dataset) -> Result<Vec<Task>> {
    let single = |item: &Item| matches!(item.truth, Truth::Single(_));
    let (singles, masks) = (dataset.items.iter().any(single), dataset.items.iter().any(|i| !single(i)));
    let mut tasks = Vec::new();
    for task in [Task::Maps, Task::Segmentation, Task::MultiLabel, Task::ZeroShot] {
        let (possible, usual, why) = match task {
            Task::ZeroShot => (singles, singles, "single objects, and there are none among the images chosen"),
            Task::Segmentation => (masks, masks && kind != Kind::Scenes, "masks, and there are none among the images chosen"),
            _ => (masks, masks, "masks, and there are none among the images chosen"),
        };
        let asked = args.tasks.contains(&task);
        if asked && !possible {
            bail!("task {} needs {why}", serde_json::to_string(&task)?);
        }
        if asked || args.tasks.is_empty() && usual {
            tasks.push(task);
        }
    }
    Ok(tasks)
}

/// Methods that segment: feature surgery over labels is for maps (CLIP Surgery's author does not use it here).
fn segmenting(methods: &[String]) -> Result<Vec<Row>> {
    let all = rows(methods, &[LabelSet::All])?;
    let methods: Vec<Row> = all.into_iter().filter(|r| !matches!(r.method.score, Score::LabelSet { .. })).collect();
    if methods.is_empty() {
        bail!("no method to segment with: feature surgery over labels is for maps; add surgery-architecture to --methods");
    }
    Ok(methods)
}

#[expect(clippy::too_many_arguments, reason = "everything that results depend on")]
fn settings(
    args: &RunArgs,
    kind: Kind,
    dataset: &Dataset,
    tasks: Vec<Task>,
    rows: &[Row],
    segmenting: &[(Row, SegmentOptions)],
    protocol: Choice,
    loaded: &Loaded,
    templates: &Templates,
) -> Result<Settings> {
    let hash = |parts: &mut dyn Iterator<Item = &[u8]>| {
        let mut hash = blake3::Hasher::new();
        for part in parts {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.finalize().to_hex()[..32].to_owned()
    };
    let weights = loaded.clip.weights();
    let tensors = &mut weights.names().flat_map(|name| [name.as_bytes(), weights.raw(name).unwrap_or_default()]);
    let texts = format!("{:?} {:?} {}", dataset.classes, templates.list(), args.model.truncate);
    let methods = format!("{rows:?} {segmenting:?}");
    let config = format!("{:?}", loaded.clip.config());
    Ok(Settings {
        lancet: env!("CARGO_PKG_VERSION").into(),
        dataset: kind.name(),
        images: dataset.items.len(),
        list_hash: dataset.fingerprint(),
        classes: dataset.classes.iter().map(|c| c.title.clone()).collect(),
        background: dataset.background,
        texts_hash: hash(&mut [texts.as_bytes()].into_iter()),
        synonyms: args.synonyms,
        model_hash: hash(tensors),
        config_hash: hash(&mut [config.as_bytes()].into_iter()),
        precision: args.model.precision_name().into(),
        size: args.size.fixed(&loaded.clip)?,
        batch: args.batch as usize,
        tasks,
        rows: names(rows),
        segmenters: segmenting.iter().map(|(row, _)| row.name.clone()).collect(),
        protocol: (!segmenting.is_empty()).then(|| protocol.name().to_owned()),
        methods_hash: hash(&mut [methods.as_bytes()].into_iter()),
    })
}

/// An image to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Todo {
    /// Stored width and height, and whether it is a single object: what images of a batch share.
    kind: (u32, u32, bool),
    index: usize,
}

/// Images of one size one after another, so that plans serve many; single objects apart. The order changes no result.
fn by_size(dataset: &Dataset, todo: Vec<usize>) -> Result<Vec<Todo>> {
    let key = |index: usize| {
        let item = &dataset.items[index];
        let path = dataset.root.join(&item.image);
        let (w, h) = image::image_dimensions(&path).with_context(|| format!("image {}", path.display()))?;
        Ok(Todo { kind: (w, h, matches!(item.truth, Truth::Single(_))), index })
    };
    let mut keyed = todo.into_iter().map(key).collect::<Result<Vec<_>>>()?;
    keyed.sort_unstable();
    Ok(keyed)
}

struct Runner<'a> {
    dataset: &'a Dataset,
    settings: &'a Settings,
    models: Models,
    bar: ProgressBar,
}

impl Runner<'_> {
    /// This thread runs the model; others measure; records are stored as they come.
    fn run(&mut self, todo: &[Todo], mut store: Store) -> Result<Vec<Record>> {
        let bar = self.bar.clone();
        let workers = std::thread::available_parallelism().map_or(1, |n| n.get());
        let (jobs, waiting) = sync_channel::<Job>(WAITING);
        let (done, finished) = channel::<Record>();
        let waiting = Mutex::new(waiting);
        let mut records = Vec::with_capacity(todo.len());
        std::thread::scope(|scope| {
            for _ in 0..workers {
                let (waiting, done) = (&waiting, done.clone());
                scope.spawn(move || {
                    while let Some(job) = next(waiting) {
                        if done.send(record(job)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(done);
            let mut keep = |record: Record| -> Result<()> {
                store.append(&record)?;
                records.push(record);
                bar.inc(1);
                Ok(())
            };
            for group in todo.chunk_by(|a, b| a.kind == b.kind) {
                for batch in group.chunks(self.settings.batch) {
                    for job in self.look(batch)? {
                        jobs.send(job).context("a measuring thread stopped")?;
                    }
                    finished.try_iter().try_for_each(&mut keep)?;
                }
            }
            drop(jobs);
            finished.iter().try_for_each(&mut keep)
        })?;
        store.finish()?;
        if records.len() != todo.len() {
            bail!("{} of {} images were measured: a measuring thread stopped", records.len(), todo.len());
        }
        Ok(records)
    }

    /// What the model says of images of one size.
    fn look(&mut self, batch: &[Todo]) -> Result<Vec<Job>> {
        let dataset = self.dataset;
        let items: Vec<(usize, &Item)> = batch.iter().map(|todo| (todo.index, &dataset.items[todo.index])).collect();
        let decoded = items.iter().map(|(_, i)| Ok(Decoded::open(dataset.root.join(&i.image))?)).collect::<Result<Vec<_>>>()?;
        let mut jobs = Vec::with_capacity(items.len());
        for (&(index, item), image) in items.iter().zip(&decoded) {
            let truth = dataset.truth(item, image.size())?.unwrap_or_default();
            let (id, group, size) = (item.id.clone(), item.group.clone(), image.size());
            let present = present(&truth, dataset.background);
            let (maps, segmentation) = (Vec::new(), Vec::new());
            jobs.push(Job { index, id, group, size, truth, present, maps, segmentation, multi_label: None, zero_shot: None });
        }
        // Turned by their EXIF data, images of one stored size may come out in two.
        let mut at = 0;
        for same in decoded.chunk_by(|a, b| a.size() == b.size()) {
            let jobs = &mut jobs[at..][..same.len()];
            let single = matches!(items[at].1.truth, Truth::Single(_));
            self.score(same, &items[at..][..same.len()], jobs, single)?;
            at += same.len();
        }
        for (job, image) in jobs.iter_mut().zip(&decoded).filter(|(job, _)| !job.truth.is_empty()) {
            for segmenter in &mut self.models.segmenters {
                let found = pollster::block_on(segmenter.segment(&image.image())).with_context(|| job.id.clone())?;
                job.segmentation.push(confusion_cells(&job.truth, &found.class_of_pixel));
            }
        }
        Ok(jobs)
    }

    /// Maps and class rows.
    fn score(&mut self, decoded: &[Decoded], items: &[(usize, &Item)], jobs: &mut [Job], single: bool) -> Result<()> {
        let mut images: Vec<Image<'_>> = decoded.iter().map(Decoded::image).collect();
        // Always the same number: digits must not depend on which images happen to share a batch.
        while let (true, Some(last)) = (images.len() < self.settings.batch, images.last()) {
            images.push(*last);
        }
        let asked = |task: Task| self.settings.tasks.contains(&task);
        let class_row = asked(if single { Task::ZeroShot } else { Task::MultiLabel });
        let rows = !single && self.models.scorers.len() > 0;
        if !rows && !class_row {
            return Ok(());
        }
        let (scorers, size) = (&mut self.models.scorers, self.settings.size);
        let names = || items.iter().map(|(_, i)| i.id.as_str()).collect::<Vec<_>>().join(", ");
        let scores = if rows { scorers.score(&images, size) } else { scorers.score_plain(&images, size) }.with_context(names)?;
        let plain = scorers.plain(&scores)?;
        // Labels are the classes without the background, which is class 0.
        let shift = u16::from(self.dataset.background.is_some());
        for (b, job) in jobs.iter_mut().enumerate() {
            let labels: Vec<u16> = job.present.iter().map(|c| c - shift).collect();
            if rows && !labels.is_empty() {
                job.maps = scorers.maps(&scores, b, &labels);
            }
            if class_row {
                let cosines = class_cosines(plain, b);
                match items[b].1.truth {
                    Truth::Single(class) => job.zero_shot = Some(ZeroShot { class, rank: rank(cosines, usize::from(class)) }),
                    _ => job.multi_label = Some(MultiLabel { present: labels, cosines: cosines.to_vec() }),
                }
            }
        }
        Ok(())
    }
}

/// The next job, when there is one.
fn next(waiting: &Mutex<Receiver<Job>>) -> Option<Job> {
    waiting.lock().ok()?.recv().ok()
}
