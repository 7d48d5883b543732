//! The image encoder.

use burn::tensor::module::{conv2d, linear};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};

use crate::blocks::{Block, EMBED, LAYERS, Norm};
use crate::weights::Weights;

const WIDTH: usize = 768;
pub const SIZE: usize = 224;

/// The patch convolution: its stride is its kernel, so it is also one matrix product.
enum Patches {
    Convolution(Tensor<4>),
    Product(Tensor<2>),
}

pub struct Encoder {
    patches: Patches,
    class: Tensor<3>,
    positions: Tensor<3>,
    norm_pre: Norm,
    blocks: Vec<Block>,
    norm_post: Norm,
    projection: Tensor<2>,
    patch: usize,
}

impl Encoder {
    pub fn load(w: &mut Weights, patch: usize, layers: bool, device: &Device) -> Result<Self, String> {
        let tokens = (SIZE / patch).pow(2) + 1;
        let (name, shape) = ("visual.conv1.weight", [WIDTH, 3, patch, patch]);
        let patches = if layers {
            Patches::Convolution(w.tensor(name, shape, device)?)
        } else {
            Patches::Product(w.matrix_transposed(name, &shape, device)?)
        };
        Ok(Encoder {
            patches,
            class: w.vector("visual.class_embedding", WIDTH, 0.0, 0.02, device)?.reshape([1, 1, WIDTH]),
            positions: w.tensor("visual.positional_embedding", [tokens, WIDTH], device)?.reshape([1, tokens, WIDTH]),
            norm_pre: Norm::load(w, "visual.ln_pre", WIDTH, device)?,
            blocks: (0..LAYERS)
                .map(|index| Block::load(w, &format!("visual.transformer.resblocks.{index}"), WIDTH, device))
                .collect::<Result<_, _>>()?,
            norm_post: Norm::load(w, "visual.ln_post", WIDTH, device)?,
            projection: w.tensor("visual.proj", [WIDTH, EMBED], device)?,
            patch,
        })
    }

    /// `[1, 3, 224, 224]` to the embedding of every token, `[1, tokens, 512]`.
    pub fn apply(&self, image: Tensor<4>) -> Tensor<3> {
        let (patch, grid) = (self.patch, SIZE / self.patch);
        let x = match &self.patches {
            Patches::Convolution(weight) => {
                let options = ConvOptions::new([patch, patch], [0, 0], [1, 1], 1);
                let x = conv2d(image, weight.clone(), None, options);
                x.flatten(2, 3).swap_dims(1, 2)
            }
            Patches::Product(weight) => {
                let x: Tensor<5> = image.reshape([3, grid, patch, grid, patch]);
                let x = x.permute([1, 3, 0, 2, 4]);
                let x = x.reshape([1, grid * grid, 3 * patch * patch]);
                linear(x, weight.clone(), None)
            }
        };
        let x = Tensor::cat(vec![self.class.clone(), x], 1) + self.positions.clone();
        let x = self.norm_pre.apply(x);
        let layers = matches!(self.patches, Patches::Convolution(_));
        let x = self.blocks.iter().fold(x, |x, block| block.apply(x, layers, None));
        linear(self.norm_post.apply(x), self.projection.clone(), None)
    }
}

/// A fixed picture: smooth waves, about the range of a normalised photograph.
pub fn picture() -> Vec<f32> {
    (0..3 * SIZE * SIZE)
        .map(|i| {
            let (c, y, x) = (i / (SIZE * SIZE), i / SIZE % SIZE, i % SIZE);
            ((x as f32 * 0.07 + c as f32).sin() + (y as f32 * 0.05).cos()) * 0.9
        })
        .collect()
}
