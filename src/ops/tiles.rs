//! What each workgroup of an attention computes.

use crate::error::{Error, Result};
use crate::gpu::{Gpu, Tensor};
use crate::ops::trie;
use crate::reference::Segment;
use crate::shape::DType;

/// Rows of one workgroup, as in the WGSL: so many queries, or half as many by two paths.
const TILE: u32 = 32;

/// The work list of an attention: which rows of which sequence each workgroup computes. Made once per packing.
#[derive(Clone, Debug)]
pub struct Tiles {
    /// For one path, and for two; a trie takes one.
    pub(super) lists: [Option<List>; 2],
    pub(super) trie: bool,
    pub(super) rows: u32,
    sequences: u32,
    /// The longest of them.
    pub(super) longest: u32,
    pub(super) pairs: u64,
}

/// What one dispatch works off.
#[derive(Clone, Debug)]
pub(super) struct List {
    pub(super) table: Tensor,
    pub(super) workgroups: u32,
}

impl Tiles {
    /// How many sequences; a trie counts as one.
    pub fn sequences(&self) -> u32 {
        self.sequences
    }

    /// For sequences that lie one behind the other in `rows` packed rows.
    ///
    /// # Errors
    /// A sequence that is empty or reaches beyond `rows`.
    pub fn new(gpu: &Gpu, segments: &[Segment], rows: u32) -> Result<Tiles> {
        Tiles::grouped(gpu, segments, rows, segments.len())
    }

    /// For `images` of 1 + N tokens whose patches attend to each other only; a class token keeps its own value.
    ///
    /// # Errors
    /// As [`Tiles::new`].
    pub fn patches(gpu: &Gpu, images: u32, tokens: u32) -> Result<Tiles> {
        let patches = (0..images).map(|i| Segment { start: i * tokens + 1, len: tokens.saturating_sub(1) });
        let classes = (0..images).map(|i| Segment { start: i * tokens, len: 1 });
        Tiles::grouped(gpu, &patches.chain(classes).collect::<Vec<_>>(), images * tokens, images as usize)
    }

    /// The i-th sequence counts as number i modulo `group`.
    fn grouped(gpu: &Gpu, segments: &[Segment], rows: u32, group: usize) -> Result<Tiles> {
        for s in segments {
            if s.len == 0 || s.start.checked_add(s.len).is_none_or(|end| end > rows) {
                return Err(Error::shape(
                    "attention",
                    "segment",
                    format!("a range within {rows} rows"),
                    format!("{} rows from {}", s.len, s.start),
                ));
            }
        }
        if segments.is_empty() {
            return Err(Error::shape("attention", "segments", "at least one", "none"));
        }
        let list = |queries: u32| {
            let mut table = Vec::new();
            for (i, s) in segments.iter().enumerate() {
                table.extend((0..s.len).step_by(queries as usize).map(|query| [s.start, s.len, query, (i % group) as u32]));
            }
            List::upload(gpu, &table, table.len() as u32)
        };
        let pairs = segments.iter().map(|s| u64::from(s.len) * u64::from(s.len)).sum();
        let longest = segments.iter().map(|s| s.len).max().unwrap_or(0);
        let lists = [Some(list(TILE)?), Some(list(TILE / 2)?)];
        Ok(Tiles { lists, trie: false, rows, sequences: segments.len() as u32, longest, pairs })
    }

    /// For texts that share their beginnings: rows in depth-first order, `ends[i]` behind the last descendant of row i.
    /// Row i sees row j if `j <= i < ends[j]`: itself and what leads to it.
    ///
    /// # Errors
    /// No row, or ends that are no trie.
    pub fn trie(gpu: &Gpu, ends: &[u32]) -> Result<Tiles> {
        let trie::TrieList { table, tiles, pairs } = trie::list(ends, TILE)?;
        let list = List::upload(gpu, &table, tiles)?;
        Ok(Tiles { lists: [Some(list), None], trie: true, rows: ends.len() as u32, sequences: 1, longest: ends.len() as u32, pairs })
    }

    /// For `images` sequences of equal length.
    ///
    /// # Errors
    /// As [`Tiles::new`].
    pub fn equal(gpu: &Gpu, images: u32, tokens: u32) -> Result<Tiles> {
        let segments: Vec<_> = (0..images).map(|i| Segment { start: i * tokens, len: tokens }).collect();
        Tiles::new(gpu, &segments, images * tokens)
    }
}

impl List {
    fn upload(gpu: &Gpu, table: &[[u32; 4]], workgroups: u32) -> Result<List> {
        Ok(List { table: gpu.upload("lancet.tiles", &[table.len() as u32, 4], DType::U32, table)?, workgroups })
    }
}
