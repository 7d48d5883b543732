//! The work list of attention over a trie: for each tile of rows its keys.

use crate::error::{Error, Result};

/// Tiles of a trie, as the WGSL reads them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TrieList {
    /// The tiles, then their keys.
    pub table: Vec<[u32; 4]>,
    /// How many tiles.
    pub tiles: u32,
    /// (query, key) pairs that see each other.
    pub pairs: u64,
}

/// For rows in depth-first order, `ends[i]` behind the last descendant of row i; `tile` rows to a workgroup.
///
/// A tile's keys are the ancestors of its first row, then its own rows: an ancestor of a later row that lies before the
/// tile is one of the first row's too, since its descendants are contiguous.
///
/// # Errors
/// No row, or ends that are no trie.
pub(super) fn list(ends: &[u32], tile: u32) -> Result<TrieList> {
    let rows = ends.len() as u32;
    let tiles = rows.div_ceil(tile);
    let mut keys: Vec<[u32; 4]> = Vec::new();
    let mut heads: Vec<[u32; 4]> = Vec::new();
    let mut pairs = 0;
    // From the root to the row before.
    let mut path: Vec<u32> = Vec::new();
    for (row, &end) in (0..rows).zip(ends) {
        while path.last().is_some_and(|&top| ends[top as usize] <= row) {
            path.pop();
        }
        let limit = path.last().map_or(rows, |&top| ends[top as usize]);
        if end <= row || end > limit {
            return Err(Error::shape("attention", "trie", format!("the end of row {row} in {} ..= {limit}", row + 1), end));
        }
        if row % tile == 0 {
            let behind = (row + tile).min(rows);
            let seen: Vec<[u32; 2]> = path.iter().copied().chain(row..behind).map(|key| [key, ends[key as usize]]).collect();
            heads.push([tiles + keys.len() as u32, behind, row, seen.len() as u32]);
            // A thread takes eight keys: what is filled in has a row that is there, and ends before every query.
            for eight in seen.chunks(8) {
                let at = |i: usize| eight.get(i).copied().unwrap_or([behind - 1, 0]);
                for four in [[at(0), at(1), at(2), at(3)], [at(4), at(5), at(6), at(7)]] {
                    keys.push(four.map(|key| key[0]));
                    keys.push(four.map(|key| key[1]));
                }
            }
        }
        path.push(row);
        pairs += path.len() as u64;
    }
    if heads.is_empty() {
        return Err(Error::shape("attention", "trie", "at least one row", "none"));
    }
    heads.append(&mut keys);
    Ok(TrieList { table: heads, tiles, pairs })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tiles_of_a_small_trie() {
        // 0 - 1 - 2
        //      \- 3 - 4     and 5 alone; tiles of three rows
        let list = list(&[5, 5, 3, 5, 5, 6], 3).unwrap();
        assert_eq!((list.tiles, list.pairs), (2, 1 + 2 + 3 + 3 + 4 + 1));
        assert_eq!(list.table[0], [2, 3, 0, 3]);
        assert_eq!(list.table[1], [6, 6, 3, 5]);
        assert_eq!(list.table[2..6], [[0, 1, 2, 2], [5, 5, 3, 0], [2, 2, 2, 2], [0, 0, 0, 0]]);
        // Ancestors 0 and 1 of row 3, then rows 3, 4, 5.
        assert_eq!(list.table[6..10], [[0, 1, 3, 4], [5, 5, 5, 5], [5, 5, 5, 5], [6, 0, 0, 0]]);
        assert_eq!(list.table.len(), 10);
    }

    #[test]
    fn what_is_no_trie_is_refused() {
        for bad in [&[][..], &[0], &[2], &[2, 3, 3], &[3, 1, 3]] {
            assert!(list(bad, 32).is_err(), "{bad:?}");
        }
    }
}
