//! A vision transformer of the golden folder in plain Rust, from `lancet::reference`, with its last block left to the caller.
//!
//! Harnesses and refinements come after a method's attention. This makes their inputs without a GPU and without the methods'
//! plans, so that a failure here is theirs alone.

use crate::golden::{Golden, floats};
use lancet::clip::PositionRule;
use lancet::clip::positions::resample_positions;
use lancet::reference::{self, Activation, Heads, Projection, Segment};
use lancet::weights::Weights;

pub const WIDTH: usize = 128;
pub const EMBED: usize = 96;
pub const PATCH: usize = 16;
const HEADS: Heads = Heads { heads: 2, size: 64 };

pub struct Twin {
    weights: Weights,
    pub blocks: usize,
    pub activation: Activation,
    pub eps: f32,
}

impl Twin {
    pub fn open(golden: &Golden, file: &str, blocks: usize) -> Twin {
        let weights = Weights::open(golden.path(&format!("weights/{file}.safetensors"))).unwrap();
        Twin { weights, blocks, activation: Activation::QuickGelu, eps: 1e-5 }
    }

    fn get(&self, name: &str) -> Vec<f32> {
        floats(&self.weights, &format!("visual.{name}"))
    }

    fn of_block(&self, block: usize, name: &str) -> Vec<f32> {
        self.get(&format!("transformer.resblocks.{block}.{name}"))
    }

    fn linear(&self, x: &[f32], block: usize, name: &str, activation: Activation, residual: Option<&[f32]>) -> Vec<f32> {
        // A packed projection has no dot in its name.
        let part =
            |end: &str| self.of_block(block, &if name.ends_with("in_proj") { format!("{name}_{end}") } else { format!("{name}.{end}") });
        let (weight, bias) = (part("weight"), part("bias"));
        let inner = weight.len() / bias.len();
        reference::matmul(x, &weight, [x.len() / inner, inner, bias.len()], Some(&bias), activation, residual)
    }

    fn norm(&self, x: &[f32], name: &str) -> Vec<f32> {
        reference::layer_norm(x, &self.get(&format!("{name}.weight")), &self.get(&format!("{name}.bias")), self.eps)
    }

    /// Pixels `[3, H, W]` to the tokens before the first block; `size` is (width, height).
    pub fn start(&self, pixels: &[f32], size: [usize; 2]) -> Vec<f32> {
        let grid = size.map(|s| s / PATCH);
        let positions = resample_positions(&self.get("positional_embedding"), WIDTH, 7, grid, PositionRule::BicubicShifted);
        let class = self.get("class_embedding");
        let x = reference::patch_embed(pixels, 1, size, PATCH, &self.get("conv1.weight"), Some((&class, &positions)));
        self.norm(&x, "ln_pre")
    }

    /// Queries, keys and values of a block, `[T, 3 C]`.
    pub fn qkv(&self, block: usize, x: &[f32]) -> Vec<f32> {
        let normed = self.norm(x, &format!("transformer.resblocks.{block}.ln_1"));
        self.linear(&normed, block, "attn.in_proj", Activation::None, None)
    }

    /// Heads' outputs through the block's output projection.
    pub fn project(&self, block: usize, heads: &[f32]) -> Vec<f32> {
        self.linear(heads, block, "attn.out_proj", Activation::None, None)
    }

    /// x and its block's MLP.
    pub fn mlp(&self, block: usize, x: &[f32]) -> Vec<f32> {
        let normed = self.norm(x, &format!("transformer.resblocks.{block}.ln_2"));
        let inner = self.linear(&normed, block, "mlp.c_fc", self.activation, None);
        self.linear(&inner, block, "mlp.c_proj", Activation::None, Some(x))
    }

    /// A block as it was trained.
    pub fn ordinary(&self, block: usize, x: &[f32]) -> Vec<f32> {
        let segment = Segment { start: 0, len: (x.len() / WIDTH) as u32 };
        let heads = reference::attention(&self.qkv(block, x), &[segment], HEADS, scale(), false, (Projection::Query, Projection::Key));
        self.mlp(block, &sum(x, &self.project(block, &heads)))
    }

    /// The tokens before the last block.
    pub fn before_last(&self, pixels: &[f32], size: [usize; 2]) -> Vec<f32> {
        (0..self.blocks - 1).fold(self.start(pixels, size), |x, block| self.ordinary(block, &x))
    }

    /// Tokens behind the last block to features, `[T, D]`, not normalised.
    pub fn features(&self, x: &[f32]) -> Vec<f32> {
        let projection = self.get("proj");
        // `[C, D]` in the file.
        let rows: Vec<f32> = (0..EMBED).flat_map(|d| projection.iter().skip(d).step_by(EMBED).copied()).collect();
        reference::matmul(&self.norm(x, "ln_post"), &rows, [x.len() / WIDTH, WIDTH, EMBED], None, Activation::None, None)
    }
}

/// Of logits: one over the root of a head's size.
pub fn scale() -> f32 {
    (HEADS.size as f32).sqrt().recip()
}

pub fn sum(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// Logits of a pair of projections, `[heads, T, T]`.
pub fn logits(qkv: &[f32], pair: Projection) -> Vec<f32> {
    let segment = Segment { start: 0, len: (qkv.len() / (3 * WIDTH)) as u32 };
    reference::attention_scores(qkv, &[segment], HEADS, scale(), false, (pair, pair))
}

/// Softmax of rows of T.
pub fn weights(logits: &[f32], tokens: usize) -> Vec<f32> {
    reference::softmax(logits, tokens)
}

/// Values weighted by `[heads, T, T]`: heads' outputs beside each other, `[T, C]`.
pub fn weighted(qkv: &[f32], weights: &[f32]) -> Vec<f32> {
    let tokens = qkv.len() / (3 * WIDTH);
    let value = |token: usize, channel: usize| f64::from(qkv[token * 3 * WIDTH + 2 * WIDTH + channel]);
    let one = |token: usize, channel: usize| {
        let row = &weights[(channel / HEADS.size * tokens + token) * tokens..][..tokens];
        row.iter().enumerate().map(|(j, &w)| f64::from(w) * value(j, channel)).sum::<f64>() as f32
    };
    (0..tokens).flat_map(|token| (0..WIDTH).map(move |channel| (token, channel))).map(|(token, channel)| one(token, channel)).collect()
}

/// One of the three parts of `[T, 3 C]`.
pub fn part(qkv: &[f32], which: Projection) -> Vec<f32> {
    qkv.chunks_exact(3 * WIDTH).flat_map(|row| row[which as usize * WIDTH..][..WIDTH].to_vec()).collect()
}

/// Planes cut to a part: `[P, H, W]` of width `wide` -> `[P, h, w]` from (x, y), `size` (w, h).
pub fn cut(planes: &[f32], [wide, high]: [usize; 2], [x, y]: [usize; 2], size: [usize; 2]) -> Vec<f32> {
    let rows = |plane: &[f32]| (y..y + size[1]).flat_map(|row| plane[row * wide + x..][..size[0]].to_vec()).collect::<Vec<_>>();
    planes.chunks_exact(wide * high).flat_map(rows).collect()
}
