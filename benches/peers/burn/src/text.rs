//! The text tower.

use burn::tensor::module::linear;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::blocks::{Block, EMBED, LAYERS, Norm};
use crate::weights::Weights;

const WIDTH: usize = 512;
const VOCABULARY: usize = 49408;
pub const TOKENS: usize = 77;

pub struct Tower {
    table: Tensor<2>,
    positions: Tensor<3>,
    /// `[1, 1, 77, 77]`: no token sees those behind it.
    mask: Tensor<4>,
    blocks: Vec<Block>,
    norm: Norm,
    projection: Tensor<2>,
}

impl Tower {
    pub fn load(w: &mut Weights, device: &Device) -> Result<Self, String> {
        let hidden = (0..TOKENS * TOKENS).map(|i| if i % TOKENS > i / TOKENS { -1e30f32 } else { 0.0 }).collect::<Vec<_>>();
        Ok(Tower {
            table: w.tensor("token_embedding.weight", [VOCABULARY, WIDTH], device)?,
            positions: w.tensor("positional_embedding", [TOKENS, WIDTH], device)?.reshape([1, TOKENS, WIDTH]),
            mask: Tensor::from_data(TensorData::new(hidden, [1, 1, TOKENS, TOKENS]), device),
            blocks: (0..LAYERS)
                .map(|index| Block::load(w, &format!("transformer.resblocks.{index}"), WIDTH, device))
                .collect::<Result<_, _>>()?,
            norm: Norm::load(w, "ln_final", WIDTH, device)?,
            projection: w.tensor("text_projection", [WIDTH, EMBED], device)?,
        })
    }

    /// Ids of `prompts` padded to 77 tokens each, the end marker last, to `[prompts, 1, 512]`.
    pub fn apply(&self, ids: &[i32], prompts: usize, device: &Device) -> Tensor<3> {
        let ids: Tensor<1, Int> = Tensor::from_data(TensorData::new(ids.to_vec(), [prompts * TOKENS]), device);
        let x = self.table.clone().select(0, ids).reshape([prompts, TOKENS, WIDTH]) + self.positions.clone();
        let x = self.blocks.iter().fold(x, |x, block| block.apply(x, false, Some(&self.mask)));
        linear(self.norm.apply(x.narrow(1, TOKENS - 1, 1)), self.projection.clone(), None)
    }
}

/// Ids of no meaning, the same as the other peers'.
pub fn ids(prompts: usize) -> Vec<i32> {
    (0..prompts * TOKENS).map(|i| ((i * 7919 + 13) % VOCABULARY) as i32).collect()
}
