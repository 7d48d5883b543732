//! The text tower: packed ragged prompts, only the tokens up to the end marker.
//!
//! The mask is causal, so nothing behind the end marker reaches the pooled feature: running the real length is exact.

use crate::clip::block::{Block, Norm, Single};
use crate::clip::config::ClipConfig;
use crate::clip::loader::Loader;
use crate::clip::tokenizer::end_position;
use crate::error::Result;
use crate::gpu::{PlanBuilder, Tensor, Value};
use crate::ops::{self, MatmulArgs, Residual, Tiles};
use crate::reference::{Activation, Segment};
use crate::shape::DType;
use crate::weights::Weights;
use std::collections::BTreeMap;

/// Weights of the text tower on the GPU. The token table stays in the file: only rows in use are uploaded.
#[derive(Debug)]
pub(crate) struct TextTower {
    config: ClipConfig,
    token_table: String,
    positions: Tensor,
    blocks: Vec<Block>,
    ln_final: Norm,
    /// `[D, C]`.
    projection: Tensor,
}

/// Prompts packed one behind the other.
#[derive(Debug)]
pub(crate) struct Packed {
    /// (row of the compact table, position) per token.
    pub tokens: Vec<[u32; 2]>,
    /// Vocabulary ids of the compact table's rows.
    pub used: Vec<u32>,
    pub segments: Vec<Segment>,
    /// Packed row of each prompt's end marker.
    pub ends: Vec<u32>,
}

impl Packed {
    /// Packs token ids, each cut behind its first largest id (the end marker).
    pub fn new(prompts: &[Vec<u32>]) -> Packed {
        let mut rows: BTreeMap<u32, u32> = BTreeMap::new();
        for &id in prompts.iter().flatten() {
            rows.insert(id, 0);
        }
        for (row, slot) in rows.values_mut().enumerate() {
            *slot = row as u32;
        }
        let mut packed = Packed { tokens: Vec::new(), used: rows.keys().copied().collect(), segments: Vec::new(), ends: Vec::new() };
        for ids in prompts {
            let start = packed.tokens.len() as u32;
            let end = end_position(ids);
            packed.tokens.extend(ids[..=end].iter().enumerate().map(|(position, id)| [rows[id], position as u32]));
            packed.segments.push(Segment { start, len: end as u32 + 1 });
            packed.ends.push(start + end as u32);
        }
        packed
    }
}

impl TextTower {
    pub fn load(loader: &Loader<'_>, config: &ClipConfig) -> Result<TextTower> {
        let c = config.text.width;
        let token_table = loader.layout.locate("token_embedding.weight").names()[0].clone();
        Ok(TextTower {
            token_table,
            positions: loader.table("positional_embedding", &[config.context, c])?,
            blocks: (0..config.text.layers)
                .map(|i| Block::load(loader, &format!("transformer.resblocks.{i}"), config.text, config))
                .collect::<Result<_>>()?,
            ln_final: loader.norm("ln_final", c, config.eps)?,
            projection: loader.weight("text_projection", &[config.embed, c])?,
            config: config.clone(),
        })
    }

    /// OpenAI names and shapes of the tower's tensors.
    pub fn tensors(config: &ClipConfig) -> Vec<(String, Vec<u32>)> {
        let c = config.text.width;
        let mut all = vec![
            ("token_embedding.weight".to_owned(), vec![config.vocabulary, c]),
            ("positional_embedding".to_owned(), vec![config.context, c]),
            ("text_projection".to_owned(), vec![config.embed, c]),
            ("ln_final.weight".to_owned(), vec![c]),
            ("ln_final.bias".to_owned(), vec![c]),
        ];
        all.extend((0..config.text.layers).flat_map(|i| Block::tensors(&format!("transformer.resblocks.{i}"), config.text)));
        all
    }

    /// Packed prompts -> features at their end markers `[S, D]`, not normalised.
    pub fn plan(&self, b: &mut PlanBuilder, weights: &Weights, packed: &Packed, act: DType) -> Result<Value> {
        b.scope("text", |b| {
            let gpu = b.gpu().clone();
            let c = self.config.text.width;
            let count = packed.tokens.len() as u32;
            let rows = weights.rows(&self.token_table, &packed.used, "the token table")?;
            let table = gpu.upload("token_embedding", &[packed.used.len() as u32, c], DType::F32, &rows)?;
            let tokens = gpu.upload("tokens", &[count, 2], DType::U32, &packed.tokens)?;
            let tiles = Tiles::new(&gpu, &packed.segments, count)?;
            let ends = gpu.upload("ends", &[packed.ends.len() as u32], DType::U32, &packed.ends)?;
            let mut x = ops::token_embed(b, "token_embed", &tokens, &table, &self.positions, act)?;
            b.name(x, "embed_with_pos");
            for (i, block) in self.blocks.iter().enumerate() {
                b.scope(format!("block.{i}"), |b| {
                    x = block.single(b, x, &tiles, true, Single::ORDINARY)?;
                    b.name(x, "ordinary");
                    Ok(())
                })?;
            }
            if b.inspecting() {
                let all = self.ln_final.apply(b, "ln_final_all", x)?;
                b.name(all, "after_ln_final");
            }
            let last = ops::gather_rows(b, "gather_rows", x, &ends)?;
            let normed = self.ln_final.apply(b, "ln_final", last)?;
            let args = MatmulArgs {
                x: normed,
                x_offset: 0,
                weight: &self.projection,
                bias: None,
                activation: Activation::None,
                residual: Residual::None,
            };
            let features = ops::matmul(b, "text_projection", args)?;
            b.name(features, "features");
            Ok(features)
        })
    }
}
