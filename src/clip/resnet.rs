//! The vision tower of RN50, RN101, RN50x4, RN50x16 and RN50x64: CLIP's ResNet.
//!
//! Against the usual ResNet: a stem of three 3x3 convolutions, every stride an average pool in front of a convolution, and
//! an attention pool at the end, whose rows are the tokens that methods look at. Source: "Learning Transferable Visual
//! Models From Natural Language Supervision" (Radford et al., 2021), section 2.4. Batch norms are folded when loaded.

use crate::clip::attention_pool::AttentionPool;
use crate::clip::block::Linear;
use crate::clip::config::{ClipConfig, ResNetConfig};
use crate::clip::loader::Loader;
use crate::clip::path::VisionPath;
use crate::clip::positions::PositionRule;
use crate::clip::vision::images_and_grid;
use crate::error::{Error, Result};
use crate::gpu::{PlanBuilder, Value};
use crate::ops::{self, Map, Residual};
use crate::reference::Activation;
use crate::shape::DType;

/// Channels of a bottleneck's output per channel inside.
const EXPANSION: u32 = 4;

/// Weights of a ResNet on the GPU.
#[derive(Debug)]
pub(crate) struct ResNet {
    config: ClipConfig,
    /// `[27, w / 2]`, then `[w / 2, 9 w / 2]` and `[w, 9 w / 2]`.
    stem: [Linear; 3],
    layers: Vec<Vec<Bottleneck>>,
    pool: AttentionPool,
}

/// 1x1, 3x3, 1x1 convolutions and a way around them.
#[derive(Debug)]
struct Bottleneck {
    conv1: Linear,
    conv2: Linear,
    conv3: Linear,
    /// Where the number of channels changes.
    downsample: Option<Linear>,
    /// Halves width and height.
    halves: bool,
}

/// Where a bottleneck stands: its name, channels in, channels inside, whether it halves the map.
struct Place {
    name: String,
    from: u32,
    planes: u32,
    first: bool,
    halves: bool,
}

/// The bottlenecks of layer `l` (0..4) in order.
fn places(tower: ResNetConfig, l: usize) -> impl Iterator<Item = Place> {
    let planes = tower.width << l;
    // The stem leaves w channels; a layer before leaves 4 times half as many as are inside here.
    let before = if l == 0 { tower.width } else { EXPANSION * planes / 2 };
    (0..tower.layers[l]).map(move |i| Place {
        name: format!("visual.layer{}.{i}", l + 1),
        from: if i == 0 { before } else { EXPANSION * planes },
        planes,
        first: i == 0,
        halves: i == 0 && l > 0,
    })
}

impl ResNet {
    pub fn load(loader: &Loader<'_>, config: &ClipConfig, tower: ResNetConfig) -> Result<ResNet> {
        let half = tower.width / 2;
        Ok(ResNet {
            stem: [
                loader.stem("visual.conv1.weight", "visual.bn1", half)?,
                loader.conv("visual.conv2.weight", "visual.bn2", [half, half, 3])?,
                loader.conv("visual.conv3.weight", "visual.bn3", [tower.width, half, 3])?,
            ],
            layers: (0..4).map(|l| places(tower, l).map(|place| Bottleneck::load(loader, &place)).collect()).collect::<Result<_>>()?,
            pool: AttentionPool::load(loader, config, tower)?,
            config: config.clone(),
        })
    }

    /// OpenAI names and shapes of the tower's tensors.
    pub fn tensors(config: &ClipConfig, tower: ResNetConfig) -> Vec<(String, Vec<u32>)> {
        let (w, half) = (tower.width, tower.width / 2);
        let mut all = Vec::new();
        let mut conv = |weight: String, norm: String, n: u32, c: u32, side: u32| {
            all.push((weight, vec![n, c, side, side]));
            all.extend(["weight", "bias", "running_mean", "running_var"].map(|part| (format!("{norm}.{part}"), vec![n])));
        };
        for (i, n, c) in [(1, half, 3), (2, half, half), (3, w, half)] {
            conv(format!("visual.conv{i}.weight"), format!("visual.bn{i}"), n, c, 3);
        }
        for Place { name, from, planes, first, .. } in (0..4).flat_map(|l| places(tower, l)) {
            conv(format!("{name}.conv1.weight"), format!("{name}.bn1"), planes, from, 1);
            conv(format!("{name}.conv2.weight"), format!("{name}.bn2"), planes, planes, 3);
            conv(format!("{name}.conv3.weight"), format!("{name}.bn3"), EXPANSION * planes, planes, 1);
            if first {
                conv(format!("{name}.downsample.0.weight"), format!("{name}.downsample.1"), EXPANSION * planes, from, 1);
            }
        }
        all.extend(AttentionPool::tensors(config, tower));
        all
    }

    /// Pixels `[B, 3, H, W]` -> projected tokens `[B (1 + N), D]`, not normalised, the mean's row first in each image.
    pub fn plan(&self, b: &mut PlanBuilder, pixels: Value, path: &VisionPath, rule: PositionRule, act: DType) -> Result<Value> {
        let pool = path.pool.ok_or_else(|| Error::Input {
            what: "the method changes transformer blocks and says nothing of a ResNet's attention pool; set `pool`".into(),
        })?;
        images_and_grid(&self.config, pixels)?;
        let [conv1, conv2, conv3] = &self.stem;
        let mut x = b.scope("stem", |b| {
            let x = ops::conv_stem(b, "conv1", pixels, &conv1.weight, &conv1.bias, act)?;
            let x = ops::conv3x3(b, "conv2", x, &conv2.weight, &conv2.bias, Activation::Relu)?;
            let x = ops::conv3x3(b, "conv3", x, &conv3.weight, &conv3.bias, Activation::Relu)?;
            ops::avg_pool(b, "avg_pool", x)
        })?;
        b.name(x.value, "stem");
        for (layer, blocks) in (1..).zip(&self.layers) {
            for (i, block) in blocks.iter().enumerate() {
                x = b.scope(format!("layer{layer}.{i}"), |b| block.plan(b, x))?;
            }
            b.name(x.value, &format!("layer{layer}"));
        }
        let features = b.scope("attnpool", |b| self.pool.plan(b, x, &pool, rule))?;
        b.name(features, "features");
        Ok(features)
    }
}

impl Bottleneck {
    fn load(loader: &Loader<'_>, place: &Place) -> Result<Bottleneck> {
        let Place { name, from, planes, first, halves } = place;
        let conv = |i: u32, shape: [u32; 3]| loader.conv(&format!("{name}.conv{i}.weight"), &format!("{name}.bn{i}"), shape);
        let around =
            || loader.conv(&format!("{name}.downsample.0.weight"), &format!("{name}.downsample.1"), [EXPANSION * planes, *from, 1]);
        Ok(Bottleneck {
            conv1: conv(1, [*planes, *from, 1])?,
            conv2: conv(2, [*planes, *planes, 3])?,
            conv3: conv(3, [EXPANSION * planes, *planes, 1])?,
            downsample: first.then(around).transpose()?,
            halves: *halves,
        })
    }

    fn plan(&self, b: &mut PlanBuilder, x: Map) -> Result<Map> {
        let y = Map { value: self.conv1.apply(b, "conv1", x.value, Activation::Relu, Residual::None)?, ..x };
        let mut y = ops::conv3x3(b, "conv2", y, &self.conv2.weight, &self.conv2.bias, Activation::Relu)?;
        let mut around = x;
        if self.halves {
            y = ops::avg_pool(b, "avg_pool", y)?;
            around = ops::avg_pool(b, "downsample.avg_pool", x)?;
        }
        let around = match &self.downsample {
            Some(conv) => conv.apply(b, "downsample", around.value, Activation::None, Residual::None)?,
            None => around.value,
        };
        Ok(Map { value: self.conv3.apply(b, "conv3", y.value, Activation::None, Residual::ThenRelu(around))?, ..y })
    }
}
