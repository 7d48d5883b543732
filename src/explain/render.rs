//! Drawing maps that were made on the CPU over an image.

use crate::clip::Image;
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Plan, PlanBuilder, Readback, Source, Tensor};
use crate::ops;
use crate::shape::DType;
use std::sync::Arc;

/// What the plan reads and leaves.
#[derive(Clone, Debug)]
struct Outputs {
    /// Input: one map of the grid `[1, h w]`, f32, to be written before the plan runs.
    grid: Tensor,
    /// The map at image size, `[1, H, W]`, f32, 0..1.
    map: Tensor,
    /// The map over the image, packed RGBA8 `[1, H, W]`.
    overlay: Tensor,
}

/// Draws maps that were made on the CPU over one image. The plan, the image and the staging are made once.
#[derive(Debug)]
pub struct Renderer {
    gpu: Arc<Gpu>,
    plan: Plan<Outputs>,
    image: wgpu::Buffer,
    read_map: Readback,
    read_overlay: Readback,
}

/// A map at image size.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// `[H, W]`, 0..1.
    pub map: Vec<f32>,
    /// The map over the image, RGBA, `[H, W, 4]`.
    pub overlay: Vec<u8>,
}

impl Renderer {
    /// For maps of `grid` (width, height) over `image`.
    ///
    /// # Errors
    /// Too large for the device.
    pub fn new(gpu: &Arc<Gpu>, grid: [u32; 2], image: &Image<'_>) -> Result<Renderer> {
        let plan = plan(gpu, grid, image.size())?;
        let buffer = gpu.buffer("the source image", image.rgba().len() as u64)?;
        gpu.queue.write_buffer(&buffer, 0, image.rgba());
        let (read_map, read_overlay) = (Readback::new(gpu, &plan.outputs().map)?, Readback::new(gpu, &plan.outputs().overlay)?);
        Ok(Renderer { gpu: gpu.clone(), plan, image: buffer, read_map, read_overlay })
    }

    /// Resizes a map of the grid, `[h w]` in 0..1, to the image and lays it over.
    ///
    /// # Errors
    /// A map of another size; the device fails.
    pub async fn draw(&mut self, map: &[f32]) -> Result<Drawn> {
        let grid = &self.plan.outputs().grid;
        if map.len() as u64 * 4 != grid.bytes() {
            return Err(Error::shape("render", "map", format!("{} cells", grid.bytes() / 4), map.len()));
        }
        self.gpu.queue.write_buffer(grid.buffer(), 0, bytemuck::cast_slice(map));
        let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("lancet.render") });
        self.plan.record(&mut encoder, Source::Rgba8(&self.image))?;
        let (map, overlay) = (self.read_map.record(&mut encoder)?, self.read_overlay.record(&mut encoder)?);
        self.gpu.submit(encoder)?;
        Ok(Drawn { map: map.floats().await?, overlay: overlay.bytes().await? })
    }
}

fn plan(gpu: &Arc<Gpu>, grid: [u32; 2], size: [u32; 2]) -> Result<Plan<Outputs>> {
    let cells = grid[0] * grid[1];
    let input = gpu.upload("lancet.render.grid", &[1, cells], DType::F32, &vec![0.0f32; cells as usize])?;
    let mut b = PlanBuilder::new(gpu);
    let (map, overlay) = b.scope("render", |b| {
        let image = b.source_rgba8([1, size[1], size[0]])?;
        let maps = b.import(&input);
        Ok((ops::upsample(b, "upsample", maps, grid, size)?, ops::overlay_maps(b, "overlay_maps", maps, 0..1, grid, image)?))
    })?;
    b.keep(map);
    b.keep(overlay);
    b.finish(|r| Ok(Outputs { grid: input.clone(), map: r.tensor(map)?, overlay: r.tensor(overlay)? }))
}
