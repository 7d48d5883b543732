//! The vision transformer: patches, the ordinary stream, a method's own, merge, projection. Stages ask for what they need
//! as if they were alone; a plan recognises what it has already.

use crate::clip::block::{Block, Norm, Streams};
use crate::clip::config::{ClipConfig, TowerConfig};
use crate::clip::loader::Loader;
use crate::clip::path::VisionPath;
use crate::clip::tables::Tables;
use crate::clip::vision::{Ends, Positions, images_and_grid};
use crate::error::Result;
use crate::gpu::{PlanBuilder, Tensor, Value};
use crate::ops::{self, LayerNormArgs, MatmulArgs, Merge, Related, Residual, Tiles};
use crate::reference::{Activation, Pair as Compared};
use std::sync::Arc;

/// Weights of a vision transformer on the GPU.
#[derive(Clone, Debug)]
pub(crate) struct Transformer {
    config: ClipConfig,
    patch_weight: Tensor,
    class_token: Tensor,
    positions: Arc<Positions>,
    tables: Arc<Tables>,
    ln_pre: Norm,
    pub(super) blocks: Vec<Block>,
    ln_post: Norm,
    /// `[D, C]`; `None` without a text tower.
    proj: Option<Tensor>,
}

impl Transformer {
    pub fn load(loader: &Loader<'_>, config: &ClipConfig, tower: TowerConfig) -> Result<Transformer> {
        let c = tower.width;
        let p = config.patch;
        Ok(Transformer {
            patch_weight: loader.weight("visual.conv1.weight", &[c, 3, p, p])?.reshape(&[c, 3 * p * p])?,
            class_token: loader.vector("visual.class_embedding", c)?,
            positions: Arc::new(Positions::load(loader, "visual.positional_embedding", config.native_grid)?),
            tables: Arc::default(),
            ln_pre: loader.norm("visual.ln_pre", c, config.eps)?,
            blocks: (0..tower.layers)
                .map(|i| Block::load(loader, &format!("visual.transformer.resblocks.{i}"), tower, config))
                .collect::<Result<_>>()?,
            ln_post: loader.norm("visual.ln_post", c, config.eps)?,
            proj: config.has_text().then(|| loader.weight("visual.proj", &[config.embed, c])).transpose()?,
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
        ];
        if config.has_text() {
            all.push(("visual.proj".to_owned(), vec![config.embed, c]));
        }
        for norm in ["visual.ln_pre", "visual.ln_post"] {
            all.extend(["weight", "bias"].map(|part| (format!("{norm}.{part}"), vec![c])));
        }
        all.extend((0..tower.layers).flat_map(|i| Block::tensors(&format!("visual.transformer.resblocks.{i}"), tower)));
        all
    }

    /// Pixels `[B, 3, H, W]` -> projected tokens `[B (1 + N), D]`, not normalised, class row first in each image.
    /// `mix`: what a first pass found, for a method's `logit_mix`.
    pub fn plan(&self, b: &mut PlanBuilder, pixels: Value, path: &VisionPath, ends: Ends, mix: Option<Related>) -> Result<Value> {
        if path.activation.is_some() || path.eps.is_some() {
            let ours = VisionPath { activation: None, eps: None, ..path.clone() };
            return self.with(path.activation, path.eps).plan(b, pixels, &ours, ends, mix);
        }
        let path = &path.numbered(self.blocks.len() as u32);
        let mut run = self.start(b, pixels, path, ends)?;
        let tokens = run.tokens;
        let rows = run.images * tokens;
        let layers = self.blocks.len();
        let first_changed = layers - (path.blocks as usize).min(layers);

        let (x, first_row, merge) = if path.dual {
            let streams = self.second_stream(b, &mut run, path, first_changed, mix)?;
            let merge = path.ordinary_class_row.then_some(Merge { class_x: streams.ordinary, class_row: 0, tokens });
            (streams.new, streams.new_row, merge)
        } else {
            (self.one_stream(b, &mut run, path, first_changed, mix)?, 0, None)
        };
        let normed = ops::layer_norm(b, "ln_post", LayerNormArgs { first_row, merge, ..self.ln_post.on(x, rows) })?;
        b.name(normed, "after_ln_post");
        let Some(weight) = &self.proj else { return Ok(normed) };
        let args = MatmulArgs { x: normed, x_offset: 0, weight, bias: None, activation: Activation::None, residual: Residual::None };
        let features = ops::matmul(b, "proj", args)?;
        b.name(features, "features");
        Ok(features)
    }

    /// How alike tokens are in block `i` (from 0) of plain CLIP: the mean over heads of the cosines of queries, of keys and of
    /// values, a third of each -> f32 `[B, 1 + N, 1 + N]`.
    pub fn correlation(&self, b: &mut PlanBuilder, pixels: Value, ends: Ends, i: usize) -> Result<Value> {
        let mut run = self.start(b, pixels, &VisionPath::ORDINARY, ends)?;
        let x = self.ordinary(b, &mut run, i)?;
        let block = &self.blocks[i];
        b.scope(format!("block.{i}"), |b| {
            let qkv = block.qkv(b, x)?;
            let unit = ops::unit_heads(b, "unit_heads", qkv, block.heads.size as u32, None)?;
            let correlation = ops::gram(b, "correlation", unit, run.tokens, 0, Compared::Product, 1.0 / (3.0 * block.heads.heads as f32))?;
            b.name(correlation, "correlation");
            Ok(correlation)
        })
    }

    /// The same tower with another activation and epsilon; weights are shared.
    fn with(&self, activation: Option<Activation>, eps: Option<f32>) -> Transformer {
        let norm = |norm: &Norm| Norm { eps: eps.unwrap_or(norm.eps), ..norm.clone() };
        Transformer {
            ln_pre: norm(&self.ln_pre),
            blocks: self.blocks.iter().map(|block| block.with(activation, eps)).collect(),
            ln_post: norm(&self.ln_post),
            ..self.clone()
        }
    }

    /// Patches, positions, first norm: the tokens that enter block 1.
    fn start(&self, b: &mut PlanBuilder, pixels: Value, path: &VisionPath, ends: Ends) -> Result<Run> {
        let (images, grid) = images_and_grid(&self.config, pixels)?;
        let patch = self.config.patch;
        let tokens = 1 + grid[0] * grid[1];
        let gpu = b.gpu().clone();
        let tiles = self.tables.tiles(&gpu, images, tokens, false)?;
        let changed_tiles = self.tables.tiles(&gpu, images, tokens, path.patches_only)?;
        if b.inspecting() {
            let bare = ops::patch_embed(b, "patch_embed_bare", pixels, patch, &self.patch_weight, None, ends.act)?;
            b.name(bare, "patch_embed");
        }
        let positions = self.positions.table(&gpu, grid, self.class_token.shape()[0], ends.rule)?;
        let tokens_in = Some((&self.class_token, &positions));
        let embedded = ops::patch_embed(b, "patch_embed", pixels, patch, &self.patch_weight, tokens_in, ends.act)?;
        b.name(embedded, "embed_with_pos");
        let x = self.ln_pre.apply(b, "ln_pre", embedded)?;
        b.name(x, "ln_pre");
        let window = path.gaussian.map(|sigma| self.tables.window(&gpu, grid, sigma)).transpose()?;
        Ok(Run { images, grid, tokens, tiles, changed_tiles, window, behind: vec![x] })
    }

    /// The tokens behind block `block`, numbered from 1 (0: those that enter the first), of plain CLIP.
    pub(super) fn ordinary(&self, b: &mut PlanBuilder, run: &mut Run, block: usize) -> Result<Value> {
        while run.behind.len() <= block {
            let i = run.behind.len() - 1;
            let x = b.scope(format!("block.{i}"), |b| {
                let x = self.blocks[i].single(b, run.behind[i], &run.tiles, false)?;
                b.name(x, "ordinary");
                Ok(x)
            })?;
            run.behind.push(x);
        }
        Ok(run.behind[block])
    }

    /// CLIP Surgery and its kin: the ordinary stream to its end, and one that gains what the changed attention says.
    fn second_stream(
        &self,
        b: &mut PlanBuilder,
        run: &mut Run,
        path: &VisionPath,
        first_changed: usize,
        mix: Option<Related>,
    ) -> Result<Streams> {
        let start = self.ordinary(b, run, first_changed)?;
        // What the fused block cannot do: several terms, a stream that starts at nothing, sharing.
        let fused = path.plain().filter(|_| path.residual && !b.keeps_apart());
        let mut streams = Streams { ordinary: start, new: start, new_row: 0 };
        let mut new = path.residual.then_some(start);
        for i in first_changed..self.blocks.len() {
            let block = &self.blocks[i];
            if let Some(pair) = fused {
                b.scope(format!("block.{i}"), |b| {
                    streams = block.dual(b, streams, &run.tiles, pair)?;
                    b.name(streams.new, "streams");
                    b.name(streams.ordinary, "ordinary");
                    Ok(())
                })?;
                continue;
            }
            let x = self.ordinary(b, run, i)?;
            let gained = b.scope(format!("block.{i}"), |b| {
                let attended = self.attended(b, run, path, i, x, None, mix)?;
                block.project(b, attended, new)
            })?;
            new = Some(gained);
            streams = Streams { ordinary: self.ordinary(b, run, i + 1)?, new: gained, new_row: 0 };
        }
        Ok(streams)
    }

    /// Methods that change the one stream itself.
    fn one_stream(
        &self,
        b: &mut PlanBuilder,
        run: &mut Run,
        path: &VisionPath,
        first_changed: usize,
        mix: Option<Related>,
    ) -> Result<Value> {
        let mut x = self.ordinary(b, run, first_changed)?;
        for i in first_changed..self.blocks.len() {
            x = b.scope(format!("block.{i}"), |b| {
                let x = self.changed(b, run, path, i, x, mix)?;
                b.name(x, "ordinary");
                Ok(x)
            })?;
        }
        Ok(x)
    }
}

/// What the stages of one plan share.
#[derive(Debug)]
pub(super) struct Run {
    images: u32,
    /// Patches, (width, height).
    pub grid: [u32; 2],
    /// 1 + N.
    pub tokens: u32,
    pub tiles: Tiles,
    /// Of changed blocks.
    pub changed_tiles: Tiles,
    pub window: Option<Tensor>,
    /// The ordinary stream behind block 0 (what enters the first), 1, ...
    behind: Vec<Value>,
}
