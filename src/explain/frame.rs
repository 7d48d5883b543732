//! What depends on a picture's size: the way into the model, and drawing. Planned once a size.

use crate::clip::preprocess::plan_pixels;
use crate::clip::{ClipConfig, ImageInput, SourceKind};
use crate::error::Result;
use crate::explain::method::Maps;
use crate::explain::peak::Peaks;
use crate::gpu::{Gpu, Memory, Plan, PlanBuilder, Tensor};
use crate::ops::{self, Resize};
use crate::shape::DType;
use std::sync::Arc;

/// Bytes of drawn labels that are read back at once, so that memory depends on neither the labels nor the picture.
const PIECE_BYTES: u64 = 8 << 20;

/// What is drawn for each label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub maps: bool,
    pub overlays: bool,
}

/// Plans for pictures of one size.
#[derive(Debug)]
pub(crate) struct Frame {
    /// (width, height), pixels.
    pub size: [u32; 2],
    /// From the packed picture to the model's input `[1, 3, h, w]`.
    pub prepare: Plan<Tensor>,
    /// Maps of the grid `[L, N]`; to be copied here before anything is drawn.
    pub grid: Tensor,
    /// Reads the picture and `grid`. Piece by piece: its overlays `[Q, H, W]`, then its maps `[Q, H, W]`, as far as wanted.
    /// A step's output lives until the next step runs.
    pub draw: Plan<Vec<Tensor>>,
    /// Steps before those of the first piece, which all pieces need.
    pub lead: usize,
    /// Labels of a piece, Q; the last one may have fewer.
    pub piece: u32,
    /// Steps of a piece.
    pub steps: usize,
    pub peaks: Peaks,
}

impl Frame {
    /// `size` and `model_size` are (width, height); pictures come from `seats` buffers.
    #[expect(clippy::too_many_arguments, reason = "what a picture's plans depend on")]
    pub fn new(
        gpu: &Arc<Gpu>,
        config: &ClipConfig,
        size: [u32; 2],
        model_size: [u32; 2],
        labels: u32,
        wanted: Wanted,
        maps: Maps,
        seats: usize,
    ) -> Result<Frame> {
        let input = ImageInput { kind: SourceKind::Rgba8, images: 1, size, model_size };
        let mut b = PlanBuilder::new(gpu);
        let pixels = plan_pixels(&mut b, &input, config)?.pixels;
        b.keep(pixels);
        let mut prepare = b.finish(|r| r.tensor(pixels))?;
        prepare.keep_sources(seats);

        let grid = config.grid(model_size);
        let cells = grid[0] * grid[1];
        let align = maps.align();
        let grid_maps = gpu.upload("lancet.draw.grid", &[labels, cells], DType::F32, &vec![0.0f32; (labels * cells) as usize])?;
        let steps = usize::from(wanted.overlays) + usize::from(wanted.maps);
        let label_bytes = u64::from(size[0]) * u64::from(size[1]) * 4 * (steps as u64).max(1);
        let piece = if steps == 0 { labels } else { (PIECE_BYTES / label_bytes).clamp(1, u64::from(labels)) as u32 };
        let mut b = PlanBuilder::new(gpu);
        let drawn = b.scope("draw", |b| {
            let image = b.source_rgba8([1, size[1], size[0]])?;
            let planes = b.import(&grid_maps);
            let grid_maps = maps.plan_pixels(b, planes, Resize { from: grid, to: size, align })?;
            let mut drawn = Vec::new();
            for first in (0..labels).step_by(piece as usize) {
                let planes = first..(first + piece).min(labels);
                if wanted.overlays {
                    drawn.push(ops::overlay_maps_aligned(b, "overlay_maps", grid_maps, planes.clone(), grid, image, align)?);
                }
                if wanted.maps {
                    drawn.push(ops::upsample_aligned(
                        b,
                        "upsample",
                        grid_maps,
                        Resize { from: grid, to: size, align },
                        planes,
                        0..size[1],
                    )?);
                }
            }
            Ok(drawn)
        })?;
        let mut draw: Plan<Vec<Tensor>> = b.finish(|r| drawn.iter().map(|&value| r.tensor(value)).collect())?;
        draw.keep_sources(seats);
        let lead = draw.steps().len().saturating_sub(drawn.len());
        Ok(Frame { size, prepare, grid: grid_maps, draw, lead, piece, steps, peaks: Peaks::new(grid, size, align) })
    }

    /// Lets go of the seats' buffers: one of them is about to be replaced.
    pub fn forget_sources(&mut self) {
        self.prepare.forget_sources();
        self.draw.forget_sources();
    }

    /// Bytes of the plans.
    pub fn memory(&self) -> [Memory; 2] {
        [self.prepare.memory(), self.draw.memory()]
    }
}
