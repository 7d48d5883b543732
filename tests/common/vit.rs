//! A vision transformer on slices: what the GPU's must agree with.

use lancet::clip::{ClipConfig, VisionConfig};
use lancet::reference::{self as plain, Activation, Heads, Projection, Segment};

const ORDINARY: (Projection, Projection) = (Projection::Query, Projection::Key);
const VALUES: (Projection, Projection) = (Projection::Value, Projection::Value);

/// A config, and its tensors by their OpenAI name without `visual.`.
pub struct PlainVit<'a> {
    pub config: &'a ClipConfig,
    pub tensor: &'a dyn Fn(&str) -> Vec<f32>,
}

impl PlainVit<'_> {
    fn norm(&self, x: &[f32], name: &str) -> Vec<f32> {
        let [gain, bias] = ["weight", "bias"].map(|part| (self.tensor)(&format!("{name}.{part}")));
        plain::layer_norm(x, &gain, &bias, self.config.eps)
    }

    fn linear(&self, x: &[f32], name: [&str; 2], act: Activation, residual: Option<&[f32]>) -> Vec<f32> {
        let [weight, bias] = name.map(self.tensor);
        let (n, k) = (bias.len(), weight.len() / bias.len());
        plain::matmul(x, &weight, [x.len() / k, k, n], Some(&bias), act, residual)
    }

    /// Rows behind the last norm `[1 + N, C]` of packed RGBA8 pixels of the model's own size. The last `blocks` blocks are
    /// dual: each reads layer norm 1 of the ordinary stream and adds its v-v attention to the new one, which has no MLP.
    pub fn tokens(&self, rgba: &[u8], blocks: usize) -> Vec<f32> {
        let config = self.config;
        let VisionConfig::Transformer(tower) = config.vision else { panic!("not a ViT") };
        let (side, width) = (config.image_size() as usize, tower.width as usize);
        let pixels = plain::normalize(rgba, 1, [side; 2], config.mean, config.std);
        let [class, positions, patches] = ["class_embedding", "positional_embedding", "conv1.weight"].map(self.tensor);
        let embedded = plain::patch_embed(&pixels, 1, [side; 2], config.patch as usize, &patches, Some((&class, &positions)));
        let mut x = self.norm(&embedded, "ln_pre");
        let (tokens, layers) = (x.len() / width, tower.layers as usize);
        let mut new: Option<Vec<f32>> = None;
        for i in 0..layers {
            let name = |part: &str| format!("transformer.resblocks.{i}.{part}");
            let z = self.norm(&x, &name("ln_1"));
            let qkv = self.linear(&z, [&name("attn.in_proj_weight"), &name("attn.in_proj_bias")], Activation::None, None);
            let attended = |path, base: &[f32]| {
                let Heads { size, .. } = tower.heads;
                let all = [Segment { start: 0, len: tokens as u32 }];
                let y = plain::attention_capped(&qkv, &all, tower.heads, (size as f32).powf(-0.5), config.softcap, false, path);
                self.linear(&y, [&name("attn.out_proj.weight"), &name("attn.out_proj.bias")], Activation::None, Some(base))
            };
            if i + blocks >= layers {
                new = Some(attended(VALUES, new.as_ref().unwrap_or(&x)));
            }
            let y = attended(ORDINARY, &x);
            let z = self.norm(&y, &name("ln_2"));
            let hidden = self.linear(&z, [&name("mlp.c_fc.weight"), &name("mlp.c_fc.bias")], config.activation, None);
            x = self.linear(&hidden, [&name("mlp.c_proj.weight"), &name("mlp.c_proj.bias")], Activation::None, Some(&y));
        }
        let [gain, bias] = ["ln_post.weight", "ln_post.bias"].map(self.tensor);
        plain::layer_norm_merged(new.as_ref().unwrap_or(&x), &x, tokens, &gain, &bias, config.eps)
    }
}
