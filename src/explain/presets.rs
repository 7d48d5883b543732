//! The published methods beside CLIP Surgery, as plain data. Sources are the papers and their authors' repositories; where the
//! two differ, the repository counts.

use crate::clip::{Aggregate, LogitMix, Pair, PositionRule, PostMix, Repair, Scale, Term, VisionPath};
use crate::explain::method::{Maps, Method, Score};
use crate::explain::segment::Protocol;
use crate::explain::views::Views;
use crate::reference::{Activation, Projection};
use std::borrow::Cow;

const QQ: (Projection, Projection) = (Projection::Query, Projection::Query);
const KK: (Projection, Projection) = (Projection::Key, Projection::Key);
const VV: (Projection, Projection) = (Projection::Value, Projection::Value);
const QK: (Projection, Projection) = (Projection::Query, Projection::Key);

/// The last block alone, residual and MLP kept; the ResNet's pool is not what these papers are about.
const LAST: VisionPath = VisionPath { blocks: 1, pool: None, ..VisionPath::ORDINARY };
/// The last block's attention alone: neither residual nor MLP.
const REDUCED: VisionPath = VisionPath { residual: false, mlp: false, ..LAST };

const fn term(pair: (Projection, Projection)) -> Term {
    Term::of(pair.0, pair.1)
}

/// A third of GEM's ensemble: directions, once averaged with their like, by a scale that follows the tokens' length.
const fn iterated(pair: (Projection, Projection)) -> Term {
    Term { unit: true, scale: Scale::TokenLength, iterations: 1, weight: 1.0 / 3.0, ..term(pair) }
}

impl Method {
    /// MaskCLIP as its repository runs it: residual and MLP kept, exact GELU and another epsilon in all blocks.
    pub const MASK_CLIP_REPOSITORY: Method = Method {
        name: Cow::Borrowed("maskclip-repository"),
        about: Cow::Borrowed("MaskCLIP as its code runs it: residual, MLP, exact GELU (arXiv 2112.01071)"),
        vision: VisionPath { terms: Cow::Borrowed(&[]), activation: Some(Activation::Gelu), eps: Some(1e-6), ..LAST },
        score: Score::Cosine,
        maps: Maps::Stretched,
        positions: PositionRule::Bicubic,
        views: None,
        protocol: None,
    };

    /// SCLIP: queries with queries plus keys with keys; the two softmaxes are added, not averaged.
    pub const SCLIP: Method = Method {
        name: Cow::Borrowed("sclip"),
        about: Cow::Borrowed("q-q plus k-k attention in the last block (arXiv 2312.01597)"),
        vision: VisionPath { terms: Cow::Borrowed(&[term(QQ), term(KK)]), ..LAST },
        score: Score::Cosine,
        maps: Maps::Stretched,
        positions: PositionRule::BicubicShifted,
        views: None,
        protocol: Some(Protocol::Sclip),
    };

    /// GEM: a second stream as CLIP Surgery's, fed by an ensemble of iterated self-self attentions.
    pub const GEM: Method = Method {
        name: Cow::Borrowed("gem"),
        about: Cow::Borrowed("iterated v-v, k-k and q-q attention on a second stream (arXiv 2312.00878)"),
        vision: VisionPath {
            blocks: 6,
            dual: true,
            terms: Cow::Borrowed(&[iterated(VV), iterated(KK), iterated(QQ)]),
            mlp: false,
            pool: None,
            ..VisionPath::ORDINARY
        },
        score: Score::Cosine,
        maps: Maps::Resized,
        positions: PositionRule::BicubicAntialias,
        views: None,
        protocol: None,
    };

    /// ClearCLIP: queries with queries, and nothing of the last block's residual and MLP.
    pub const CLEAR_CLIP: Method = Method {
        name: Cow::Borrowed("clearclip"),
        about: Cow::Borrowed("q-q attention of the last block, no residual, no MLP (arXiv 2407.12442)"),
        vision: VisionPath { terms: Cow::Borrowed(&[term(QQ)]), ..REDUCED },
        score: Score::Cosine,
        maps: Maps::Stretched,
        positions: PositionRule::BicubicShifted,
        views: None,
        protocol: Some(Protocol::Clearclip),
    };

    /// NACLIP: keys with keys, and a window that draws patches to their neighbours.
    pub const NACLIP: Method = Method {
        name: Cow::Borrowed("naclip"),
        about: Cow::Borrowed("k-k attention with a Gaussian window, no residual, no MLP (arXiv 2404.08181)"),
        vision: VisionPath { terms: Cow::Borrowed(&[term(KK)]), gaussian: Some(5.0), ..REDUCED },
        score: Score::Cosine,
        maps: Maps::Stretched,
        positions: PositionRule::BicubicShifted,
        views: None,
        protocol: Some(Protocol::Naclip),
    };

    /// CLIPtrase: all three self-similarities added.
    pub const CLIPTRASE: Method = Method {
        name: Cow::Borrowed("cliptrase"),
        about: Cow::Borrowed("q-q plus k-k plus v-v attention in the last block (arXiv 2407.08268)"),
        vision: VisionPath { terms: Cow::Borrowed(&[term(QQ), term(KK), term(VV)]), ..LAST },
        score: Score::Cosine,
        maps: Maps::Stretched,
        positions: PositionRule::BicubicShifted,
        views: None,
        protocol: None,
    };

    /// ResCLIP on NACLIP: attention of the middle blocks mixed in, and a second pass that knows the names the first one gave.
    /// Its constants are tuned per data set; these are VOC 21's, with the threshold of VOC 20.
    pub const RESCLIP: Method = Method {
        name: Cow::Borrowed("resclip"),
        about: Cow::Borrowed("NACLIP with middle blocks' attention and a second pass (arXiv 2411.15851)"),
        vision: VisionPath {
            post_mix: Some(PostMix { tau: 2.0, lambda: 0.3, blocks: Cow::Borrowed(&[6, 7, 8, 9]), pairs: Cow::Borrowed(&[QK]) }),
            numbered_for: Some(12),
            logit_mix: Some(LogitMix { tau: 2.2, lambda: 0.7, threshold: 0.1, path_rule: true }),
            ..Method::NACLIP.vision
        },
        score: Score::Cosine,
        maps: Maps::Stretched,
        positions: PositionRule::BicubicShifted,
        views: None,
        protocol: Some(Protocol::Resclip),
    };

    /// ResCLIP on ClearCLIP: the same mixes on q-q attention, without a window.
    pub const RESCLIP_CLEARCLIP: Method = Method {
        name: Cow::Borrowed("resclip-clearclip"),
        about: Cow::Borrowed("ResCLIP's mixes and second pass on ClearCLIP (arXiv 2411.15851)"),
        vision: VisionPath { terms: Cow::Borrowed(&[term(QQ)]), gaussian: None, ..Method::RESCLIP.vision },
        ..Method::RESCLIP
    };

    /// ResCLIP on SCLIP: the same mixes on both of its terms, residual and MLP kept.
    pub const RESCLIP_SCLIP: Method = Method {
        name: Cow::Borrowed("resclip-sclip"),
        about: Cow::Borrowed("ResCLIP's mixes and second pass on SCLIP (arXiv 2411.15851)"),
        vision: VisionPath {
            terms: Cow::Borrowed(&[term(QQ), term(KK)]),
            gaussian: None,
            residual: true,
            mlp: true,
            ..Method::RESCLIP.vision
        },
        ..Method::RESCLIP
    };

    /// SC-CLIP: outlying patches mended, patches averaged with their like, the middle blocks' similarity as attention.
    pub const SC_CLIP: Method = Method {
        name: Cow::Borrowed("sc-clip"),
        about: Cow::Borrowed("mended patches, similarity of block 9 as attention, fused blocks (arXiv 2411.15869)"),
        vision: VisionPath {
            terms: Cow::Borrowed(&[
                Term { pair: Pair::Similarity { block: 9, sharpness: 3.0 }, weight: 0.5, ..term(KK) },
                Term { weight: 0.5, ..term(KK) },
            ]),
            patches_only: true,
            class_share: 0.3,
            repair: Some(Repair { neighbours: 30, contamination: 0.05 }),
            aggregate: Cow::Borrowed(&[
                Aggregate { before: true, block: 9, threshold: 0.4 },
                Aggregate { before: false, block: 4, threshold: 0.4 },
            ]),
            fuse: Some([4, 10]),
            numbered_for: Some(12),
            ..REDUCED
        },
        score: Score::Cosine,
        maps: Maps::Stretched,
        positions: PositionRule::BicubicShifted,
        views: None,
        protocol: Some(Protocol::ScClip),
    };

    /// ITACLIP's attention: SCLIP's, averaged with that of three middle blocks, without the MLP.
    pub const ITACLIP: Method = Method {
        name: Cow::Borrowed("itaclip"),
        about: Cow::Borrowed("q-q plus k-k attention of blocks 7, 8, 10 and the last, no MLP (arXiv 2411.12044)"),
        vision: VisionPath {
            terms: Cow::Borrowed(&[term(QQ), term(KK)]),
            post_mix: Some(PostMix { tau: 1.0, lambda: 0.5, blocks: Cow::Borrowed(&[7, 8, 10]), pairs: Cow::Borrowed(&[QQ, KK]) }),
            numbered_for: Some(12),
            mlp: false,
            ..LAST
        },
        score: Score::Cosine,
        maps: Maps::Stretched,
        positions: PositionRule::BicubicShifted,
        views: None,
        protocol: Some(Protocol::Itaclip),
    };

    /// ITACLIP with its image engineering: five views of the picture, so five runs of the tower.
    pub const ITACLIP_VIEWS: Method = Method {
        name: Cow::Borrowed("itaclip-views"),
        about: Cow::Borrowed("ITACLIP with its image engineering: five views of the picture (arXiv 2411.12044)"),
        views: Some(Views::ITACLIP),
        ..Method::ITACLIP
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each row of a method's attention sums up to, from the data alone.
    fn row_sum(path: &VisionPath) -> f32 {
        let own: f32 = path.terms.iter().map(|term| term.weight).sum();
        match &path.post_mix {
            Some(PostMix { tau, lambda, pairs, .. }) => tau * ((1.0 - lambda) * own + lambda * pairs.len() as f32),
            None => own,
        }
    }

    /// Sums other than 1 weigh against the output projection's bias: nobody may normalise them.
    #[test]
    fn rows_of_attention_sum_up_as_published() {
        let table = [
            (Method::SURGERY.vision, 1.0),
            (Method::SCLIP.vision, 2.0),
            (Method::GEM.vision, 1.0),
            (Method::CLEAR_CLIP.vision, 1.0),
            (Method::NACLIP.vision, 1.0),
            (Method::CLIPTRASE.vision, 3.0),
            (Method::RESCLIP.vision, 2.0),
            // (1 - lambda) 2 tau + lambda tau
            (Method::RESCLIP_SCLIP.vision, 0.7 * 2.0 * 2.0 + 0.3 * 2.0),
            (Method::SC_CLIP.vision, 1.0),
            (Method::ITACLIP.vision, 2.0),
        ];
        for (path, want) in table {
            assert!((row_sum(&path) - want).abs() < 1e-6, "{} instead of {want}: {:?}", row_sum(&path), path.terms);
        }
    }
}
