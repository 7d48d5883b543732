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

use crate::clip::model::check_finite;
use crate::clip::preprocess::Image;
use crate::error::{Error, Result};
use crate::explain::explainer::{Explainer, ScoreOutputs};
use crate::explain::frame::{Frame, Wanted};
use crate::explain::peak::Peaks;
use crate::gpu::busy::Busy;
use crate::gpu::readback::{Pending, staging};
use crate::gpu::{Gpu, Memory, Plan, Source, Tensor};
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
        let patch = clip.config().patch;
        if w < patch || h < patch {
            return Err(Error::Input {
                what: format!("input size {w}x{h} is smaller than one patch of {patch} pixels; pass a larger --size"),
            });
        }
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
        let drawn = self.draw(explainer);
        // What was read is not thrown away; the next call reports a failed draw.
        shown.inspect(|_| drop(drawn))
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

    // ------------------------------------------------------------ submits

    /// Makes sure that the first frame is the one for `size`.
    fn frame(&mut self, explainer: &Explainer, size: [u32; 2]) -> Result<()> {
        if let Some(at) = self.frames.iter().position(|f| f.size == size) {
            self.frames[..=at].rotate_right(1);
            return Ok(());
        }
        // What is on its way still needs its own; of the others, those used last stay.
        let mut kept = 0;
        let jobs: Vec<[u32; 2]> = self.batch.iter().chain(&self.scored).map(|j| j.size).chain(self.flying.iter().map(|f| f.size)).collect();
        self.frames.retain(|f| {
            kept += f.memory().iter().map(|m| m.activations).sum::<u64>();
            kept <= FRAMES_BYTES || jobs.contains(&f.size)
        });
        let clip = explainer.clip();
        let frame = Frame::new(&self.gpu, clip.config(), size, self.setup.model_size, self.labels, self.setup.wanted)?;
        self.frames.insert(0, frame);
        Ok(())
    }

    fn network(&mut self, explainer: &Explainer, images: u32) -> Result<usize> {
        if let Some(at) = self.networks.iter().position(|n| n.0 == images) {
            return Ok(at);
        }
        let full = self.setup.batch;
        self.networks.retain(|n| n.0 == full);
        let [w, h] = self.setup.model_size;
        let pixels = Tensor::new(self.pixels.buffer().clone(), Shape::new(&[images, 3, h, w])?, DType::F32);
        self.networks.push((images, explainer.plan_pixels_scores(&pixels)?));
        Ok(self.networks.len() - 1)
    }

    /// Scores the batch as it is.
    fn score(&mut self, explainer: &Explainer) -> Result<()> {
        let done = self.score_batch(explainer);
        self.broken |= done.is_err();
        done
    }

    fn score_batch(&mut self, explainer: &Explainer) -> Result<()> {
        let jobs = std::mem::take(&mut self.batch);
        let network = self.network(explainer, jobs.len() as u32)?;
        let label = Some("lancet.score");
        let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label });
        self.busy.begin(&mut encoder);
        let image_bytes = self.pixels.bytes() / u64::from(self.setup.batch);
        for (i, job) in jobs.iter().enumerate() {
            self.frame(explainer, job.size)?;
            let pixels = self.frames[0].prepare.record(&mut encoder, source(&self.seats[job.seat])?)?;
            encoder.copy_buffer_to_buffer(pixels.buffer(), 0, self.pixels.buffer(), i as u64 * image_bytes, image_bytes);
        }
        let outputs = self.networks[network].1.record(&mut encoder, Source::None)?;
        let parts = [&outputs.cosines, &outputs.scores, &outputs.maps].map(|t| (t.buffer(), t.bytes() / jobs.len() as u64));
        for (i, job) in jobs.iter().enumerate() {
            let seat = &mut self.seats[job.seat];
            let results = match &seat.results {
                Some(results) => results,
                None => seat.results.insert(self.gpu.buffer("an image's scores", parts.iter().map(|p| p.1).sum())?),
            };
            let mut at = 0;
            for (buffer, bytes) in parts {
                encoder.copy_buffer_to_buffer(buffer, i as u64 * bytes, results, at, bytes);
                at += bytes;
            }
        }
        self.busy.end(&mut encoder);
        self.gpu.queue.submit([encoder.finish()]);
        self.scored.extend(jobs);
        Ok(())
    }

    /// Draws as much as there are free staging buffers.
    fn draw(&mut self, explainer: &Explainer) -> Result<()> {
        let done = self.draw_all(explainer);
        self.broken |= done.is_err();
        done
    }

    fn draw_all(&mut self, explainer: &Explainer) -> Result<()> {
        while !self.free_staging.is_empty()
            && let Some(job) = self.scored.front().copied()
        {
            let last = self.draw_piece(explainer, job)?;
            if last {
                self.scored.pop_front();
                self.free_seats.push(job.seat);
            } else if let Some(job) = self.scored.front_mut() {
                job.pieces += 1;
            }
        }
        Ok(())
    }

    /// Draws the job's next labels into a staging buffer; true if they are the last ones.
    fn draw_piece(&mut self, explainer: &Explainer, job: Job) -> Result<bool> {
        self.frame(explainer, job.size)?;
        let frame = &mut self.frames[0];
        let seat = &self.seats[job.seat];
        let results = seat.results.as_ref().ok_or_else(|| Error::Input { what: "an image is drawn before it is scored".into() })?;
        let labels = job.pieces * frame.piece..((job.pieces + 1) * frame.piece).min(self.labels);
        let plane = u64::from(job.size[0]) * u64::from(job.size[1]) * 4 * u64::from(labels.end - labels.start);
        let wanted = self.setup.wanted;
        let mut parts = [if job.pieces == 0 { results.size() } else { 0 }, 0, 0, 0];
        parts[1] = if wanted.overlays { plane } else { 0 };
        parts[2] = if wanted.maps { plane } else { 0 };
        let bytes: u64 = parts.iter().sum();
        let staging = match self.free_staging.pop().flatten() {
            Some(free) if free.size() >= bytes + Busy::BYTES => free,
            // Large enough for any piece of this size of picture, so that it is the last one.
            smaller => {
                drop(smaller);
                let most = u64::from(job.size[0]) * u64::from(job.size[1]) * 4 * u64::from(frame.piece) * frame.steps as u64;
                let made = staging(&self.gpu, results.size() + most + Busy::BYTES);
                if made.is_err() {
                    self.free_staging.push(None);
                }
                made?
            }
        };

        let label = Some("lancet.draw");
        let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label });
        self.busy.begin(&mut encoder);
        let map_bytes = frame.grid.bytes();
        encoder.copy_buffer_to_buffer(results, results.size() - map_bytes, frame.grid.buffer(), 0, map_bytes);
        if job.pieces == 0 {
            encoder.copy_buffer_to_buffer(results, 0, &staging, 0, parts[0]);
        }
        let mut at = parts[0];
        for step in 0..frame.steps {
            let step = job.pieces as usize * frame.steps + step;
            frame.draw.record_range(&mut encoder, source(seat)?, step..step + 1)?;
            // Taken before the next step writes over it.
            encoder.copy_buffer_to_buffer(frame.draw.outputs()[step].buffer(), 0, &staging, at, plane);
            at += plane;
        }
        self.busy.end(&mut encoder);
        parts[3] = self.busy.collect(&mut encoder, &staging, bytes);
        let pending = Pending::of(&encoder, &staging, DType::U32);
        let submit = self.gpu.queue.submit([encoder.finish()]);
        let last = labels.end == self.labels;
        self.flying.push_back(Flying { id: job.id, size: job.size, labels, last, pending, staging, submit, parts });
        Ok(last)
    }
}

fn source(seat: &Seat) -> Result<Source<'_>> {
    let picture = seat.picture.as_ref().ok_or_else(|| Error::Input { what: "an image is drawn before it is there".into() })?;
    Ok(Source::Rgba8(picture))
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
