//! The end of CLIP's ResNets: one attention over the last map's pixels and their mean. Every row of it comes out.
//!
//! CLIP itself keeps the mean's row only. CLIP Surgery changes this attention and nothing else of a ResNet: in the
//! published code q, k and v are all `v_proj`'s, in every row (`PoolPath` of (value, value)); what a comment and an unused
//! branch there intend is unit values, eight times sharper, and the class row of the ordinary attention.

use crate::clip::block::Linear;
use crate::clip::config::{ClipConfig, ResNetConfig};
use crate::clip::loader::Loader;
use crate::clip::path::PoolPath;
use crate::clip::positions::PositionRule;
use crate::clip::vision::Positions;
use crate::error::Result;
use crate::gpu::{PlanBuilder, Value};
use crate::ops::{self, AttentionArgs, Map, MatmulArgs, Residual, Tiles};
use crate::reference::{Activation, Heads, Projection};
use crate::shape::DType;

const PREFIX: &str = "visual.attnpool";

/// Weights of an attention pool on the GPU.
#[derive(Debug)]
pub(crate) struct AttentionPool {
    positions: Positions,
    /// The three projections below each other, `[3 C, C]`.
    qkv: Linear,
    /// `[D, C]`.
    c_proj: Linear,
    heads: Heads,
}

impl AttentionPool {
    pub fn load(loader: &Loader<'_>, config: &ClipConfig, tower: ResNetConfig) -> Result<AttentionPool> {
        let c = tower.tokens_width();
        let linear = |name: &str, n: u32| -> Result<Linear> {
            loader.linear(&format!("{PREFIX}.{name}.weight"), &format!("{PREFIX}.{name}.bias"), [n, c])
        };
        Ok(AttentionPool {
            positions: Positions::load(loader, &format!("{PREFIX}.positional_embedding"), config.native_grid)?,
            qkv: linear("qkv", 3 * c)?,
            c_proj: linear("c_proj", config.embed)?,
            heads: tower.heads,
        })
    }

    /// OpenAI names and shapes; `qkv` is the three projections, one below the other.
    pub fn tensors(config: &ClipConfig, tower: ResNetConfig) -> Vec<(String, Vec<u32>)> {
        let (c, d) = (tower.tokens_width(), config.embed);
        [
            ("positional_embedding", vec![1 + config.native_grid * config.native_grid, c]),
            ("qkv.weight", vec![3 * c, c]),
            ("qkv.bias", vec![3 * c]),
            ("c_proj.weight", vec![d, c]),
            ("c_proj.bias", vec![d]),
        ]
        .into_iter()
        .map(|(name, shape)| (format!("{PREFIX}.{name}"), shape))
        .collect()
    }

    /// The last map -> projected rows `[B (1 + N), D]`, the mean's first in each image.
    pub fn plan(&self, b: &mut PlanBuilder, map: Map, path: &PoolPath, rule: PositionRule) -> Result<Value> {
        let gpu = b.gpu().clone();
        let width = map.value.shape().width();
        let positions = self.positions.table(&gpu, map.size, width, rule)?;
        let tokens = ops::pool_embed(b, "pool_embed", map, &positions)?;
        let mut qkv = self.qkv.apply(b, "qkv", tokens, Activation::None, Residual::None)?;
        b.name(qkv, "qkv");
        let Some(pair) = path.attention else {
            // The identity: project the values, columns 2 C .. 3 C.
            let (weight, bias) = (&self.c_proj.weight, Some(&self.c_proj.bias));
            let args = MatmulArgs { x: qkv, x_offset: 2 * width, weight, bias, activation: Activation::None, residual: Residual::None };
            return ops::matmul(b, "c_proj", args);
        };
        if pair.0 == Projection::UnitValue || pair.1 == Projection::UnitValue {
            // Both sides bring the root of the factor, or one of them the whole.
            let both = pair.0 == pair.1;
            qkv = ops::unit_values(b, "unit_values", qkv, self.heads, if both { path.sharpness.sqrt() } else { path.sharpness })?;
        }
        let per_image = 1 + map.size[0] * map.size[1];
        let tiles = Tiles::equal(&gpu, map.images, per_image)?;
        let both = [(Projection::Query, Projection::Key), pair];
        let paths = if path.ordinary_class_row { &both[..] } else { &both[1..] };
        let scale = (self.heads.size as f32).powf(-0.5);
        let args = AttentionArgs { qkv, tiles: &tiles, heads: self.heads, scale, cap: None, causal: false, paths };
        let mut attended = ops::attention(b, "attention", args)?;
        if path.ordinary_class_row {
            let rows: Vec<u32> =
                (0..map.images * per_image).map(|row| if row % per_image == 0 { row } else { map.images * per_image + row }).collect();
            let rows = gpu.upload("lancet.class_rows", &[rows.len() as u32], DType::U32, &rows)?;
            attended = ops::gather_rows(b, "class_rows", attended, &rows)?;
        }
        self.c_proj.apply(b, "c_proj", attended, Activation::None, Residual::None)
    }
}
