//! The vision transformer: patches, blocks (ordinary, changed, or dual), merge, projection.

use crate::clip::block::{Block, Norm, Single, Streams};
use crate::clip::config::{ClipConfig, TowerConfig};
use crate::clip::loader::Loader;
use crate::clip::positions::PositionRule;
use crate::clip::vision::{Positions, VisionPath, images_and_grid};
use crate::error::{Error, Result};
use crate::gpu::{PlanBuilder, Tensor, Value};
use crate::ops::{self, MatmulArgs, Merge, Residual, Tiles};
use crate::reference::Activation;
use crate::shape::DType;

/// Weights of a vision transformer on the GPU.
#[derive(Debug)]
pub(crate) struct Transformer {
    config: ClipConfig,
    patch_weight: Tensor,
    class_token: Tensor,
    positions: Positions,
    ln_pre: Norm,
    blocks: Vec<Block>,
    ln_post: Norm,
    /// `[D, C]`.
    proj: Tensor,
}

impl Transformer {
    pub fn load(loader: &Loader<'_>, config: &ClipConfig, tower: TowerConfig) -> Result<Transformer> {
        let c = tower.width;
        let p = config.patch;
        Ok(Transformer {
            patch_weight: loader.weight("visual.conv1.weight", &[c, 3, p, p])?.reshape(&[c, 3 * p * p])?,
            class_token: loader.vector("visual.class_embedding", c)?,
            positions: Positions::load(loader, "visual.positional_embedding", config.native_grid)?,
            ln_pre: loader.norm("visual.ln_pre", c, config.eps)?,
            blocks: (0..tower.layers)
                .map(|i| Block::load(loader, &format!("visual.transformer.resblocks.{i}"), tower, config))
                .collect::<Result<_>>()?,
            ln_post: loader.norm("visual.ln_post", c, config.eps)?,
            proj: loader.weight("visual.proj", &[config.embed, c])?,
            config: config.clone(),
        })
    }

    /// OpenAI names and shapes of the tower's tensors.
    pub fn tensors(config: &ClipConfig, tower: TowerConfig) -> Vec<(String, Vec<u32>)> {
        let (c, p) = (tower.width, config.patch);
        let mut all = vec![
            ("visual.conv1.weight".to_owned(), vec![c, 3, p, p]),
            ("visual.class_embedding".to_owned(), vec![c]),
            ("visual.positional_embedding".to_owned(), vec![1 + config.native_grid * config.native_grid, c]),
            ("visual.proj".to_owned(), vec![config.embed, c]),
        ];
        for norm in ["visual.ln_pre", "visual.ln_post"] {
            all.extend(["weight", "bias"].map(|part| (format!("{norm}.{part}"), vec![c])));
        }
        all.extend((0..tower.layers).flat_map(|i| Block::tensors(&format!("visual.transformer.resblocks.{i}"), tower)));
        all
    }

    /// Pixels `[B, 3, H, W]` -> projected tokens `[B (1 + N), D]`, not normalised, class row first in each image.
    pub fn plan(&self, b: &mut PlanBuilder, pixels: Value, path: &VisionPath, rule: PositionRule, act: DType) -> Result<Value> {
        let (images, grid) = images_and_grid(&self.config, pixels)?;
        let patch = self.config.patch;
        let tokens = 1 + grid[0] * grid[1];
        let rows = images * tokens;
        let gpu = b.gpu().clone();
        let tiles = Tiles::equal(&gpu, images, tokens)?;
        if b.inspecting() {
            let bare = ops::patch_embed(b, "patch_embed_bare", pixels, patch, &self.patch_weight, None, act)?;
            b.name(bare, "patch_embed");
        }
        let positions = self.positions.table(&gpu, grid, self.class_token.shape()[0], rule)?;
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
