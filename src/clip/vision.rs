//! The vision tower: which kind a model has, and its positions.

use crate::clip::config::{ClipConfig, VisionConfig};
use crate::clip::loader::Loader;
use crate::clip::path::VisionPath;
use crate::clip::positions::{PositionRule, resample_positions};
use crate::clip::resnet::ResNet;
use crate::clip::vit::Transformer;
use crate::error::{Error, Result};
use crate::gpu::{Gpu, PlanBuilder, Tensor, Value};
use crate::ops::Related;
use crate::shape::DType;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Weights of the vision tower on the GPU.
#[derive(Debug)]
pub(crate) enum VisionTower {
    Transformer(Box<Transformer>),
    ResNet(Box<ResNet>),
}

impl VisionTower {
    pub fn load(loader: &Loader<'_>, config: &ClipConfig) -> Result<VisionTower> {
        Ok(match config.vision {
            VisionConfig::Transformer(tower) => VisionTower::Transformer(Box::new(Transformer::load(loader, config, tower)?)),
            VisionConfig::ResNet(tower) => VisionTower::ResNet(Box::new(ResNet::load(loader, config, tower)?)),
        })
    }

    /// OpenAI names and shapes of the tower's tensors.
    pub fn tensors(config: &ClipConfig) -> Vec<(String, Vec<u32>)> {
        match config.vision {
            VisionConfig::Transformer(tower) => Transformer::tensors(config, tower),
            VisionConfig::ResNet(tower) => ResNet::tensors(config, tower),
        }
    }

    /// Pixels `[B, 3, H, W]` -> projected tokens `[B (1 + N), D]`, not normalised, class row first in each image.
    /// `mix`: what a first pass found, for a method's `logit_mix`.
    pub fn plan(&self, b: &mut PlanBuilder, pixels: Value, path: &VisionPath, ends: Ends, mix: Option<Related>) -> Result<Value> {
        b.scope("vision", |b| match self {
            VisionTower::Transformer(tower) => tower.plan(b, pixels, path, ends, mix),
            VisionTower::ResNet(tower) => tower.plan(b, pixels, path, ends.rule, ends.act),
        })
    }

    /// How alike tokens are, `[B, 1 + N, 1 + N]` f32: see [`Transformer::correlation`]. `from_end` 0 is the last block.
    pub fn correlation(&self, b: &mut PlanBuilder, pixels: Value, ends: Ends, from_end: u32) -> Result<Value> {
        let VisionTower::Transformer(tower) = self else {
            return Err(Error::Input { what: "a correlation of tokens is of transformer blocks, and this model is a ResNet".into() });
        };
        let layers = tower.blocks.len();
        let Some(i) = layers.checked_sub(1 + from_end as usize) else {
            return Err(Error::Input { what: format!("a correlation {from_end} blocks before the last; this model has {layers}") });
        };
        b.scope("vision", |b| tower.correlation(b, pixels, ends, i))
    }
}

/// Where positions come from, and how activations are stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub rule: PositionRule,
    pub act: DType,
}

/// A table of positions and what was resampled from it.
#[derive(Debug)]
pub(crate) struct Positions {
    /// As stored, `[1 + g g, C]`; every other grid is resampled from here, never from a resampled one.
    pristine: Vec<f32>,
    native_grid: u32,
    made: Mutex<HashMap<([u32; 2], PositionRule), Tensor>>,
}

impl Positions {
    pub fn load(loader: &Loader<'_>, name: &str, native_grid: u32) -> Result<Positions> {
        let pristine = loader.weights.floats(&loader.layout.locate(name), loader.hint)?;
        Ok(Positions { pristine, native_grid, made: Mutex::default() })
    }

    /// The table `[1 + N, C]` for a grid (width, height), resampled once per grid and rule.
    pub fn table(&self, gpu: &Gpu, grid: [u32; 2], width: u32, rule: PositionRule) -> Result<Tensor> {
        // All rules agree on the grid of the training: methods of different rules then share what follows.
        let rule = if grid == [self.native_grid; 2] { PositionRule::Bilinear } else { rule };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tensor) = made.get(&(grid, rule)) {
            return Ok(tensor.clone());
        }
        let table = resample_positions(&self.pristine, width as usize, self.native_grid as usize, grid.map(|g| g as usize), rule);
        let tensor = gpu.upload("visual.positional_embedding", &[1 + grid[0] * grid[1], width], DType::F32, &table)?;
        made.insert((grid, rule), tensor.clone());
        Ok(tensor)
    }
}

/// The batch and grid (width, height) of pixels `[B, 3, H, W]`.
pub(crate) fn images_and_grid(config: &ClipConfig, pixels: Value) -> Result<(u32, [u32; 2])> {
    let &[images, 3, height, width] = pixels.shape().dims() else {
        return Err(Error::shape("vision", "pixels", "[B, 3, H, W]", pixels.shape()));
    };
    let grid = config.grid([width, height]);
    if grid.contains(&0) {
        return Err(Error::Input {
            what: format!("the input size {width}x{height} is smaller than one patch of {} pixels; pass a larger --size", config.patch),
        });
    }
    Ok((images, grid))
}
