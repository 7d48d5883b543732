//! One map at image size, with its overlay: the part that depends on the picture's size and not on the model.

use crate::error::Result;
use crate::gpu::{Gpu, Plan, PlanBuilder, Tensor};
use crate::ops;
use crate::shape::DType;
use std::sync::Arc;

/// What [`plan_render`] reads and leaves.
#[derive(Clone, Debug)]
pub struct RenderOutputs {
    /// Input: one map of the grid `[h w]`, f32, to be copied here before the plan runs.
    pub grid: Tensor,
    /// The map at image size, `[1, H, W]`, f32, 0..1.
    pub map: Tensor,
    /// The map over the image, packed RGBA8 `[1, H, W]`.
    pub overlay: Tensor,
}

/// A plan that resizes one map from `grid` (width, height) to `size` and blends its colours over the source image.
/// Its source is the image, [`crate::gpu::Source::Rgba8`].
///
/// # Errors
/// Too large for the device.
pub fn plan_render(gpu: &Arc<Gpu>, grid: [u32; 2], size: [u32; 2]) -> Result<Plan<RenderOutputs>> {
    let cells = grid[0] * grid[1];
    let input = gpu.upload("lancet.render.grid", &[1, cells], DType::F32, &vec![0.0f32; cells as usize])?;
    let mut b = PlanBuilder::new(gpu);
    let (map, overlay) = b.scope("render", |b| {
        let image = b.source_rgba8([1, size[1], size[0]])?;
        let maps = b.import(&input);
        let map = ops::upsample(b, "upsample", maps, grid, size)?;
        let overlay = ops::overlay(b, "overlay", map, image)?;
        Ok((map, overlay))
    })?;
    b.keep(map);
    b.keep(overlay);
    b.finish(|r| Ok(RenderOutputs { grid: input.clone(), map: r.tensor(map)?, overlay: r.tensor(overlay)? }))
}
