//! A changed block of a vision transformer: what a method does to the tokens before it, to its attention, and behind it.

use crate::clip::path::{Aggregate, LogitMix, Pair, PostMix, Repair, Term, VisionPath};
use crate::clip::terms::Piece;
use crate::clip::vit::{Run, Transformer};
use crate::error::{Error, Result};
use crate::gpu::{PlanBuilder, Value};
use crate::ops::{self, Bias, Related};
use crate::reference::{Addend, Pair as Compared};

impl Transformer {
    /// Block i (from 0) of a single stream, x `[T, C]` -> `[T, C]`.
    pub(super) fn changed(
        &self,
        b: &mut PlanBuilder,
        run: &mut Run,
        path: &VisionPath,
        i: usize,
        x: Value,
        mix: Option<Related>,
    ) -> Result<Value> {
        let outliers = path.repair.map(|repair| self.outliers(b, run, repair, x)).transpose()?;
        let mut entering = self.repaired(b, run, x, outliers)?;
        for aggregate in path.aggregate.iter().filter(|a| a.before) {
            entering = self.aggregated(b, run, aggregate, entering, outliers)?;
        }
        let mut y = self.leaving(b, run, path, i, [entering, x], outliers, mix)?;
        if let Some([first, last]) = path.fuse {
            let mut sum = self.ordinary(b, run, first as usize)?;
            for block in first + 1..=last {
                let next = self.ordinary(b, run, block as usize)?;
                sum = ops::add(b, "fuse", sum, next, 1.0, Addend::Rows)?;
            }
            let fused = self.leaving(b, run, path, i, [sum, sum], outliers, mix)?;
            y = ops::add(b, "fuse", y, fused, 1.0, Addend::Rows)?;
        }
        Ok(y)
    }

    /// From the tokens that enter the attention to those that leave the block. `class_of`: where the class row is shared from.
    #[expect(clippy::too_many_arguments, reason = "one call inside one function, split because it happens twice")]
    fn leaving(
        &self,
        b: &mut PlanBuilder,
        run: &mut Run,
        path: &VisionPath,
        i: usize,
        [x, class_of]: [Value; 2],
        outliers: Option<Value>,
        mix: Option<Related>,
    ) -> Result<Value> {
        let block = &self.blocks[i];
        let residual = path.residual.then_some(x);
        let mut y = if path.terms.is_empty() {
            block.identity(b, x, residual)?
        } else {
            let attended = self.attended(b, run, path, i, x, outliers, mix)?;
            block.project(b, attended, residual)?
        };
        if path.mlp {
            y = block.mlp(b, y, y.shape().rows())?;
        }
        if path.class_share != 0.0 {
            y = ops::add(b, "class_share", y, class_of, path.class_share, Addend::ClassRow { tokens: run.tokens as usize })?;
        }
        for aggregate in path.aggregate.iter().filter(|a| !a.before) {
            y = self.aggregated(b, run, aggregate, y, None)?;
        }
        Ok(y)
    }

    /// The changed attention of block i (from 0) over its input x -> `[T, C]`, before the output projection.
    #[expect(clippy::too_many_arguments, reason = "what a block may be changed by")]
    pub(super) fn attended(
        &self,
        b: &mut PlanBuilder,
        run: &mut Run,
        path: &VisionPath,
        i: usize,
        x: Value,
        outliers: Option<Value>,
        mix: Option<Related>,
    ) -> Result<Value> {
        let block = &self.blocks[i];
        if let Some(pair) = path.plain() {
            return block.attention(b, x, &run.tiles, false, pair);
        }
        // A mean of earlier blocks' probabilities times V is the mean of the products: more terms, and no map is ever stored.
        let mut pieces = Vec::new();
        let mut own_share = 1.0;
        if let Some(PostMix { tau, lambda, blocks, pairs }) = &path.post_mix {
            own_share = tau * (1.0 - lambda);
            let before: Vec<_> = blocks.iter().map(|&number| number as usize).filter(|number| (1..=i).contains(number)).collect();
            for &number in &before {
                let input = self.ordinary(b, run, number - 1)?;
                for &(p, q) in pairs.iter() {
                    let term = Term { weight: tau * lambda / before.len() as f32, ..Term::of(p, q) };
                    pieces.push(self.blocks[number - 1].own_piece(b, &term, input, run.tokens, &run.tiles)?);
                }
            }
        }
        let window = run.window.clone();
        let (bias, softened) = match (mix, path.logit_mix) {
            (Some(related), Some(LogitMix { tau, lambda, .. })) => {
                let bias = ops::logit_bias(b, "logit_bias", related, tau * lambda, window.as_ref())?;
                (Some(Bias::Each(bias)), tau * (1.0 - lambda))
            }
            _ => (window.as_ref().map(Bias::Shared), 1.0),
        };
        let qkv = block.qkv(b, x)?;
        for term in path.terms.iter() {
            let piece = match term.pair {
                Pair::Projections(..) => {
                    let own = block.own_piece(b, term, x, run.tokens, &run.changed_tiles)?;
                    Piece { bias, scale: own.scale * softened, ..own }
                }
                Pair::Neighbourhood(p, q) => {
                    let Some(window) = &window else { return Err(Error::Input { what: "a neighbourhood needs a gaussian window".into() }) };
                    let scale = block.term_scale(term);
                    let columns = (p as u32, q as u32);
                    let bias = ops::window_bias(b, "window_bias", qkv, columns, block.heads, run.tokens, window, scale)?;
                    Piece { source: qkv, columns: (0, 0), weight: term.weight, scale: 0.0, bias: Some(Bias::Each(bias)) }
                }
                Pair::Similarity { block, sharpness } => {
                    let alike = self.alike(b, run, block, outliers)?;
                    let images = alike.shape().dims()[0];
                    let rows = ops::row_mean(b, "row_mean", alike, alike.shape().rows())?;
                    let mean = ops::row_mean(b, "row_mean", rows, images)?;
                    let bias = Bias::Each(ops::affinity_bias(b, "affinity_bias", alike, mean, sharpness)?);
                    Piece { source: qkv, columns: (0, 0), weight: term.weight, scale: 0.0, bias: Some(bias) }
                }
            };
            pieces.push(Piece { weight: piece.weight * own_share, ..piece });
        }
        block.attend(b, &pieces, qkv, &run.changed_tiles)
    }

    /// Marks of the patches of x that stand out, `[B, N]`.
    fn outliers(&self, b: &mut PlanBuilder, run: &Run, repair: Repair, x: Value) -> Result<Value> {
        let distances = ops::gram(b, "distances", x, run.tokens, 1, Compared::Distance, 1.0)?;
        let radii = ops::kth_distance(b, "kth_distance", distances, repair.neighbours)?;
        let scores = ops::lof(b, "lof", distances, radii, repair.neighbours)?;
        ops::outliers(b, "outliers", scores, f64::from(repair.contamination))
    }

    fn repaired(&self, b: &mut PlanBuilder, run: &Run, x: Value, outliers: Option<Value>) -> Result<Value> {
        outliers.map_or(Ok(x), |marks| ops::repair(b, "repair", x, marks, run.grid))
    }

    /// Cosines of all pairs of patches behind a block (from 1), `[B, N, N]`.
    fn alike(&self, b: &mut PlanBuilder, run: &mut Run, block: u32, outliers: Option<Value>) -> Result<Value> {
        let x = self.ordinary(b, run, block as usize)?;
        let x = self.repaired(b, run, x, outliers)?;
        let unit = ops::l2_normalize(b, "l2_normalize", x)?;
        ops::gram(b, "gram", unit, run.tokens, 1, Compared::Product, 1.0)
    }

    fn aggregated(&self, b: &mut PlanBuilder, run: &mut Run, how: &Aggregate, x: Value, outliers: Option<Value>) -> Result<Value> {
        let alike = self.alike(b, run, how.block, outliers)?;
        let weights = ops::affinity_weights(b, "affinity_weights", alike, how.threshold)?;
        ops::aggregate(b, "aggregate", weights, x)
    }
}
