//! Several images in flight: the device works on one while the CPU reads those before and prepares those behind.
//!
//! ```text
//! push   picture -> a seat's buffer                                          when a seat is free
//! score  seats of a batch -> pixels [B,3,h,w] -> scores, maps -> seats       one submit, when the batch is full
//! draw   a seat, some labels -> overlays, maps -> a staging buffer           one submit each, when a staging buffer is free
//! next   staging buffer -> the caller                                        waits for that submit only
//! ```
//!
//! Everything runs in the order of the queue, so one set of plans serves all images. Only what the CPU reads while the device
//! runs on exists several times: staging buffers. After the first images of each size nothing is allocated.

mod submit;

use crate::clip::model::check_finite;
use crate::clip::preprocess::{Image, check_model_size};
use crate::error::{Error, Result};
use crate::explain::explainer::{Explainer, ScoreOutputs};
use crate::explain::frame::{Frame, Wanted};
use crate::explain::peak::Peaks;
use crate::gpu::busy::Busy;
use crate::gpu::readback::Pending;
use crate::gpu::{Gpu, Memory, Plan, Tensor};
use crate::shape::{DType, Shape};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of plans for other picture sizes that are kept for their return.
const FRAMES_BYTES: u64 = 128 << 20;

/// What a pipeline is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setup {
    /// (width, height), pixels.
    pub model_size: [u32; 2],
    /// Images that are scored together, B.
    pub batch: u32,
    /// Staging buffers.
    pub in_flight: u32,
    pub wanted: Wanted,
}

/// Plans, seats and staging buffers.
#[derive(Debug)]
pub(crate) struct Pipeline {
    gpu: Arc<Gpu>,
    setup: Setup,
    labels: u32,
    grid: [u32; 2],
    /// Input of the model, `[B, 3, h, w]`.
    pixels: Tensor,
    /// By number of images: the full batch, and the last one that was not full.
    networks: Vec<(u32, Plan<ScoreOutputs>)>,
    /// By size of picture, the latest first.
    frames: Vec<Frame>,
    seats: Vec<Seat>,
    free_seats: Vec<usize>,
    free_staging: Vec<Option<wgpu::Buffer>>,
    /// Pushed, not scored.
    batch: Vec<Job>,
    /// Scored, not drawn to the end.
    scored: VecDeque<Job>,
    flying: VecDeque<Flying>,
    /// Numbers of the image that is being read.
    current: Vec<LabelScore>,
    pushed: u64,
    /// An error after an image was accepted: what was on its way is lost.
    broken: bool,
    busy: Busy,
}

/// What stays on the device for an image while it is on its way.
#[derive(Debug, Default)]
struct Seat {
    /// Packed RGBA8; may be larger than the picture.
    picture: Option<wgpu::Buffer>,
    /// Cosines `[1 + N, W]`, scores `[1 + N, L]`, maps `[L, N]`, one behind the other.
    results: Option<wgpu::Buffer>,
}

#[derive(Clone, Copy, Debug)]
struct Job {
    id: u64,
    seat: usize,
    size: [u32; 2],
    /// Pieces drawn so far.
    pieces: u32,
}

#[derive(Debug)]
struct Flying {
    id: u64,
    size: [u32; 2],
    labels: Range<u32>,
    last: bool,
    pending: Pending,
    staging: wgpu::Buffer,
    submit: wgpu::SubmissionIndex,
    /// Bytes of results, overlays, maps and ticks, in this order.
    parts: [u64; 4],
}

/// Numbers of one label.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LabelScore {
    pub score: f32,
    pub peak: [u32; 2],
    pub peak_score: f32,
}

/// Some labels of one image, still in the staging buffer.
pub(crate) struct Drawn<'a> {
    pub image: u64,
    pub size: [u32; 2],
    pub grid: [u32; 2],
    pub labels: Range<u32>,
    pub last: bool,
    /// One for each of `labels`.
    pub numbers: &'a [LabelScore],
    /// `[Q, H, W, 4]`, or empty.
    pub overlays: &'a [u8],
    /// `[Q, H, W]`, f32, or empty.
    pub maps: &'a [u8],
}

impl Pipeline {
    /// For images as `explainer` sees them. Buffers come with the first image.
    pub fn new(explainer: &Explainer, setup: Setup) -> Result<Pipeline> {
        let clip = explainer.clip();
        let gpu = clip.gpu().clone();
        let [w, h] = setup.model_size;
        check_model_size(setup.model_size, clip.config())?;
        if setup.batch == 0 || setup.in_flight == 0 {
            return Err(Error::Input { what: "a batch and the work in flight need at least one place".into() });
        }
        let shape = Shape::new(&[setup.batch, 3, h, w])?;
        let buffer = gpu.buffer("the model's input", shape.elements() * 4)?;
        // One batch is drawn while the next one fills.
        let seats = 2 * setup.batch as usize;
        let pixels = Tensor::new(buffer, shape, DType::F32);
        Ok(Pipeline {
            setup,
            labels: explainer.labels().names().len() as u32,
            grid: clip.config().grid(setup.model_size),
            networks: vec![(setup.batch, explainer.plan_pixels_scores(&pixels)?)],
            pixels,
            frames: Vec::new(),
            seats: (0..seats).map(|_| Seat::default()).collect(),
            free_seats: (0..seats).rev().collect(),
            free_staging: vec![None; setup.in_flight as usize],
            batch: Vec::new(),
            scored: VecDeque::new(),
            flying: VecDeque::new(),
            current: Vec::new(),
            pushed: 0,
            broken: false,
            busy: Busy::new(&gpu)?,
            gpu,
        })
    }

    pub fn setup(&self) -> Setup {
        self.setup
    }

    pub fn busy(&self) -> &Busy {
        &self.busy
    }

    /// Bytes of all plans.
    pub fn memory(&self) -> Memory {
        let plans = self.networks.iter().map(|n| n.1.memory()).chain(self.frames.iter().flat_map(Frame::memory));
        plans.fold(Memory::default(), |a, b| Memory {
            activations: a.activations + b.activations,
            activations_unshared: a.activations_unshared + b.activations_unshared,
            parameters: a.parameters + b.parameters,
            slots: a.slots + b.slots,
        })
    }

    /// True if [`Pipeline::push`] takes another image now.
    pub fn has_room(&self) -> bool {
        !self.free_seats.is_empty()
    }

    /// Takes an image and starts what can be started. Returns its number.
    pub fn push(&mut self, explainer: &Explainer, image: &Image<'_>) -> Result<u64> {
        self.refuse_broken()?;
        let size = image.size();
        self.frame(explainer, size)?;
        let Some(&seat) = self.free_seats.last() else {
            return Err(Error::Input { what: format!("all {} images are on their way; take results first", self.seats.len()) });
        };
        let bytes = image.rgba().len() as u64;
        let place = &mut self.seats[seat];
        if place.picture.as_ref().is_none_or(|b| b.size() < bytes) {
            // The smaller one goes before the larger one comes.
            self.frames.iter_mut().for_each(Frame::forget_sources);
            place.picture = None;
            place.picture = Some(self.gpu.buffer("a source image", bytes)?);
        }
        if let Some(picture) = &place.picture {
            // The seat's earlier image has been drawn by submits ahead of the one that this write becomes part of.
            self.gpu.queue.write_buffer(picture, 0, image.rgba());
        }
        self.free_seats.pop();
        let id = self.pushed;
        self.pushed += 1;
        self.batch.push(Job { id, seat, size, pieces: 0 });
        if self.batch.len() == self.setup.batch as usize {
            self.score(explainer)?;
        }
        self.draw(explainer)?;
        Ok(id)
    }

    /// Shows the next labels of the oldest image to `look`; `None` when all that was pushed has been shown. A batch that is
    /// not full is scored when nothing else is left to do.
    pub async fn next<R>(&mut self, explainer: &Explainer, look: impl FnOnce(Drawn<'_>) -> R) -> Result<Option<R>> {
        self.refuse_broken()?;
        loop {
            self.draw(explainer)?;
            if let Some(flying) = self.flying.pop_front() {
                return self.read(explainer, flying, look).await.map(Some);
            }
            if self.batch.is_empty() {
                return Ok(None);
            }
            self.score(explainer)?;
        }
    }

    async fn read<R>(&mut self, explainer: &Explainer, flying: Flying, look: impl FnOnce(Drawn<'_>) -> R) -> Result<R> {
        self.gpu.wait_for(flying.submit)?;
        let Flying { id, size, labels, last, pending, staging, parts, .. } = flying;
        let (grid, busy) = (self.grid, &self.busy);
        let current = &mut self.current;
        let peaks = self.frames.iter().find(|f| f.size == size).map(|f| &f.peaks);
        let count = self.labels as usize;
        let shown = pending
            .look(|bytes| {
                let (results, rest) = bytes.split_at(parts[0] as usize);
                let (overlays, rest) = rest.split_at(parts[1] as usize);
                let (maps, rest) = rest.split_at(parts[2] as usize);
                busy.add(&rest[..parts[3] as usize]);
                if labels.start == 0 {
                    let lost = || Error::Input { what: format!("the plans for {}x{} are gone", size[0], size[1]) };
                    *current = numbers(&bytemuck::pod_collect_to_vec(results), grid, count, peaks.ok_or_else(lost)?)?;
                }
                let numbers = current.get(labels.start as usize..labels.end as usize).unwrap_or_default();
                Ok(look(Drawn { image: id, size, grid, labels: labels.clone(), last, numbers, overlays, maps }))
            })
            .await;
        // A failed read may leave its buffer mapped: a new one takes its place.
        let shown = match shown {
            Ok(shown) => {
                self.free_staging.push(Some(staging));
                shown
            }
            Err(e) => {
                self.free_staging.push(None);
                Err(e)
            }
        };
        if shown.is_err() {
            self.abandon(id);
        }
        // What was read is not thrown away: the next call reports a failed draw.
        let _ = self.draw(explainer);
        shown
    }

    fn refuse_broken(&self) -> Result<()> {
        match self.broken {
            true => Err(Error::Gpu { what: "a stream of images".into(), message: "an earlier error ended it; make a new one".into() }),
            false => Ok(()),
        }
    }

    /// Drops what is left of an image.
    fn abandon(&mut self, id: u64) {
        if self.scored.front().is_some_and(|job| job.id == id)
            && let Some(job) = self.scored.pop_front()
        {
            self.free_seats.push(job.seat);
        }
        while self.flying.front().is_some_and(|f| f.id == id) {
            // Still in use by the device, and about to be mapped.
            self.flying.pop_front();
            self.free_staging.push(None);
        }
    }
}

/// What the results of an image say about each label: cosines `[1 + N, W]`, scores `[1 + N, L]`, maps `[L, N]`.
fn numbers(results: &[f32], grid: [u32; 2], labels: usize, peaks: &Peaks) -> Result<Vec<LabelScore>> {
    let cells = grid[0] as usize * grid[1] as usize;
    let (rest, maps) = results.split_at(results.len() - labels * cells);
    let (cosines, scores) = rest.split_at(rest.len() - labels * (1 + cells));
    check_finite("the similarity map", scores)?;
    // Row 0 is the class row; patches follow. The cosines may have the empty text as their last column.
    let best = |l: usize| scores.chunks_exact(labels).skip(1).map(|row| row[l]).fold(f32::MIN, f32::max);
    let number = |(l, map): (usize, &[f32])| LabelScore { score: cosines[l], peak: peaks.of(map), peak_score: best(l) };
    Ok(maps.chunks_exact(cells).enumerate().map(number).collect())
}
