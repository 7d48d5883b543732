//! Explaining image after image of one size: plans, buffers and staging made once.

use crate::clip::model::check_finite;
use crate::clip::preprocess::{Image, ImageInput};
use crate::error::Result;
use crate::explain::explainer::ScoreOutputs;
use crate::explain::render::{RenderOutputs, plan_render};
use crate::gpu::{Gpu, Memory, Plan, Readback, Source};
use std::sync::Arc;

/// One label's result.
#[derive(Clone, Debug)]
pub struct LabelMap {
    /// The label.
    pub label: String,
    /// Cosine of the class row of the method's features with the label. For CLIP, and CLIP Surgery on a ViT, that row is
    /// plain CLIP's class embedding.
    pub score: f32,
    /// Where the map is largest, (x, y), pixels.
    pub peak: [u32; 2],
    /// Method's score at the strongest patch, before the map was stretched to 0..1.
    pub peak_score: f32,
    /// The map at image size, `[H, W]`, 0..1.
    pub map: Vec<f32>,
    /// The map over the image, RGBA, `[H, W, 4]`.
    pub overlay: Vec<u8>,
}

/// One image's result.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Image size, (width, height).
    pub size: [u32; 2],
    /// Patches, (width, height).
    pub grid: [u32; 2],
    /// One per label, in order.
    pub labels: Vec<LabelMap>,
}

/// Plans and buffers for one image size, kept between images.
#[derive(Debug)]
pub(crate) struct Session {
    gpu: Arc<Gpu>,
    input: ImageInput,
    scores: Plan<ScoreOutputs>,
    render: Plan<RenderOutputs>,
    image: wgpu::Buffer,
    read_cosines: Readback,
    read_scores: Readback,
    read_map: Readback,
    read_overlay: Readback,
}

impl Session {
    /// Makes everything for images like `input`; `scores` is planned for it.
    pub fn new(gpu: &Arc<Gpu>, input: ImageInput, scores: Plan<ScoreOutputs>) -> Result<Session> {
        let render = plan_render(gpu, scores.outputs().grid, input.size)?;
        let image = gpu.buffer("the source image", u64::from(input.size[0]) * u64::from(input.size[1]) * 4)?;
        let (s, r) = (scores.outputs(), render.outputs());
        Ok(Session {
            gpu: gpu.clone(),
            input,
            read_cosines: Readback::new(gpu, &s.cosines)?,
            read_scores: Readback::new(gpu, &s.scores)?,
            read_map: Readback::new(gpu, &r.map)?,
            read_overlay: Readback::new(gpu, &r.overlay)?,
            scores,
            render,
            image,
        })
    }

    /// What it was made for.
    pub fn input(&self) -> ImageInput {
        self.input
    }

    /// Memory of the scoring plan.
    pub fn memory(&self) -> Memory {
        self.scores.memory()
    }

    /// Scores once, then renders label by label. Returns the grid, (width, height).
    pub async fn run(
        &mut self,
        image: &Image<'_>,
        names: &[String],
        mut each: impl FnMut(usize, LabelMap) -> Result<()>,
    ) -> Result<[u32; 2]> {
        self.gpu.queue.write_buffer(&self.image, 0, image.rgba());
        let source = Source::Rgba8(&self.image);
        let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("lancet.explain") });
        self.scores.record(&mut encoder, source)?;
        let (cosines, scores) = (self.read_cosines.record(&mut encoder)?, self.read_scores.record(&mut encoder)?);
        self.gpu.submit(encoder)?;
        let (cosines, scores) = (cosines.floats().await?, scores.floats().await?);
        check_finite("the similarity map", &scores)?;

        let outputs = self.scores.outputs();
        let map_bytes = u64::from(outputs.grid[0] * outputs.grid[1]) * 4;
        for (l, name) in names.iter().enumerate() {
            let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("lancet.render") });
            let grid = self.render.outputs().grid.buffer().clone();
            encoder.copy_buffer_to_buffer(outputs.maps.buffer(), l as u64 * map_bytes, &grid, 0, map_bytes);
            self.render.record(&mut encoder, source)?;
            let (map, overlay) = (self.read_map.record(&mut encoder)?, self.read_overlay.record(&mut encoder)?);
            self.gpu.submit(encoder)?;
            let (map, overlay) = (map.floats().await?, overlay.bytes().await?);
            let at = map.iter().enumerate().fold((0, f32::MIN), |best, (i, &v)| if v > best.1 { (i, v) } else { best }).0 as u32;
            // Row 0 is the class row; patches follow.
            let patches = scores.chunks_exact(names.len()).skip(1);
            let label = LabelMap {
                label: name.clone(),
                // The first row of the cosines starts with the labels, in order.
                score: cosines[l],
                peak: [at % self.input.size[0], at / self.input.size[0]],
                peak_score: patches.map(|row| row[l]).fold(f32::MIN, f32::max),
                map,
                overlay,
            };
            each(l, label)?;
        }
        Ok(outputs.grid)
    }
}
