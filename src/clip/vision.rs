//! The vision tower: patches, blocks (ordinary, changed, or dual), merge, projection.

use crate::clip::block::{Block, Norm, Single, Streams};
use crate::clip::config::ClipConfig;
use crate::clip::loader::Loader;
use crate::clip::positions::{PositionRule, resample_positions};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, PlanBuilder, Tensor, Value};
use crate::ops::{self, MatmulArgs, Merge, Residual, Tiles};
use crate::reference::{Activation, Projection};
use crate::shape::DType;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// How the last blocks are changed; plain CLIP is [`VisionPath::ORDINARY`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VisionPath {
    /// How many of the last blocks are changed, K; more than there are means all.
    pub blocks: u32,
    /// What plays P and Q in softmax(P Q^T) V there; `None`: the identity, each token keeps its own value.
    pub attention: Option<(Projection, Projection)>,
    /// Two streams: attention always reads the ordinary one, its output accumulates in a second one.
    pub dual: bool,
    /// Add the stream's previous value (single stream; a second stream always accumulates).
    pub residual: bool,
    /// Run the MLP behind the attention (single stream; a second stream never does).
    pub mlp: bool,
    /// Take the class row from the ordinary stream (dual only).
    pub ordinary_class_row: bool,
}

impl VisionPath {
    /// Plain CLIP, every token projected.
    pub const ORDINARY: VisionPath =
        VisionPath { blocks: 0, attention: None, dual: false, residual: true, mlp: true, ordinary_class_row: false };
}

/// Weights of the vision tower on the GPU.
#[derive(Debug)]
pub(crate) struct VisionTower {
    config: ClipConfig,
    patch_weight: Tensor,
    class_token: Tensor,
    /// As stored, `[1 + g g, C]`; every other grid is resampled from here, never from a resampled one.
    pristine_positions: Vec<f32>,
    positions: Mutex<HashMap<([u32; 2], PositionRule), Tensor>>,
    ln_pre: Norm,
    blocks: Vec<Block>,
    ln_post: Norm,
    /// `[D, C]`.
    proj: Tensor,
}

impl VisionTower {
    pub fn load(loader: &Loader<'_>, config: &ClipConfig) -> Result<VisionTower> {
        let c = config.vision.width;
        let p = config.patch;
        let positions = loader.layout.locate("visual.positional_embedding");
        Ok(VisionTower {
            patch_weight: loader.weight("visual.conv1.weight", &[c, 3, p, p])?.reshape(&[c, 3 * p * p])?,
            class_token: loader.vector("visual.class_embedding", c)?,
            pristine_positions: loader.weights.floats(&positions, loader.hint)?,
            positions: Mutex::default(),
            ln_pre: loader.norm("visual.ln_pre", c, config.eps)?,
            blocks: (0..config.vision.layers)
                .map(|i| Block::load(loader, &format!("visual.transformer.resblocks.{i}"), config.vision, config))
                .collect::<Result<_>>()?,
            ln_post: loader.norm("visual.ln_post", c, config.eps)?,
            proj: loader.weight("visual.proj", &[config.embed, c])?,
            config: config.clone(),
        })
    }

    /// OpenAI names and shapes of the tower's tensors.
    pub fn tensors(config: &ClipConfig) -> Vec<(String, Vec<u32>)> {
        let (c, p) = (config.vision.width, config.patch);
        let mut all = vec![
            ("visual.conv1.weight".to_owned(), vec![c, 3, p, p]),
            ("visual.class_embedding".to_owned(), vec![c]),
            ("visual.positional_embedding".to_owned(), vec![1 + config.native_grid * config.native_grid, c]),
            ("visual.proj".to_owned(), vec![config.embed, c]),
        ];
        for norm in ["visual.ln_pre", "visual.ln_post"] {
            all.extend(["weight", "bias"].map(|part| (format!("{norm}.{part}"), vec![c])));
        }
        all.extend((0..config.vision.layers).flat_map(|i| Block::tensors(&format!("visual.transformer.resblocks.{i}"), config.vision)));
        all
    }

    /// The position table for a grid (width, height), resampled once per grid and rule.
    fn positions(&self, gpu: &Gpu, grid: [u32; 2], rule: PositionRule) -> Result<Tensor> {
        let mut cache = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tensor) = cache.get(&(grid, rule)) {
            return Ok(tensor.clone());
        }
        let c = self.config.vision.width;
        let table =
            resample_positions(&self.pristine_positions, c as usize, self.config.native_grid as usize, grid.map(|g| g as usize), rule);
        let tensor = gpu.upload("visual.positional_embedding", &[1 + grid[0] * grid[1], c], DType::F32, &table)?;
        cache.insert((grid, rule), tensor.clone());
        Ok(tensor)
    }

    /// Pixels `[B, 3, H, W]` -> projected tokens `[B (1 + N), D]`, not normalised, class row first in each image.
    pub fn plan(&self, b: &mut PlanBuilder, pixels: Value, path: &VisionPath, rule: PositionRule, act: DType) -> Result<Value> {
        b.scope("vision", |b| self.plan_inside(b, pixels, path, rule, act))
    }

    fn plan_inside(&self, b: &mut PlanBuilder, pixels: Value, path: &VisionPath, rule: PositionRule, act: DType) -> Result<Value> {
        let &[images, 3, height, width] = pixels.shape().dims() else {
            return Err(Error::shape("vision", "pixels", "[B, 3, H, W]", pixels.shape()));
        };
        let patch = self.config.patch;
        let grid = [width / patch, height / patch];
        if grid.contains(&0) {
            return Err(Error::Input {
                what: format!("the input size {width}x{height} is smaller than one patch of {patch} pixels; pass a larger --size"),
            });
        }
        let tokens = 1 + grid[0] * grid[1];
        let rows = images * tokens;
        let gpu = b.gpu().clone();
        let tiles = Tiles::equal(&gpu, images, tokens)?;
        if b.inspecting() {
            let bare = ops::patch_embed(b, "patch_embed_bare", pixels, patch, &self.patch_weight, None, act)?;
            b.name(bare, "patch_embed");
        }
        let positions = self.positions(&gpu, grid, rule)?;
        let embedded = ops::patch_embed(b, "patch_embed", pixels, patch, &self.patch_weight, Some((&self.class_token, &positions)), act)?;
        b.name(embedded, "embed_with_pos");
        let mut x = self.ln_pre.apply(b, "ln_pre", embedded)?;
        b.name(x, "ln_pre");

        let first_changed = self.blocks.len() - (path.blocks as usize).min(self.blocks.len());
        let mut second: Option<Streams> = None;
        for (i, block) in self.blocks.iter().enumerate() {
            b.scope(format!("block.{i}"), |b| {
                if i < first_changed {
                    x = block.single(b, x, &tiles, false, Single::ORDINARY)?;
                } else if path.dual {
                    let pair = path.attention.ok_or_else(|| Error::Input { what: "a dual method needs an attention pair".into() })?;
                    let streams = second.unwrap_or(Streams { ordinary: x, new: x, new_row: 0 });
                    let next = block.dual(b, streams, &tiles, pair)?;
                    b.name(next.new, "streams");
                    x = next.ordinary;
                    second = Some(next);
                } else {
                    x = block.single(b, x, &tiles, false, Single { path: path.attention, residual: path.residual, mlp: path.mlp })?;
                }
                b.name(x, "ordinary");
                Ok(())
            })?;
        }

        let Norm { gain, bias, eps } = &self.ln_post;
        let normed = match second {
            Some(streams) => {
                let merge = path.ordinary_class_row.then_some(Merge { class_x: streams.ordinary, class_row: 0, tokens });
                ops::layer_norm(b, "ln_post", streams.new, streams.new_row, rows, gain, bias, *eps, merge)?
            }
            None => ops::layer_norm(b, "ln_post", x, 0, rows, gain, bias, *eps, None)?,
        };
        b.name(normed, "after_ln_post");
        let args =
            MatmulArgs { x: normed, x_offset: 0, weight: &self.proj, bias: None, activation: Activation::None, residual: Residual::None };
        let features = ops::matmul(b, "proj", args)?;
        b.name(features, "features");
        Ok(features)
    }
}
