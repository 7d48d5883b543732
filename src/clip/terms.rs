//! The attention of a changed block: every term that a method sums up, of this block and of earlier ones.

use crate::clip::block::Block;
use crate::clip::path::{Pair, Scale, Term};
use crate::error::{Error, Result};
use crate::gpu::{PlanBuilder, Value};
use crate::ops::{self, AttentionSum, Bias, Tiles, WeightedPair};
use crate::reference::Projection;

/// One softmax, ready to be planned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'a> {
    /// Where P and Q lie, `[T, k C]`, and in which columns of C.
    pub source: Value,
    pub columns: (u32, u32),
    pub weight: f32,
    pub scale: f32,
    pub bias: Option<Bias<'a>>,
}

impl<'a> Piece<'a> {
    /// True if one dispatch can do both.
    fn goes_with(&self, other: &Piece<'_>) -> bool {
        let same_bias = match (&self.bias, &other.bias) {
            (None, None) => true,
            (Some(Bias::Shared(a)), Some(Bias::Shared(b))) => a.buffer() == b.buffer(),
            (Some(Bias::Each(a)), Some(Bias::Each(b))) => a == b,
            _ => false,
        };
        self.source == other.source && self.scale == other.scale && same_bias
    }
}

impl Block {
    /// The sum of `pieces` over the values of qkv `[T, 3 C]` -> `[T, C]`, two at a time where they compare the same tokens.
    pub fn attend(&self, b: &mut PlanBuilder, pieces: &[Piece<'_>], qkv: Value, tiles: &Tiles) -> Result<Value> {
        let mut sum = None;
        let mut rest = pieces;
        while let [first, others @ ..] = rest {
            let second = others.first().filter(|other| first.goes_with(other));
            rest = if second.is_some() { &others[1..] } else { others };
            let terms: Vec<_> =
                [Some(first), second].into_iter().flatten().map(|p| WeightedPair { columns: p.columns, weight: p.weight }).collect();
            let args = AttentionSum {
                source: first.source,
                terms: &terms,
                values: qkv,
                value_column: Projection::Value as u32,
                tiles,
                heads: self.heads,
                scale: first.scale,
                cap: self.softcap,
                bias: first.bias,
                base: sum,
            };
            sum = Some(ops::attention_sum(b, "attention_sum", args)?);
        }
        sum.ok_or_else(|| Error::Input { what: "a method without an attention term has no attention".into() })
    }

    /// What the products of a term are multiplied by, its vectors' own factors left out.
    pub fn term_scale(&self, term: &Term) -> f32 {
        match term.scale {
            Scale::Head(factor) => factor * (self.heads.size as f32).powf(-0.5),
            Scale::Constant(scale) => scale,
            Scale::TokenLength => 1.0,
        }
    }

    /// A term of this block's own tokens, x `[B tokens, C]`, without weights and bias of others.
    ///
    /// Directions carry the root of an adaptive scale, so that their products have it; where an iteration averages
    /// directions, it scales them all alike, and they are divided by their length again.
    pub fn own_piece<'a>(&self, b: &mut PlanBuilder, term: &Term, x: Value, tokens: u32, tiles: &Tiles) -> Result<Piece<'a>> {
        let Pair::Projections(p, q) = term.pair else {
            return Err(Error::Input { what: "a similarity of patches is no term of projections".into() });
        };
        let scale = self.term_scale(term);
        let qkv = self.qkv(b, x)?;
        let mut piece = Piece { source: qkv, columns: (p as u32, q as u32), weight: term.weight, scale, bias: None };
        if !term.unit {
            return Ok(piece);
        }
        let factor = match term.scale {
            Scale::TokenLength => {
                let z = self.ln_1.apply(b, "ln_1", x)?;
                Some(ops::mean_norm(b, "mean_norm", z, tokens, (self.heads.size as f32).powf(-0.5), true)?)
            }
            _ => None,
        };
        let size = self.heads.size as u32;
        piece.source = ops::unit_heads(b, "unit_heads", qkv, size, factor)?;
        for _ in 0..term.iterations {
            let columns = piece.columns;
            let args = AttentionSum {
                source: piece.source,
                terms: &[WeightedPair { columns, weight: 1.0 }],
                values: piece.source,
                value_column: columns.0,
                tiles,
                heads: self.heads,
                scale,
                cap: self.softcap,
                bias: None,
                base: None,
            };
            let averaged = ops::attention_sum(b, "iterate", args)?;
            piece.source = ops::unit_heads(b, "unit_heads", averaged, size, factor)?;
            piece.columns = (0, 0);
        }
        Ok(piece)
    }
}
