//! Terms, mixes and pools as a file has them.

use super::notation::{Knob, Letters, Scaling};
use crate::clip::{Pair, PoolPath, PostMix, Scale, Term};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;

/// "kk", { pair = "kk", weight = 0.5 } or { similarity = { block = 9, sharpness = 3.0 } }.
#[derive(Clone, Copy)]
pub(super) struct TermEntry(pub Term);

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    pair: Option<Letters>,
    similarity: Option<Similarity>,
    neighbourhood: Option<Letters>,
    unit: Option<bool>,
    scale: Option<Scaling>,
    iterations: Option<u32>,
    weight: Option<f32>,
}

#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Similarity {
    block: u32,
    sharpness: f32,
}

/// What is left out of a table.
const PLAIN: Term = Term::of(crate::reference::Projection::Query, crate::reference::Projection::Key);

impl Serialize for TermEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Term { pair, unit, scale, iterations, weight } = self.0;
        let (letters, similarity, neighbourhood) = match pair {
            Pair::Projections(p, q) if self.0 == (Term { pair, ..PLAIN }) => return Letters(p, q).serialize(serializer),
            Pair::Projections(p, q) => (Some(Letters(p, q)), None, None),
            Pair::Neighbourhood(p, q) => (None, None, Some(Letters(p, q))),
            Pair::Similarity { block, sharpness } => (None, Some(Similarity { block, sharpness }), None),
        };
        let table = Table {
            pair: letters,
            similarity,
            neighbourhood,
            unit: (unit != PLAIN.unit).then_some(unit),
            scale: (scale != PLAIN.scale).then_some(Scaling(scale)),
            iterations: (iterations != PLAIN.iterations).then_some(iterations),
            weight: (weight != PLAIN.weight).then_some(weight),
        };
        table.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TermEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TermEntry, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = TermEntry;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a pair such as \"kk\", or a table with pair, similarity or neighbourhood")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<TermEntry, E> {
                let Letters(p, q) = Letters::deserialize(de::IntoDeserializer::<E>::into_deserializer(text))?;
                Ok(TermEntry(Term::of(p, q)))
            }
            fn visit_map<A: MapAccess<'de>>(self, values: A) -> Result<TermEntry, A::Error> {
                let table = Table::deserialize(MapAccessDeserializer::new(values))?;
                let pair = match (table.pair, table.similarity, table.neighbourhood) {
                    (Some(Letters(p, q)), None, None) => Pair::Projections(p, q),
                    (None, None, Some(Letters(p, q))) => Pair::Neighbourhood(p, q),
                    (None, Some(Similarity { block, sharpness }), None) => Pair::Similarity { block, sharpness },
                    _ => return Err(de::Error::custom("a term needs one of pair, similarity and neighbourhood")),
                };
                Ok(TermEntry(Term {
                    pair,
                    unit: table.unit.unwrap_or(PLAIN.unit),
                    scale: table.scale.map_or(PLAIN.scale, |s: Scaling| -> Scale { s.0 }),
                    iterations: table.iterations.unwrap_or(PLAIN.iterations),
                    weight: table.weight.unwrap_or(PLAIN.weight),
                }))
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

/// See [`PostMix`].
#[derive(Clone, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PostMixEntry {
    tau: f32,
    lambda: f32,
    blocks: Vec<u32>,
    pairs: Vec<Letters>,
}

impl From<PostMix> for PostMixEntry {
    fn from(mix: PostMix) -> PostMixEntry {
        let PostMix { tau, lambda, blocks, pairs } = mix;
        PostMixEntry { tau, lambda, blocks: blocks.into_owned(), pairs: pairs.iter().map(|&(p, q)| Letters(p, q)).collect() }
    }
}

impl From<PostMixEntry> for PostMix {
    fn from(mix: PostMixEntry) -> PostMix {
        let PostMixEntry { tau, lambda, blocks, pairs } = mix;
        PostMix { tau, lambda, blocks: blocks.into(), pairs: pairs.into_iter().map(|Letters(p, q)| (p, q)).collect() }
    }
}

/// See [`PoolPath`]; what is left out is the ordinary pool's.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PoolEntry {
    attention: Option<Knob<Letters>>,
    sharpness: Option<f32>,
    ordinary_class_row: Option<bool>,
}

impl From<PoolPath> for PoolEntry {
    fn from(pool: PoolPath) -> PoolEntry {
        let PoolPath { attention, sharpness, ordinary_class_row } = pool;
        PoolEntry {
            attention: Some(attention.map_or(Knob::Off, |(p, q)| Knob::On(Letters(p, q)))),
            sharpness: (sharpness != PoolPath::ORDINARY.sharpness).then_some(sharpness),
            ordinary_class_row: ordinary_class_row.then_some(true),
        }
    }
}

impl From<PoolEntry> for PoolPath {
    fn from(pool: PoolEntry) -> PoolPath {
        let ordinary = PoolPath::ORDINARY;
        PoolPath {
            attention: match pool.attention {
                None => ordinary.attention,
                Some(Knob::Off) => None,
                Some(Knob::On(Letters(p, q))) => Some((p, q)),
            },
            sharpness: pool.sharpness.unwrap_or(ordinary.sharpness),
            ordinary_class_row: pool.ordinary_class_row.unwrap_or(ordinary.ordinary_class_row),
        }
    }
}
