//! How a method changes the vision tower: plain data, the knobs that all training-free methods share. Blocks are numbered
//! from 1, as the papers do.

use crate::reference::{Activation, Projection};
use std::borrow::Cow;

/// How the last blocks are changed; plain CLIP is [`VisionPath::ORDINARY`].
#[derive(Clone, Debug, PartialEq)]
pub struct VisionPath {
    /// How many of the last blocks are changed, K; more than there are means all.
    pub blocks: u32,
    /// Two streams: attention always reads the ordinary one, its output accumulates in a second one.
    pub dual: bool,
    /// What attention sums up; empty: the identity, each token keeps its own value.
    pub terms: Cow<'static, [Term]>,
    /// Adds a Gaussian window of so many patches (its sigma) to all scores, 1 at the patch itself (NACLIP, arXiv 2404.08181).
    pub gaussian: Option<f32>,
    /// Mixes what a first pass found into the scores.
    pub logit_mix: Option<LogitMix>,
    /// Mixes attention of earlier blocks into the probabilities.
    pub post_mix: Option<PostMix>,
    /// Patches attend to patches only; there is no class row then that means anything.
    pub patches_only: bool,
    /// Add the stream's previous value. A second stream then starts at what enters the first changed block, else at nothing.
    pub residual: bool,
    /// Run the MLP behind the attention (single stream; a second stream never does).
    pub mlp: bool,
    /// Take the class row from the ordinary stream (dual only).
    pub ordinary_class_row: bool,
    /// Adds so much of the class row that enters the changed block to every patch behind it.
    pub class_share: f32,
    /// Mends outlying patches before the changed block.
    pub repair: Option<Repair>,
    /// Averages patches with those like them, before or behind the changed block.
    pub aggregate: Cow<'static, [Aggregate]>,
    /// The sum of these blocks' tokens (first, last) goes through the changed block too, and what comes out is added.
    pub fuse: Option<[u32; 2]>,
    /// The depth that numbers of earlier blocks (of `terms`, `post_mix`, `aggregate`, `fuse`) belong to: in a model of another depth
    /// they stand for the blocks at the same share of the way. `None`: they are the model's own.
    pub numbered_for: Option<u32>,
    /// Another activation than the model's, in all blocks, where a method's own code has one.
    pub activation: Option<Activation>,
    /// Another epsilon of layer norms than the model's.
    pub eps: Option<f32>,
    /// What happens in a ResNet instead, which has one attention, in its pool; `None`: the method means nothing there.
    pub pool: Option<PoolPath>,
}

/// One softmax of the sum that weights the values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Term {
    /// What is compared with what.
    pub pair: Pair,
    /// Directions alone are compared: P and Q divided by their length, per head and token.
    pub unit: bool,
    /// What the products are multiplied by.
    pub scale: Scale,
    /// So many times first X becomes softmax(scale X X^T) X (GEM, arXiv 2312.00878); needs `unit` and P = Q.
    pub iterations: u32,
    /// What the softmax is multiplied by. Weights need not sum to 1, and none is normalised.
    pub weight: f32,
}

/// What plays P and Q.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pair {
    /// Projections of the block's own tokens.
    Projections(Projection, Projection),
    /// Nothing: patches see each other by place alone, by the `gaussian` window as large as the scores of these projections would be
    /// (the neighbourhood-only mode of NACLIP's code).
    Neighbourhood(Projection, Projection),
    /// The cosines of the patches behind an earlier block, minus their mean, times `sharpness`; below the mean a patch is
    /// not seen at all. Needs `patches_only` (SC-CLIP, arXiv 2411.15869).
    Similarity {
        /// Behind which block.
        block: u32,
        /// 3 in the original.
        sharpness: f32,
    },
}

/// What dot products are multiplied by before the softmax.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// head size^-0.5 times this.
    Head(f32),
    /// This.
    Constant(f32),
    /// head size^-0.5 times the mean length of the tokens that enter the projections, image by image (GEM).
    TokenLength,
}

/// Scores become `tau ((1 - lambda) score + lambda M / max M)`, M telling which patches a first pass gave the same name
/// (ResCLIP, arXiv 2411.15851).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "toml", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct LogitMix {
    /// Multiplies all.
    pub tau: f32,
    /// The share of M.
    pub lambda: f32,
    /// Pixels whose best name is less probable than this count as name 0.
    pub threshold: f32,
    /// Patches of one name weigh less if the way between them leads over another.
    pub path_rule: bool,
}

/// Attention becomes `tau ((1 - lambda) A + lambda mean of those of earlier blocks)`, per head (ResCLIP, ITACLIP).
#[derive(Clone, Debug, PartialEq)]
pub struct PostMix {
    /// Multiplies all.
    pub tau: f32,
    /// The share of the earlier blocks.
    pub lambda: f32,
    /// Which; of those that lie before the changed block.
    pub blocks: Cow<'static, [u32]>,
    /// What is compared there, summed up, by ordinary scale.
    pub pairs: Cow<'static, [(Projection, Projection)]>,
}

/// Local outlier factors of the patches that enter the changed block; each outlier becomes the mean of its neighbours on the
/// grid that are none (SC-CLIP).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "toml", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Repair {
    /// Nearest patches that a patch is compared with, 30.
    pub neighbours: u32,
    /// The share of patches that count as outliers, 0.05.
    pub contamination: f32,
}

/// Patches become the mean of all patches, weighted by their cosines behind `block` where these reach `threshold` (SC-CLIP).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "toml", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Aggregate {
    /// Before the changed block, or behind it. Before it, outliers are mended in the compared tokens too.
    pub before: bool,
    /// Behind which block tokens are compared.
    pub block: u32,
    /// Cosines below count 0.
    pub threshold: f32,
}

/// How a ResNet's attention pool is changed. All rows come out, projected; a transformer ignores it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoolPath {
    /// What plays P and Q in softmax(P Q^T) V; `None`: the identity, each token keeps its own value.
    pub attention: Option<(Projection, Projection)>,
    /// What dot products of [unit values](Projection::UnitValue) are multiplied by, beside size^-0.5.
    pub sharpness: f32,
    /// Take the class row from the ordinary attention.
    pub ordinary_class_row: bool,
}

impl PoolPath {
    /// Plain CLIP, every token projected.
    pub const ORDINARY: PoolPath =
        PoolPath { attention: Some((Projection::Query, Projection::Key)), sharpness: 1.0, ordinary_class_row: false };
}

impl Term {
    /// `softmax(head size^-0.5 P Q^T)`.
    pub const fn of(p: Projection, q: Projection) -> Term {
        Term { pair: Pair::Projections(p, q), unit: false, scale: Scale::Head(1.0), iterations: 0, weight: 1.0 }
    }
}

impl VisionPath {
    /// Plain CLIP, every token projected.
    pub const ORDINARY: VisionPath = VisionPath {
        blocks: 0,
        dual: false,
        terms: Cow::Borrowed(&[Term::of(Projection::Query, Projection::Key)]),
        gaussian: None,
        logit_mix: None,
        post_mix: None,
        patches_only: false,
        residual: true,
        mlp: true,
        ordinary_class_row: false,
        class_share: 0.0,
        repair: None,
        aggregate: Cow::Borrowed(&[]),
        fuse: None,
        numbered_for: None,
        activation: None,
        eps: None,
        pool: Some(PoolPath::ORDINARY),
    };

    /// P and Q if this is a single softmax of two projections with nothing added: one path of the plain attention.
    pub(crate) fn plain(&self) -> Option<(Projection, Projection)> {
        let [Term { pair: Pair::Projections(p, q), unit: false, scale: Scale::Head(1.0), iterations: 0, weight: 1.0 }] = *self.terms else {
            return None;
        };
        let alone = self.gaussian.is_none() && self.logit_mix.is_none() && self.post_mix.is_none() && !self.patches_only;
        alone.then_some((p, q))
    }

    /// The same for a model of so many blocks: numbers of earlier blocks are its own.
    pub(crate) fn numbered(&self, layers: u32) -> VisionPath {
        let Some(depth) = self.numbered_for.filter(|&depth| depth > 0 && depth != layers) else {
            return VisionPath { numbered_for: None, ..self.clone() };
        };
        let own = |number: u32| {
            ((u64::from(number) * u64::from(layers) + u64::from(depth / 2)) / u64::from(depth))
                .clamp(1, u64::from(layers.saturating_sub(1).max(1))) as u32
        };
        let mut path = VisionPath { numbered_for: None, ..self.clone() };
        for term in path.terms.to_mut() {
            if let Pair::Similarity { block, .. } = &mut term.pair {
                *block = own(*block);
            }
        }
        for aggregate in path.aggregate.to_mut() {
            aggregate.block = own(aggregate.block);
        }
        path.fuse = path.fuse.map(|ends| ends.map(own));
        if let Some(mix) = &mut path.post_mix {
            let mut blocks: Vec<u32> = mix.blocks.iter().map(|&number| own(number)).collect();
            blocks.dedup();
            mix.blocks = blocks.into();
        }
        path
    }

    /// Blocks that must lie before the last one.
    fn earlier_blocks(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        let similar = self.terms.iter().filter_map(|t| match t.pair {
            Pair::Similarity { block, .. } => Some(("terms", block)),
            Pair::Projections(..) | Pair::Neighbourhood(..) => None,
        });
        let aggregated = self.aggregate.iter().map(|a| ("aggregate", a.block));
        let fused = self.fuse.iter().flatten().map(|&block| ("fuse", block));
        similar.chain(aggregated).chain(fused)
    }

    /// Why this means nothing, by the knob's name; `None` if it is sound.
    pub(crate) fn contradiction(&self) -> Option<String> {
        let wrong = |what: &str| Some(what.to_owned());
        if self.dual && self.terms.is_empty() {
            return wrong("a dual method needs an attention term: the identity has no second stream to compute");
        }
        if self.dual && self.blocks == 0 {
            return wrong("dual with 0 blocks: there is no second stream; set dual to false");
        }
        if self.dual && self.mlp {
            return wrong("dual with mlp: a second stream has no MLP; set mlp to false");
        }
        if self.ordinary_class_row && !self.dual {
            return wrong("ordinary_class_row needs dual: there is only one stream to take it from");
        }
        if self.terms.is_empty() && (self.gaussian.is_some() || self.logit_mix.is_some() || self.post_mix.is_some()) {
            return wrong("gaussian, logit_mix and post_mix need a term: the identity has no scores");
        }
        if self.blocks == 0 && (self.gaussian.is_some() || self.logit_mix.is_some() || self.post_mix.is_some() || self.patches_only) {
            return wrong("blocks is 0, so gaussian, logit_mix, post_mix and patches_only change nothing; set blocks to 1 or more");
        }
        if self.gaussian.is_some() && self.patches_only {
            return wrong("the gaussian window is of all tokens, and patches_only leaves the class token out; use one of the two");
        }
        let once = self.repair.is_some() || !self.aggregate.is_empty() || self.fuse.is_some() || self.class_share != 0.0;
        if once && (self.dual || self.blocks != 1) {
            return wrong(
                "repair, aggregate, fuse and class_share belong to one changed block of a single stream; set blocks to 1, dual to false",
            );
        }
        for term in self.terms.iter() {
            if matches!(term.pair, Pair::Neighbourhood(..)) && (self.gaussian.is_none() || self.patches_only || self.logit_mix.is_some()) {
                return wrong(
                    "a neighbourhood term is the gaussian window of all tokens alone: set gaussian, and neither patches_only nor logit_mix",
                );
            }
            if let Some(what) = term.contradiction(self.patches_only) {
                return Some(what);
            }
        }
        let numbers = [
            ("gaussian", self.gaussian, false),
            ("logit_mix.tau", self.logit_mix.map(|m| m.tau), false),
            ("logit_mix.lambda", self.logit_mix.map(|m| m.lambda), true),
            ("logit_mix.threshold", self.logit_mix.map(|m| m.threshold), true),
            ("post_mix.tau", self.post_mix.as_ref().map(|m| m.tau), false),
            ("post_mix.lambda", self.post_mix.as_ref().map(|m| m.lambda), true),
            ("repair.contamination", self.repair.map(|r| r.contamination), true),
            ("eps", self.eps, false),
            ("numbered_for", self.numbered_for.map(|depth| depth as f32), false),
        ];
        for (knob, value, share) in numbers {
            if value.is_some_and(|v| !(v.is_finite() && if share { (0.0..=1.0).contains(&v) } else { v > 0.0 })) {
                return Some(format!("{knob} must be {}", if share { "between 0 and 1" } else { "a positive number" }));
            }
        }
        if !self.class_share.is_finite() || self.aggregate.iter().any(|a| !a.threshold.is_finite()) {
            return wrong("class_share and aggregate.threshold must be finite numbers");
        }
        if self.post_mix.as_ref().is_some_and(|m| m.blocks.is_empty() || m.pairs.is_empty()) {
            return wrong("post_mix needs at least one block and one pair");
        }
        let unit = |pair: &(Projection, Projection)| [pair.0, pair.1].contains(&Projection::UnitValue);
        if self.post_mix.as_ref().is_some_and(|m| m.pairs.iter().any(unit)) {
            return wrong("unit values are for the attention pool of a ResNet (pool.attention), not for transformer blocks");
        }
        if self.logit_mix.is_some() && self.patches_only {
            return wrong("logit_mix needs the class token among the tokens; set patches_only to false");
        }
        if self.repair.is_some_and(|r| r.neighbours == 0) {
            return wrong("repair.neighbours must be at least 1");
        }
        if self.fuse.is_some_and(|[first, last]| first > last) {
            return wrong("fuse must name a first and a last block in this order");
        }
        self.pool.and_then(PoolPath::contradiction)
    }

    /// Why a transformer of so many blocks cannot do this.
    pub(crate) fn too_deep_for(&self, layers: u32) -> Option<String> {
        if layers < 2 && self.numbered_for.is_some() {
            return Some("its terms are of blocks before the last, and this model has no other block".into());
        }
        let path = self.numbered(layers);
        path.own_blocks_too_deep_for(layers)
    }

    fn own_blocks_too_deep_for(&self, layers: u32) -> Option<String> {
        let beyond = self.earlier_blocks().find(|&(_, block)| block == 0 || block >= layers);
        if let Some((knob, block)) = beyond {
            return Some(format!("{knob} names block {block}; this model has {layers}, and it must lie before the last"));
        }
        let mixed = self.post_mix.as_ref().filter(|m| !m.blocks.iter().any(|&block| block >= 1 && block < layers))?;
        Some(format!("post_mix names blocks {:?}; this model has {layers}, and none of them lies before the last", mixed.blocks))
    }
}

/// Attentions on top of each other; GEM has 1, and every one costs an attention.
const MOST_ITERATIONS: u32 = 64;

impl Term {
    fn contradiction(&self, patches_only: bool) -> Option<String> {
        let wrong = |what: &str| Some(what.to_owned());
        if !self.weight.is_finite() {
            return wrong("a term's weight must be a finite number");
        }
        if let Scale::Head(x) | Scale::Constant(x) = self.scale
            && !(x.is_finite() && x > 0.0)
        {
            return wrong("a term's scale must be a positive number");
        }
        match self.pair {
            Pair::Projections(p, q) if [p, q].contains(&Projection::UnitValue) => {
                wrong("unit values are for the attention pool of a ResNet (pool.attention); for transformer blocks set unit on the term")
            }
            _ if self.iterations > MOST_ITERATIONS => Some(format!("iterations must be at most {MOST_ITERATIONS}")),
            Pair::Projections(p, q) if self.iterations > 0 && (p != q || !self.unit) => {
                wrong("iterations need unit and a projection compared with itself")
            }
            Pair::Projections(..) if self.scale == Scale::TokenLength && !self.unit => {
                wrong("the scale token_length is for directions; set unit on the term")
            }
            Pair::Neighbourhood(p, q) if [p, q].contains(&Projection::UnitValue) => wrong("a neighbourhood is of queries, keys or values"),
            Pair::Neighbourhood(..) if self.unit || self.iterations > 0 || !matches!(self.scale, Scale::Head(_) | Scale::Constant(_)) => {
                wrong("a neighbourhood term has a scale and a weight; unit and iterations mean nothing there")
            }
            Pair::Similarity { .. } if !patches_only => wrong("a similarity of patches needs patches_only: the class token has none"),
            Pair::Similarity { .. } if self.unit || self.iterations > 0 || self.scale != Scale::Head(1.0) => {
                wrong("a similarity of patches has its own sharpness; unit, iterations and scale mean nothing there")
            }
            Pair::Similarity { sharpness, .. } if !(sharpness.is_finite() && sharpness > 0.0) => {
                wrong("a similarity's sharpness must be a positive number")
            }
            _ => None,
        }
    }
}

impl PoolPath {
    fn contradiction(self) -> Option<String> {
        let wrong = |what: &str| Some(what.to_owned());
        let unit = self.attention.is_some_and(|(p, q)| [p, q].contains(&Projection::UnitValue));
        if !(self.sharpness.is_finite() && self.sharpness > 0.0) {
            return wrong("pool.sharpness must be a positive number");
        }
        if self.sharpness != 1.0 && !unit {
            return wrong("pool.sharpness other than 1 needs unit values in pool.attention");
        }
        if self.ordinary_class_row && self.attention.is_none() {
            return wrong("pool.ordinary_class_row needs pool.attention: the identity has no second row to take");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_all_tokens_needs_the_class_token() {
        let terms = vec![Term::of(Projection::Query, Projection::Query)].into();
        let window = VisionPath { blocks: 1, terms, gaussian: Some(5.0), ..VisionPath::ORDINARY };
        assert_eq!(window.contradiction(), None);
        assert!(VisionPath { patches_only: true, ..window }.contradiction().unwrap().contains("leaves the class token out"));
    }

    #[test]
    fn numbers_of_blocks_follow_the_depth() {
        let mix = PostMix {
            tau: 1.0,
            lambda: 0.5,
            blocks: Cow::Borrowed(&[7, 8, 10]),
            pairs: Cow::Borrowed(&[(Projection::Query, Projection::Key)]),
        };
        let aggregate = Aggregate { before: true, block: 9, threshold: 0.4 };
        let path = VisionPath {
            blocks: 1,
            post_mix: Some(mix),
            aggregate: vec![aggregate].into(),
            fuse: Some([4, 10]),
            numbered_for: Some(12),
            ..VisionPath::ORDINARY
        };
        let of = |layers| {
            let own = path.numbered(layers);
            (own.post_mix.unwrap().blocks.into_owned(), own.aggregate[0].block, own.fuse.unwrap())
        };
        assert_eq!(of(12), (vec![7, 8, 10], 9, [4, 10]));
        assert_eq!(of(24), (vec![14, 16, 20], 18, [8, 20]));
        assert_eq!(of(6), (vec![4, 5], 5, [2, 5]));
        assert_eq!(path.too_deep_for(2), None);
        assert!(path.too_deep_for(1).unwrap().contains("no other block"));
        let own = VisionPath { numbered_for: None, ..path };
        assert!(own.too_deep_for(8).unwrap().contains("block 9"));
    }
}
