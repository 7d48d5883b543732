//! What a pipeline hands to the device: a batch to score, some labels to draw.

use super::{FRAMES_BYTES, Flying, Job, Pipeline, Seat};
use crate::error::{Error, Result};
use crate::explain::explainer::Explainer;
use crate::explain::frame::Frame;
use crate::gpu::busy::Busy;
use crate::gpu::readback::{Pending, staging};
use crate::gpu::{Source, Tensor};
use crate::shape::{DType, Shape};

impl Pipeline {
    /// Makes sure that the first frame is the one for `size`.
    pub(super) fn frame(&mut self, explainer: &Explainer, size: [u32; 2]) -> Result<()> {
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
        let (clip, maps) = (explainer.clip(), explainer.method().maps);
        let setup = &self.setup;
        let seats = self.seats.len();
        let frame = Frame::new(&self.gpu, clip.config(), size, setup.model_size, self.labels, setup.wanted, maps, seats)?;
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
    pub(super) fn score(&mut self, explainer: &Explainer) -> Result<()> {
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
    pub(super) fn draw(&mut self, explainer: &Explainer) -> Result<()> {
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
        if frame.steps > 0 && frame.lead > 0 {
            frame.draw.record_range(&mut encoder, source(seat)?, 0..frame.lead)?;
        }
        for step in 0..frame.steps {
            let drawn = job.pieces as usize * frame.steps + step;
            let step = frame.lead + drawn;
            frame.draw.record_range(&mut encoder, source(seat)?, step..step + 1)?;
            // Taken before the next step writes over it.
            encoder.copy_buffer_to_buffer(frame.draw.outputs()[drawn].buffer(), 0, &staging, at, plane);
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
