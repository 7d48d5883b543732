//! Windows through the model, and their scores until they are joined.

use crate::clip::preprocess::plan_pixels;
use crate::clip::{ImageInput, SourceKind};
use crate::error::Result;
use crate::explain::explainer::ScoreOutputs;
use crate::explain::segment::bands::Job;
use crate::explain::segment::refine::{ABSENT, ScoreRefinement, times_class_row};
use crate::explain::segment::segmenter::{Prepared, Segmenter};
use crate::explain::segment::view::{Layout, cut, pad};
use crate::gpu::{Plan, PlanBuilder, Source, Tensor};
use crate::reference::normalize;
use crate::shape::{DType, Shape};

/// The block whose tokens vote, counted from the last: the last but one, as published.
const VOTING_BLOCK: u32 = 1;

/// What the model leaves of a batch of windows.
#[derive(Clone, Debug)]
pub(super) struct WindowOutputs {
    pub scores: ScoreOutputs,
    /// How alike tokens are, `[B, 1 + N, 1 + N]`, if clusters vote.
    pub correlation: Option<Tensor>,
}

impl Segmenter {
    /// The model for `batch` windows, and the buffer that it reads: packed RGBA8, or normalised planes with their padding.
    pub(super) fn plan_windows(&self, layout: &Layout, batch: u32) -> Result<(Plan<WindowOutputs>, wgpu::Buffer)> {
        let gpu = self.clip.gpu();
        let mut b = PlanBuilder::new(gpu);
        let (pixels, source) = if layout.pads() {
            let shape = Shape::new(&[batch, 3, layout.model[1], layout.model[0]])?;
            let pixels = Tensor::new(gpu.buffer("the padded windows", shape.elements() * 4)?, shape, DType::F32);
            (b.import(&pixels), pixels.buffer().clone())
        } else {
            let input = ImageInput { kind: SourceKind::Rgba8, images: batch, size: layout.source, model_size: layout.model };
            let bytes = u64::from(batch) * u64::from(layout.source[0]) * u64::from(layout.source[1]) * 4;
            (plan_pixels(&mut b, &input, self.clip.config())?.pixels, gpu.buffer("the source images", bytes)?)
        };
        let (planned, grid) = self.explainer.plan_maps(&mut b, pixels)?;
        let correlation = match self.options.cluster_vote {
            None => None,
            Some(_) => Some(self.clip.plan_correlation(&mut b, pixels, self.method().positions_for(grid), VOTING_BLOCK)?),
        };
        correlation.iter().for_each(|&value| b.keep(value));
        let plan = b.finish(|r| {
            let correlation = correlation.map(|value| r.tensor(value)).transpose()?;
            Ok(WindowOutputs { scores: planned.resolve(r, grid)?, correlation })
        })?;
        Ok((plan, source))
    }

    /// Clusters of the patches of the one window vote on the classes of pixels, as the last run left them. Waits, if they do.
    ///
    /// # Errors
    /// The device fails, or the correlation is not finite.
    pub(super) async fn vote(&self, p: &Prepared, size: [u32; 2], classes: &mut [u16]) -> Result<()> {
        let outputs = p.scoring.outputs();
        let (Some(vote), Some(correlation)) = (self.options.cluster_vote, &outputs.correlation) else { return Ok(()) };
        let gpu = self.clip.gpu();
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("lancet.segment.vote") });
        let pending = correlation.read(gpu, &mut encoder)?;
        gpu.submit(encoder)?;
        vote.vote(&pending.floats().await?, outputs.scores.grid, size, classes)
    }

    /// All windows through the model; their scores together in the job's.
    pub(super) fn score(&self, p: &mut Prepared, pixels: &[u8]) -> Result<()> {
        let gpu = self.clip.gpu();
        let windows = &p.layout.windows;
        let places: Vec<[usize; 2]> = windows.rows.iter().flat_map(|&y| windows.columns.iter().map(move |&x| [x, y])).collect();
        let window_bytes = p.job.scores.bytes() / places.len() as u64;
        let mut batch_pixels = Vec::new();
        for (i, batch) in places.chunks(p.batch).enumerate() {
            batch_pixels.clear();
            let chosen = if places.len() == 1 {
                pixels
            } else {
                batch.iter().for_each(|&place| cut(pixels, windows.canvas[0], place, windows.size, &mut batch_pixels));
                &batch_pixels
            };
            // The model's zeros are no colour that bytes have, so padded windows come as normalised planes.
            let source = if p.layout.pads() {
                let config = self.clip.config();
                let planes = normalize(chosen, batch.len(), windows.size, config.mean, config.std);
                gpu.queue.write_buffer(&p.source, 0, bytemuck::cast_slice(&pad(&planes, windows)));
                Source::None
            } else {
                gpu.queue.write_buffer(&p.source, 0, chosen);
                Source::Rgba8(&p.source)
            };
            let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("lancet.segment.windows") });
            let scores = p.scoring.record(&mut encoder, source)?.scores.scores.buffer().clone();
            // The last batch may be short: what stands behind it is of an earlier one and stays there.
            let (offset, bytes) = ((i * p.batch) as u64 * window_bytes, batch.len() as u64 * window_bytes);
            encoder.copy_buffer_to_buffer(&scores, 0, p.job.scores.buffer(), offset, bytes);
            gpu.submit(encoder)?;
        }
        Ok(())
    }

    /// What is done to the windows' scores before they are joined: few values, so on the CPU. Waits, if there is anything to do.
    ///
    /// # Errors
    /// The device fails, or scores are not finite.
    pub(super) async fn rescore(&self, job: &Job) -> Result<()> {
        let options = &self.options;
        if !options.class_row && options.presence == 0.0 {
            return Ok(());
        }
        let gpu = self.clip.gpu();
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("lancet.segment.scores") });
        let pending = job.scores.read(gpu, &mut encoder)?;
        gpu.submit(encoder)?;
        let mut scores = pending.floats().await?;
        let labels = job.scores.shape()[1] as usize;
        let window = (1 + job.grid[0] as usize * job.grid[1] as usize) * labels;
        for scores in scores.chunks_exact_mut(window) {
            let refinement = ScoreRefinement { presence: options.presence, ..ScoreRefinement::NONE };
            // Presence is about cosines, which products are not.
            let refined = refinement.apply(&scores[labels..], labels, &[])?;
            if options.class_row {
                times_class_row(scores, labels);
            }
            let absent = |score: &f32| *score == ABSENT;
            scores[labels..].iter_mut().zip(&refined).filter(|(_, r)| absent(r)).for_each(|(score, _)| *score = ABSENT);
        }
        gpu.queue.write_buffer(job.scores.buffer(), 0, bytemuck::cast_slice(&scores));
        Ok(())
    }
}
