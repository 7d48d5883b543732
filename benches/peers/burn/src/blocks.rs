//! What both towers are made of.

use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::module::{attention, layer_norm, linear};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Tensor};

use crate::weights::Weights;

pub const LAYERS: usize = 12;
pub const EMBED: usize = 512;
/// Channels of a head.
const HEAD: usize = 64;
const EPS: f64 = 1e-5;

pub struct Norm {
    gain: Tensor<1>,
    bias: Tensor<1>,
}

impl Norm {
    pub fn load(w: &mut Weights, name: &str, width: usize, device: &Device) -> Result<Self, String> {
        Ok(Norm {
            gain: w.vector(&format!("{name}.weight"), width, 1.0, 0.02, device)?,
            bias: w.vector(&format!("{name}.bias"), width, 0.0, 0.02, device)?,
        })
    }

    pub fn apply(&self, x: Tensor<3>) -> Tensor<3> {
        layer_norm(x, self.gain.clone(), Some(self.bias.clone()), EPS)
    }
}

struct Dense {
    /// [in, out], as burn's own `Linear` keeps it.
    weight: Tensor<2>,
    bias: Tensor<1>,
}

impl Dense {
    pub fn load(w: &mut Weights, (weight, bias): (&str, &str), [inputs, outputs]: [usize; 2], device: &Device) -> Result<Self, String> {
        Ok(Dense { weight: w.matrix_transposed(weight, &[outputs, inputs], device)?, bias: w.vector(bias, outputs, 0.0, 0.02, device)? })
    }

    pub fn apply(&self, x: Tensor<3>) -> Tensor<3> {
        linear(x, self.weight.clone(), Some(self.bias.clone()))
    }
}

pub struct Block {
    norm1: Norm,
    qkv: Dense,
    out: Dense,
    norm2: Norm,
    up: Dense,
    down: Dense,
}

impl Block {
    /// `stem`: what the names of its weights begin with.
    pub fn load(w: &mut Weights, stem: &str, width: usize, device: &Device) -> Result<Self, String> {
        let at = |tail: &str| format!("{stem}.{tail}");
        let mut dense = |stem: &str, weight: &str, bias: &str, shape: [usize; 2]| {
            let (weight, bias) = (at(&format!("{stem}{weight}")), at(&format!("{stem}{bias}")));
            Dense::load(w, (&weight, &bias), shape, device)
        };
        let (wide, square) = (4 * width, [width, width]);
        Ok(Block {
            qkv: dense("attn.", "in_proj_weight", "in_proj_bias", [width, 3 * width])?,
            out: dense("attn.out_proj.", "weight", "bias", square)?,
            up: dense("mlp.c_fc.", "weight", "bias", [width, wide])?,
            down: dense("mlp.c_proj.", "weight", "bias", [wide, width])?,
            norm1: Norm::load(w, &at("ln_1"), width, device)?,
            norm2: Norm::load(w, &at("ln_2"), width, device)?,
        })
    }

    /// `layers`: burn's own attention; `mask` `[T, T]` is added to the scores.
    pub fn apply(&self, x: Tensor<3>, layers: bool, mask: Option<&Tensor<4>>) -> Tensor<3> {
        let [batch, tokens, width] = x.dims();
        let heads = width / HEAD;
        let qkv = self.qkv.apply(self.norm1.apply(x.clone()));
        let part = |i: usize| qkv.clone().narrow(2, i * width, width).reshape([batch, tokens, heads, HEAD]).swap_dims(1, 2);
        let (q, k, v) = (part(0), part(1), part(2));
        let mixed = if layers {
            // The default scale is 1/sqrt(head width), CLIP's own.
            attention(q, k, v, None, None, AttentionModuleOptions::default())
        } else {
            let scores = q.matmul(k.swap_dims(2, 3)) * (HEAD as f32).sqrt().recip();
            softmax(mask.map_or(scores.clone(), |mask| scores + mask.clone()), 3).matmul(v)
        };
        let mixed = mixed.swap_dims(1, 2).reshape([batch, tokens, width]);
        let x = x + self.out.apply(mixed);
        let hidden = self.up.apply(self.norm2.apply(x.clone()));
        let hidden = hidden.clone() * sigmoid(hidden * 1.702); // QuickGELU
        x + self.down.apply(hidden)
    }
}
