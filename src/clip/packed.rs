//! Prompts packed for the text tower, each cut behind its end marker; those of an ensemble share their beginnings.
//!
//! Under the causal mask what a token becomes depends on the tokens up to it alone. So every distinct beginning is
//! computed once: the prompts are a trie, a node a row, its position its depth. "a photo of a cat." and "a photo of a
//! dog." differ in their last three rows. Only attention has to know; all else works row by row.

use crate::clip::tokenizer::end_position;
use std::collections::{BTreeMap, HashMap};

/// Prompts as one trie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packed {
    /// (row of the compact table, position) of each node, in depth-first order.
    pub tokens: Vec<[u32; 2]>,
    /// Vocabulary ids of the compact table's rows.
    pub used: Vec<u32>,
    /// Behind the last descendant of each node.
    pub ends: Vec<u32>,
    /// Nodes whose features are wanted: each prompt's end marker, in the order of the prompts.
    pub wanted: Vec<u32>,
}

impl Packed {
    /// Prompts that share their beginnings.
    pub fn shared(prompts: &[Vec<u32>]) -> Packed {
        let mut order: Vec<(usize, &[u32])> = prompts.iter().map(|ids| cut(ids)).enumerate().collect();
        // Sorted, prompts that begin alike are neighbours, and what is new in each is one run of rows.
        order.sort_by_key(|&(_, ids)| ids);
        Packed::build(&order, true)
    }

    /// Each prompt whole, in the given order: for those who look at every stage.
    pub fn apart(prompts: &[Vec<u32>]) -> Packed {
        Packed::build(&prompts.iter().map(|ids| cut(ids)).enumerate().collect::<Vec<_>>(), false)
    }

    /// One prompt, all of whose tokens are wanted.
    pub fn every_token(ids: &[u32]) -> Packed {
        let packed = Packed::build(&[(0, cut(ids))], false);
        Packed { wanted: (0..packed.tokens.len() as u32).collect(), ..packed }
    }

    fn build(order: &[(usize, &[u32])], share: bool) -> Packed {
        let mut rows: BTreeMap<u32, u32> = order.iter().flat_map(|(_, ids)| ids.iter().map(|&id| (id, 0))).collect();
        for (row, slot) in (0..).zip(rows.values_mut()) {
            *slot = row;
        }
        let mut packed =
            Packed { tokens: Vec::new(), used: rows.keys().copied().collect(), ends: Vec::new(), wanted: vec![0; order.len()] };
        let mut before: &[u32] = &[];
        // Rows of the prompt before, from its first token on.
        let mut path: Vec<usize> = Vec::new();
        for &(prompt, ids) in order {
            let common = if share { ids.iter().zip(before).take_while(|(a, b)| a == b).count() } else { 0 };
            let next = packed.tokens.len() as u32;
            path.drain(common..).for_each(|row| packed.ends[row] = next);
            for (position, id) in (0..).zip(ids).skip(common) {
                path.push(packed.tokens.len());
                packed.tokens.push([rows[id], position]);
                packed.ends.push(0);
            }
            packed.wanted[prompt] = path.last().map_or(0, |&row| row as u32);
            before = ids;
        }
        let count = packed.tokens.len() as u32;
        path.iter().for_each(|&row| packed.ends[row] = count);
        packed
    }
}

/// Up to the first largest id, the end marker: nothing behind it reaches the feature.
fn cut(ids: &[u32]) -> &[u32] {
    ids.get(..=end_position(ids)).unwrap_or_default()
}

/// Runs of whole groups of `group` prompts whose tries have at most `budget` nodes, at least one group each.
pub(crate) fn batches(prompts: &[Vec<u32>], group: usize, budget: usize) -> Vec<&[Vec<u32>]> {
    let group = group.max(1);
    let mut all = Vec::new();
    let (mut start, mut nodes) = (0, Nodes::default());
    for (i, texts) in prompts.chunks(group).enumerate() {
        nodes.add(texts);
        if nodes.count() > budget && i * group > start {
            all.push(&prompts[start..i * group]);
            start = i * group;
            nodes = Nodes::default();
            nodes.add(texts);
        }
    }
    if start < prompts.len() {
        all.push(&prompts[start..]);
    }
    all
}

/// Counts the nodes of a growing trie.
#[derive(Debug, Default)]
struct Nodes {
    /// (parent, token) -> node; 0 is above the roots.
    children: HashMap<(u32, u32), u32>,
}

impl Nodes {
    fn add(&mut self, prompts: &[Vec<u32>]) {
        for ids in prompts {
            let mut node = 0;
            for &id in cut(ids) {
                let next = self.children.len() as u32 + 1;
                node = *self.children.entry((node, id)).or_insert(next);
            }
        }
    }

    fn count(&self) -> usize {
        self.children.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: u32 = 99;

    /// The ids on the way to a prompt's end marker.
    fn path(packed: &Packed, prompt: usize) -> Vec<u32> {
        let end = packed.wanted[prompt];
        let seen = (0..=end).filter(|&row| end < packed.ends[row as usize]);
        let tokens: Vec<[u32; 2]> = seen.map(|row| packed.tokens[row as usize]).collect();
        for (i, [_, position]) in tokens.iter().enumerate() {
            assert_eq!(*position, i as u32);
        }
        tokens.iter().map(|[row, _]| packed.used[*row as usize]).collect()
    }

    #[test]
    fn every_prompt_is_a_branch() {
        // Unsorted, one twice, one the beginning of another's, one padded, one with another first token.
        let prompts = [
            vec![1, 5, 6, 7, END],
            vec![1, 5, END, 0, 0],
            vec![1, 5, 6, 8, END],
            vec![1, 5, 6, 7, END],
            vec![2, 5, END],
            vec![1, END, 5, END],
        ];
        let packed = Packed::shared(&prompts);
        assert_eq!(packed.tokens.len(), 12, "1 5 6 7 E | 8 E | E | E | 2 5 E");
        assert_eq!(packed.wanted[0], packed.wanted[3]);
        let apart = Packed::apart(&prompts);
        assert_eq!(apart.tokens.len(), 5 + 3 + 5 + 5 + 3 + 2);
        for (i, ids) in prompts.iter().enumerate() {
            assert_eq!(path(&packed, i), cut(ids));
            assert_eq!(path(&apart, i), cut(ids));
        }
        assert_eq!(Packed::every_token(&prompts[1]).wanted, [0, 1, 2]);
    }

    /// The rows of 59 labels by 85 templates against 77 for each: the work that is saved, attention left out.
    #[cfg(feature = "clip-vocab")]
    #[test]
    fn the_ensemble_of_the_demo_is_a_twentieth() {
        use crate::clip::{Labels, Templates, Tokenizer};
        let tokenizer = Tokenizer::clip(77).unwrap();
        let templates = Templates::ensemble();
        let filled = Labels::default_names().into_iter().flat_map(|name| templates.fill(&name));
        let prompts: Vec<_> = filled.map(|text| tokenizer.encode(&text).unwrap()).collect();
        let rows = |batches: &[&[Vec<u32>]]| batches.iter().map(|b| Packed::shared(b).tokens.len()).sum::<usize>();
        assert_eq!(prompts.len(), 59 * 85);
        assert_eq!(rows(&[&prompts]), 16_905, "nodes of the whole trie");
        let planned = rows(&batches(&prompts, 85, 4096));
        assert!(20 * planned < 77 * prompts.len(), "{planned} rows");
    }

    #[test]
    fn batches_count_nodes_and_keep_groups_whole() {
        // Groups of two that share 10 tokens with all others and have 2 of their own.
        let text = |i: u32| (0..10).chain([20 + i, END]).collect::<Vec<u32>>();
        let prompts: Vec<_> = (0..10).map(text).collect();
        let sizes = |budget| batches(&prompts, 2, budget).iter().map(|b| b.len()).collect::<Vec<_>>();
        assert_eq!(sizes(30), [10]);
        assert_eq!(sizes(29), [8, 2]);
        assert_eq!(sizes(1), [2; 5]);
        assert_eq!(Packed::shared(&prompts).tokens.len(), 30);
        assert!(batches(&[], 3, 9).is_empty());
    }
}
