//! One residual block, single or dual path; text and vision share it.
//!
//! Dual blocks are CLIP Surgery's (arXiv 2304.05653): both attentions read layer norm 1 of the *ordinary* stream; the
//! new stream only accumulates attention outputs, without MLP. Both output projections are one product with twice the rows.

use crate::clip::config::{ClipConfig, TowerConfig};
use crate::clip::loader::Loader;
use crate::error::Result;
use crate::gpu::{PlanBuilder, Tensor, Value};
use crate::ops::{self, AttentionArgs, LayerNormArgs, MatmulArgs, Residual, Tiles};
use crate::reference::{Activation, Heads, Projection};

/// Weights of one block on the GPU.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(super) ln_1: Norm,
    in_proj: Linear,
    out_proj: Linear,
    ln_2: Norm,
    c_fc: Linear,
    c_proj: Linear,
    pub(super) heads: Heads,
    activation: Activation,
    /// Attention scores are `c tanh(score / c)`.
    pub(super) softcap: Option<f32>,
}

/// Gain and bias `[C]`, f32.
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    pub gain: Tensor,
    pub bias: Tensor,
    pub eps: f32,
}

/// Weight `[N, K]` and bias `[N]`; with int8 weights `[2, N]`, the scales of their rows below the bias.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    pub weight: Tensor,
    pub bias: Tensor,
}

/// The two streams of CLIP Surgery.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams {
    /// What plain CLIP computes, `[T, C]`.
    pub ordinary: Value,
    /// The accumulator: rows from `new_row` on of a value that may hold more.
    pub new: Value,
    /// Its first row.
    pub new_row: u32,
}

impl Block {
    /// Loads block `prefix` (e.g. `visual.transformer.resblocks.3`).
    pub fn load(loader: &Loader<'_>, prefix: &str, tower: TowerConfig, config: &ClipConfig) -> Result<Block> {
        let (c, hidden) = (tower.width, tower.mlp);
        let linear = |weight: &str, bias: &str, n: u32, k: u32| -> Result<Linear> {
            loader.linear(&format!("{prefix}.{weight}"), &format!("{prefix}.{bias}"), [n, k])
        };
        Ok(Block {
            ln_1: loader.norm(&format!("{prefix}.ln_1"), c, config.eps)?,
            in_proj: linear("attn.in_proj_weight", "attn.in_proj_bias", 3 * c, c)?,
            out_proj: linear("attn.out_proj.weight", "attn.out_proj.bias", c, c)?,
            ln_2: loader.norm(&format!("{prefix}.ln_2"), c, config.eps)?,
            c_fc: linear("mlp.c_fc.weight", "mlp.c_fc.bias", hidden, c)?,
            c_proj: linear("mlp.c_proj.weight", "mlp.c_proj.bias", c, hidden)?,
            heads: tower.heads,
            activation: config.activation,
            softcap: config.softcap,
        })
    }

    /// OpenAI names and shapes of a block's tensors, for the check before anything is uploaded.
    pub fn tensors(prefix: &str, tower: TowerConfig) -> Vec<(String, Vec<u32>)> {
        let (c, hidden) = (tower.width, tower.mlp);
        [
            ("ln_1.weight", vec![c]),
            ("ln_1.bias", vec![c]),
            ("attn.in_proj_weight", vec![3 * c, c]),
            ("attn.in_proj_bias", vec![3 * c]),
            ("attn.out_proj.weight", vec![c, c]),
            ("attn.out_proj.bias", vec![c]),
            ("ln_2.weight", vec![c]),
            ("ln_2.bias", vec![c]),
            ("mlp.c_fc.weight", vec![hidden, c]),
            ("mlp.c_fc.bias", vec![hidden]),
            ("mlp.c_proj.weight", vec![c, hidden]),
            ("mlp.c_proj.bias", vec![c]),
        ]
        .into_iter()
        .map(|(name, shape)| (format!("{prefix}.{name}"), shape))
        .collect()
    }

    /// The same block with another activation and epsilon; weights are shared.
    pub fn with(&self, activation: Option<Activation>, eps: Option<f32>) -> Block {
        let norm = |norm: &Norm| Norm { eps: eps.unwrap_or(norm.eps), ..norm.clone() };
        Block { activation: activation.unwrap_or(self.activation), ln_1: norm(&self.ln_1), ln_2: norm(&self.ln_2), ..self.clone() }
    }

    fn scale(&self) -> f32 {
        (self.heads.size as f32).powf(-0.5)
    }

    /// Layer norm 1 and the q, k, v projections of x `[T, C]` -> `[T, 3 C]`.
    pub fn qkv(&self, b: &mut PlanBuilder, x: Value) -> Result<Value> {
        let z = self.ln_1.apply(b, "ln_1", x)?;
        self.in_proj.apply(b, "in_proj", z, Activation::None, Residual::None)
    }

    /// x + c_proj(act(c_fc(ln_2(x)))). Reads the first `rows` rows of x.
    pub fn mlp(&self, b: &mut PlanBuilder, x: Value, rows: u32) -> Result<Value> {
        let z = ops::layer_norm(b, "ln_2", self.ln_2.on(x, rows))?;
        let hidden = self.c_fc.apply(b, "c_fc", z, self.activation, Residual::None)?;
        self.c_proj.apply(b, "c_proj", hidden, Activation::None, Residual::Whole(x))
    }

    /// One softmax of two projections of x `[T, C]` over its values -> `[T, C]`.
    pub fn attention(&self, b: &mut PlanBuilder, x: Value, tiles: &Tiles, causal: bool, pair: (Projection, Projection)) -> Result<Value> {
        let qkv = self.qkv(b, x)?;
        let args = AttentionArgs { qkv, tiles, heads: self.heads, scale: self.scale(), cap: self.softcap, causal, paths: &[pair] };
        ops::attention(b, "attention", args)
    }

    /// The output projection of what was attended `[T, C]`, plus `residual`.
    pub fn project(&self, b: &mut PlanBuilder, attended: Value, residual: Option<Value>) -> Result<Value> {
        self.out_proj.apply(b, "out_proj", attended, Activation::None, residual.map_or(Residual::None, Residual::Whole))
    }

    /// As [`Block::project`] where each token keeps its own value: columns 2 C .. 3 C of x's q, k, v.
    pub fn identity(&self, b: &mut PlanBuilder, x: Value, residual: Option<Value>) -> Result<Value> {
        let qkv = self.qkv(b, x)?;
        let (weight, bias) = (&self.out_proj.weight, Some(&self.out_proj.bias));
        let residual = residual.map_or(Residual::None, Residual::Whole);
        let args = MatmulArgs { x: qkv, x_offset: 2 * x.shape().width(), weight, bias, activation: Activation::None, residual };
        ops::matmul(b, "out_proj", args)
    }

    /// One stream as CLIP has it, x `[T, C]` -> `[T, C]`.
    pub fn single(&self, b: &mut PlanBuilder, x: Value, tiles: &Tiles, causal: bool) -> Result<Value> {
        let attended = self.attention(b, x, tiles, causal, (Projection::Query, Projection::Key))?;
        let y = self.project(b, attended, Some(x))?;
        self.mlp(b, y, x.shape().rows())
    }

    /// The end of a causal stream of which only some rows are wanted: x `[T, C]`, `wanted` `[R]` -> `[R, C]`.
    pub fn last(&self, b: &mut PlanBuilder, x: Value, tiles: &Tiles, wanted: &Tensor) -> Result<Value> {
        let qkv = self.qkv(b, x)?;
        let paths = &[(Projection::Query, Projection::Key)];
        let attended = ops::attention(
            b,
            "attention",
            AttentionArgs { qkv, tiles, heads: self.heads, scale: self.scale(), cap: self.softcap, causal: true, paths },
        )?;
        let attended = ops::gather_rows(b, "gather_attended", attended, wanted)?;
        let x = ops::gather_rows(b, "gather_rows", x, wanted)?;
        let y = self.out_proj.apply(b, "out_proj", attended, Activation::None, Residual::Whole(x))?;
        self.mlp(b, y, y.shape().rows())
    }

    /// Two streams: the ordinary one goes on as ever, the new one gains this block's attention by `path`.
    pub fn dual(&self, b: &mut PlanBuilder, streams: Streams, tiles: &Tiles, path: (Projection, Projection)) -> Result<Streams> {
        let x = streams.ordinary;
        let rows = x.shape().rows();
        let qkv = self.qkv(b, x)?;
        let paths = [(Projection::Query, Projection::Key), path];
        let args = AttentionArgs { qkv, tiles, heads: self.heads, scale: self.scale(), cap: self.softcap, causal: false, paths: &paths };
        let attended = ops::attention(b, "attention", args)?;
        // The maps are made of scores without a cap.
        if b.inspecting() && self.softcap.is_none() {
            self.attention_maps(b, qkv, tiles.sequences(), path)?;
        }
        let both = Residual::Split { first: x, rows, rest: streams.new, rest_row: streams.new_row };
        let y = self.out_proj.apply(b, "out_proj", attended, Activation::None, both)?;
        let ordinary = self.mlp(b, y, rows)?;
        Ok(Streams { ordinary, new: y, new_row: rows })
    }

    /// The maps themselves, for those who look: `[B, H, 1 + N, 1 + N]` each.
    fn attention_maps(&self, b: &mut PlanBuilder, qkv: Value, images: u32, path: (Projection, Projection)) -> Result<()> {
        for (name, path) in [("attention_ordinary", (Projection::Query, Projection::Key)), ("attention_new", path)] {
            let scores = ops::attention_scores(b, name, qkv, images, self.heads, self.scale(), false, path)?;
            let map = ops::softmax(b, name, scores)?;
            b.name(map, name);
        }
        Ok(())
    }
}

impl Norm {
    /// Of the first `rows` rows of x.
    pub fn on(&self, x: Value, rows: u32) -> LayerNormArgs<'_> {
        LayerNormArgs { x, first_row: 0, rows, gain: &self.gain, bias: &self.bias, eps: self.eps, merge: None }
    }

    pub fn apply(&self, b: &mut PlanBuilder, name: &str, x: Value) -> Result<Value> {
        ops::layer_norm(b, name, self.on(x, x.shape().rows()))
    }
}

impl Linear {
    /// `activation(x w^T + bias) + residual` of x `[T, K]` -> `[T, N]`.
    pub fn apply(&self, b: &mut PlanBuilder, name: &str, x: Value, activation: Activation, residual: Residual) -> Result<Value> {
        ops::matmul(b, name, MatmulArgs { x, x_offset: 0, weight: &self.weight, bias: Some(&self.bias), activation, residual })
    }
}
