//! Decoding, the device and writing at the same time.
//!
//! ```text
//! decoders ─ pictures ─> this thread: push, next ─ labels ─> writers ─> complete images
//! ```
//!
//! Both channels are short, so memory does not grow with the number of images; whoever is slowest sets the pace.

use super::writer::{Complete, Kinds, Writing};
use crate::output::OutDir;
use crate::sheet::Tile;
use anyhow::{Result, bail};
use lancet::clip::decode::Decoded;
use lancet::{Error, LabelMap, Stream};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// An image to explain.
#[derive(Debug)]
pub struct Job {
    /// Place in the list of images.
    pub index: usize,
    pub path: PathBuf,
    /// What its files are called.
    pub name: String,
    /// If it was read already.
    pub decoded: Option<Decoded>,
}

/// Where results go. `complete` and `failed` are called from any thread, once for each image; an error ends the run.
pub struct Target<'a> {
    pub out: &'a OutDir,
    /// File name parts of the labels.
    pub parts: &'a [String],
    pub kinds: Kinds,
    pub complete: &'a (dyn Fn(&Writing, Complete) -> Result<()> + Sync),
    pub failed: &'a (dyn Fn(usize, Error) + Sync),
}

/// Where the time went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub wall_s: f64,
    /// Summed over threads.
    pub decode_s: f64,
    /// Summed over threads.
    pub encode_s: f64,
    pub encode_threads: usize,
}

struct Picture {
    job: Job,
    decoded: Result<Decoded, Error>,
    tile: Option<Tile>,
    decode_ms: f64,
}

struct Work {
    image: Arc<Writing>,
    at: usize,
    label: LabelMap,
}

/// Stops everybody at the first error that is not about one image.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    error: Mutex<Option<anyhow::Error>>,
    decode_us: AtomicU64,
    encode_us: AtomicU64,
}

/// Explains all `jobs`.
pub fn run(stream: &mut Stream<'_>, jobs: Vec<Job>, target: &Target<'_>) -> Result<Tally> {
    let started = Instant::now();
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    // Decoding is a fraction of what is written for an image.
    let (decoders, writers) = ((cores / 4).clamp(1, jobs.len().max(1)), cores);
    let jobs = Mutex::new(jobs.into_iter());
    let shared = Shared::default();
    std::thread::scope(|scope| {
        let (pictures_in, pictures) = sync_channel(decoders + 1);
        for _ in 0..decoders {
            let pictures_in = pictures_in.clone();
            scope.spawn(|| decode(&jobs, pictures_in, target.kinds, &shared));
        }
        drop(pictures_in);
        let (work_in, work) = sync_channel(2 * writers);
        let work = Arc::new(Mutex::new(work));
        for _ in 0..writers {
            let work = work.clone();
            scope.spawn(|| write(work, target, &shared));
        }
        drop(work);
        if let Err(e) = feed(stream, pictures, &work_in, target, &shared) {
            shared.fail(e);
        }
    });
    match shared.error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(e) => Err(e),
        None => Ok(Tally {
            wall_s: started.elapsed().as_secs_f64(),
            decode_s: shared.decode_us.into_inner() as f64 / 1e6,
            encode_s: shared.encode_us.into_inner() as f64 / 1e6,
            encode_threads: writers,
        }),
    }
}

impl Shared {
    fn fail(&self, error: anyhow::Error) {
        self.stop.store(true, Ordering::Relaxed);
        self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn decode(jobs: &Mutex<std::vec::IntoIter<Job>>, pictures: SyncSender<Picture>, kinds: Kinds, shared: &Shared) {
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
    while !shared.stopped()
        && let Some(mut job) = next()
    {
        let start = Instant::now();
        let decoded = job.decoded.take().map_or_else(|| Decoded::open(&job.path), Ok);
        let tile = decoded.as_ref().ok().filter(|_| kinds.sheet).map(|d| Tile::new("", d.rgba(), d.size()));
        let took = start.elapsed();
        shared.decode_us.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
        if pictures.send(Picture { job, decoded, tile, decode_ms: took.as_secs_f64() * 1e3 }).is_err() {
            return;
        }
    }
}

/// The device's side: always pushes what there is before it waits for a result.
fn feed(stream: &mut Stream<'_>, pictures: Receiver<Picture>, work: &SyncSender<Work>, target: &Target<'_>, shared: &Shared) -> Result<()> {
    let mut images: BTreeMap<u64, Arc<Writing>> = BTreeMap::new();
    let mut more = true;
    while !shared.stopped() {
        while more && stream.has_room() {
            // Waits for a picture only when the device has nothing to do.
            let picture = if images.is_empty() { pictures.recv().map_err(|_| TryRecvError::Disconnected) } else { pictures.try_recv() };
            match picture {
                Ok(picture) => push(stream, picture, &mut images, target)?,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => more = false,
            }
        }
        match pollster::block_on(stream.next()) {
            Ok(Some(piece)) => {
                let Some(image) = images.get(&piece.image).cloned() else { continue };
                for (i, label) in piece.labels.into_iter().enumerate() {
                    // Writers go on receiving until this end of the channel is gone.
                    if work.send(Work { image: image.clone(), at: piece.first + i, label }).is_err() {
                        return Ok(());
                    }
                }
                if piece.last {
                    images.remove(&piece.image);
                }
            }
            Ok(None) if !more => return Ok(()),
            Ok(None) if !images.is_empty() => bail!("{} images got lost on their way; please report this", images.len()),
            Ok(None) => {}
            // About the oldest image alone.
            Err(e @ Error::ResultNotFinite { .. }) => match images.pop_first() {
                Some((_, image)) => (target.failed)(image.index, e),
                None => return Err(e.into()),
            },
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn push(stream: &mut Stream<'_>, picture: Picture, images: &mut BTreeMap<u64, Arc<Writing>>, target: &Target<'_>) -> Result<()> {
    let Picture { job, decoded, tile, decode_ms } = picture;
    match decoded.and_then(|decoded| Ok((stream.push(&decoded.image())?, decoded.size()))) {
        Ok((id, size)) => {
            let labels = target.parts.len();
            images.insert(id, Arc::new(Writing::new(job.index, job.name, size, decode_ms, tile, labels)));
            Ok(())
        }
        Err(e @ (Error::DeviceLost { .. } | Error::Gpu { .. })) => Err(e.into()),
        // A file that cannot be read, a picture that is too large.
        Err(e) => {
            (target.failed)(job.index, e);
            Ok(())
        }
    }
}

fn write(work: Arc<Mutex<Receiver<Work>>>, target: &Target<'_>, shared: &Shared) {
    let next = || work.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok(Work { image, at, label }) = next() {
        // After an error elsewhere: only takes the work away, so that nobody waits.
        if shared.stopped() {
            continue;
        }
        let start = Instant::now();
        let part = target.parts.get(at).map_or("", String::as_str);
        let added = image.add(target.out, at, part, label, target.kinds);
        let done = added.and_then(|complete| complete.map_or(Ok(()), |complete| (target.complete)(&image, complete)));
        shared.encode_us.fetch_add(start.elapsed().as_micros() as u64, Ordering::Relaxed);
        if let Err(e) = done {
            shared.fail(e);
        }
    }
}
