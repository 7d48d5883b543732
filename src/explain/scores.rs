//! Scores of the grid on the CPU, for programs that go on from there: points, recognition, segmentation, evaluation.

use crate::clip::model::check_finite;
use crate::clip::preprocess::{Image, ImageInput};
use crate::error::{Error, Result};
use crate::explain::explainer::ScoreOutputs;
use crate::gpu::{Gpu, Plan, Profile, Readback, Source};
use crate::reference::minmax;
use std::sync::Arc;

/// What a method found in a batch of images, patch by patch.
#[derive(Clone, Debug)]
pub struct Scores {
    /// B.
    pub images: usize,
    /// L.
    pub labels: usize,
    /// Patches, (width, height); N is their product.
    pub grid: [u32; 2],
    /// Cosines of the class row of the method's features with the labels, `[B, L]`. For CLIP and CLIP Surgery (ViT) that
    /// row is plain CLIP's class embedding.
    pub class_cosines: Vec<f32>,
    /// The method's scores of the class row, `[B, L]`.
    pub class_scores: Vec<f32>,
    /// The method's scores of the patches, `[B, L, N]`, before they are stretched to 0..1.
    pub patches: Vec<f32>,
}

impl Scores {
    /// N.
    pub fn cells(&self) -> usize {
        self.grid[0] as usize * self.grid[1] as usize
    }

    /// Patch scores of one label in one image, `[N]`, row by row.
    pub fn map(&self, image: usize, label: usize) -> &[f32] {
        let n = self.cells();
        &self.patches[(image * self.labels + label) * n..][..n]
    }
}

impl Scores {
    /// From rows of tokens, class row first: cosines `[B (1 + N), W]`, W = L or with the empty text L + 1, scores `[B (1 + N), L]`.
    fn sorted(cosines: &[f32], scores: &[f32], images: usize, labels: usize, grid: [u32; 2]) -> Scores {
        let tokens = 1 + grid[0] as usize * grid[1] as usize;
        let wide = cosines.len() / (images * tokens);
        let mut all = Scores {
            images,
            labels,
            grid,
            class_cosines: Vec::with_capacity(images * labels),
            class_scores: Vec::with_capacity(images * labels),
            patches: Vec::with_capacity(images * labels * (tokens - 1)),
        };
        for (cosines, scores) in cosines.chunks_exact(tokens * wide).zip(scores.chunks_exact(tokens * labels)) {
            all.class_cosines.extend(&cosines[..labels]);
            all.class_scores.extend(&scores[..labels]);
            for l in 0..labels {
                all.patches.extend(scores.chunks_exact(labels).skip(1).map(|row| row[l]));
            }
        }
        all
    }
}

/// A map of patch scores stretched to 0..1 from its weakest to its strongest patch; a constant map is 0.
pub fn stretched(map: &[f32]) -> Vec<f32> {
    // The kernel's definition drops a class row in front.
    let tokens: Vec<f32> = std::iter::once(0.0).chain(map.iter().copied()).collect();
    minmax(&tokens, 1, tokens.len(), 1)
}

/// A plan and its buffers for images of one size, kept between batches; one method, or several that share steps.
#[derive(Debug)]
pub(crate) struct ScoreSession {
    gpu: Arc<Gpu>,
    input: ImageInput,
    plan: Plan<Vec<ScoreOutputs>>,
    image: wgpu::Buffer,
    /// Cosines and scores of each method.
    reads: Vec<[Readback; 2]>,
}

impl ScoreSession {
    /// Makes everything for batches like `input`; `plan` is planned for it.
    pub fn new(gpu: &Arc<Gpu>, input: ImageInput, plan: Plan<Vec<ScoreOutputs>>) -> Result<ScoreSession> {
        let bytes = u64::from(input.images) * u64::from(input.size[0]) * u64::from(input.size[1]) * 4;
        let read = |o: &ScoreOutputs| Ok([Readback::new(gpu, &o.cosines)?, Readback::new(gpu, &o.scores)?]);
        Ok(ScoreSession {
            gpu: gpu.clone(),
            input,
            image: gpu.buffer("the source images", bytes)?,
            reads: plan.outputs().iter().map(read).collect::<Result<_>>()?,
            plan,
        })
    }

    /// What it was made for.
    pub fn input(&self) -> ImageInput {
        self.input
    }

    /// Puts a batch where the plan reads it.
    fn write(&mut self, images: &[Image<'_>]) -> Result<()> {
        let mut at = 0;
        for image in images {
            if image.size() != self.input.size {
                let expected = format!("{}x{} as the first of the batch", self.input.size[0], self.input.size[1]);
                return Err(Error::shape("score", "image", expected, format!("{}x{}", image.size()[0], image.size()[1])));
            }
            self.gpu.queue.write_buffer(&self.image, at, image.rgba());
            at += image.rgba().len() as u64;
        }
        Ok(())
    }

    /// Times the plan over a batch, whole and step by step, with the owners of each step. Blocks.
    pub fn profile(&mut self, images: &[Image<'_>], runs: usize) -> Result<(Profile, Vec<Vec<u16>>)> {
        self.write(images)?;
        let profile = self.plan.profile(Source::Rgba8(&self.image), runs)?;
        Ok((profile, self.plan.steps().iter().map(|step| step.owners.clone()).collect()))
    }

    /// Scores a batch by every method; `labels` is L.
    pub async fn run(&mut self, images: &[Image<'_>], labels: usize) -> Result<Vec<Scores>> {
        self.write(images)?;
        let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("lancet.score") });
        self.plan.record(&mut encoder, Source::Rgba8(&self.image))?;
        let mut pending = Vec::with_capacity(self.reads.len());
        for [cosines, scores] in &mut self.reads {
            pending.push((cosines.record(&mut encoder)?, scores.record(&mut encoder)?));
        }
        self.gpu.submit(encoder)?;
        let mut all = Vec::with_capacity(pending.len());
        for ((cosines, scores), outputs) in pending.into_iter().zip(self.plan.outputs()) {
            let (cosines, scores) = (cosines.floats().await?, scores.floats().await?);
            check_finite("the similarity map", &scores)?;
            all.push(Scores::sorted(&cosines, &scores, images.len(), labels, outputs.grid));
        }
        Ok(all)
    }
}
