//! The text tower, over packed prompts: only the tokens up to the end marker, shared beginnings once.

use crate::clip::block::{Block, Norm};
use crate::clip::config::ClipConfig;
use crate::clip::loader::Loader;
use crate::clip::packed::Packed;
use crate::error::Result;
use crate::gpu::{PlanBuilder, Tensor, Value};
use crate::ops::{self, MatmulArgs, Residual, Tiles};
use crate::reference::Activation;
use crate::shape::DType;
use crate::weights::Weights;

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

    /// Packed prompts -> features of the wanted rows `[S, D]`, not normalised.
    pub fn plan(&self, b: &mut PlanBuilder, weights: &Weights, packed: &Packed, act: DType) -> Result<Value> {
        b.scope("text", |b| {
            let gpu = b.gpu().clone();
            let c = self.config.text.width;
            let count = packed.tokens.len() as u32;
            let rows = weights.rows(&self.token_table, &packed.used, "the token table")?;
            let table = gpu.upload("token_embedding", &[packed.used.len() as u32, c], DType::F32, &rows)?;
            let tokens = gpu.upload("tokens", &[count, 2], DType::U32, &packed.tokens)?;
            let tiles = Tiles::trie(&gpu, &packed.ends)?;
            let wanted = gpu.upload("wanted", &[packed.wanted.len() as u32], DType::U32, &packed.wanted)?;
            let mut x = ops::token_embed(b, "token_embed", &tokens, &table, &self.positions, act)?;
            b.name(x, "embed_with_pos");
            for (i, block) in self.blocks.iter().enumerate() {
                b.scope(format!("block.{i}"), |b| {
                    // Behind the last attention only the wanted rows go on, unless somebody looks at them all.
                    let last = i + 1 == self.blocks.len() && !b.inspecting();
                    x = if last { block.last(b, x, &tiles, &wanted)? } else { block.single(b, x, &tiles, true)? };
                    b.name(x, "ordinary");
                    Ok(())
                })?;
            }
            if b.inspecting() {
                let all = self.ln_final.apply(b, "ln_final_all", x)?;
                b.name(all, "after_ln_final");
                x = ops::gather_rows(b, "gather_rows", x, &wanted)?;
            }
            let normed = self.ln_final.apply(b, "ln_final", x)?;
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
