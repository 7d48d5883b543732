//! Segmentations: what was said at each pixel against what is there.

use super::{IGNORED, UNLABELLED};
use std::collections::BTreeMap;

/// (class there, class said, pixels).
pub type Cell = (u16, u16, u64);

/// The filled cells of one image's confusion matrix, by class there and then class said. Ignored and unlabelled pixels are
/// left out.
///
/// * `truth`, `said`: `[H, W]`
pub fn confusion_cells(truth: &[u16], said: &[u16]) -> Vec<Cell> {
    assert_eq!(truth.len(), said.len(), "a mask of {} pixels, a segmentation of {}", truth.len(), said.len());
    let mut cells: BTreeMap<(u16, u16), u64> = BTreeMap::new();
    let mut pairs = truth.iter().zip(said).filter(|(t, _)| ![IGNORED, UNLABELLED].contains(t)).peekable();
    // Neighbours are mostly alike: one look-up per run.
    while let Some(pair) = pairs.next() {
        let mut run = 1;
        while pairs.next_if_eq(&pair).is_some() {
            run += 1;
        }
        *cells.entry((*pair.0, *pair.1)).or_default() += run;
    }
    cells.into_iter().map(|((t, s), n)| (t, s, n)).collect()
}

/// A confusion matrix of a whole data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    /// `[classes, classes]`, class there first.
    counts: Vec<u64>,
}

impl Confusion {
    /// Empty.
    pub fn new(classes: usize) -> Confusion {
        Confusion { classes, counts: vec![0; classes * classes] }
    }

    /// Adds one image. False, and nothing more is added, at a cell of a class that does not exist.
    #[must_use]
    pub fn add(&mut self, cells: &[Cell]) -> bool {
        cells.iter().all(|&(truth, said, pixels)| {
            let (truth, said) = (usize::from(truth), usize::from(said));
            let inside = truth < self.classes && said < self.classes;
            if inside {
                self.counts[truth * self.classes + said] += pixels;
            }
            inside
        })
    }

    /// Intersection over union of each class; `None` for a class that is neither there nor said.
    pub fn iou(&self) -> Vec<Option<f64>> {
        let n = self.classes;
        let (rows, columns) = (self.there(), (0..n).map(|c| (0..n).map(|t| self.counts[t * n + c]).sum::<u64>()));
        rows.iter()
            .zip(columns)
            .enumerate()
            .map(|(c, (&there, said))| {
                let right = self.counts[c * n + c];
                let union = there + said - right;
                (union > 0).then(|| right as f64 / union as f64)
            })
            .collect()
    }

    /// Mean of [`Confusion::iou`] over the classes that have one. `None` without a pixel.
    pub fn mean_iou(&self) -> Option<f64> {
        mean(self.iou())
    }

    /// Share of the pixels that are right.
    pub fn pixel_accuracy(&self) -> Option<f64> {
        let all: u64 = self.counts.iter().sum();
        let right: u64 = (0..self.classes).map(|c| self.counts[c * self.classes + c]).sum();
        (all > 0).then(|| right as f64 / all as f64)
    }

    /// Mean over classes of the share of their pixels that are right.
    pub fn mean_accuracy(&self) -> Option<f64> {
        let right = |c: usize| self.counts[c * self.classes + c] as f64;
        mean(self.there().iter().enumerate().map(|(c, &there)| (there > 0).then(|| right(c) / there as f64)).collect())
    }

    /// Pixels of each class.
    fn there(&self) -> Vec<u64> {
        self.counts.chunks_exact(self.classes.max(1)).map(|row| row.iter().sum()).collect()
    }
}

fn mean(values: Vec<Option<f64>>) -> Option<f64> {
    let known: Vec<f64> = values.into_iter().flatten().collect();
    (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_classes_by_hand() {
        let truth = [0, 0, 0, 1, 1, IGNORED, UNLABELLED];
        let said = [0, 0, 1, 1, 2, 0, 0];
        let cells = confusion_cells(&truth, &said);
        assert_eq!(cells, [(0, 0, 2), (0, 1, 1), (1, 1, 1), (1, 2, 1)]);
        let mut all = Confusion::new(4);
        assert!(all.add(&cells));
        // 0: 2 of 3; 1: 1 of 2 there + 1 said wrongly = 3; 2: said, never there; 3: neither.
        assert_eq!(all.iou(), [Some(2.0 / 3.0), Some(1.0 / 3.0), Some(0.0), None]);
        assert_eq!(all.mean_iou(), Some(1.0 / 3.0));
        assert_eq!(all.pixel_accuracy(), Some(0.6));
        assert_eq!(all.mean_accuracy(), Some((2.0 / 3.0 + 0.5) / 2.0));
    }

    #[test]
    fn images_add_up() {
        let (a, b) = (confusion_cells(&[0, 1], &[0, 0]), confusion_cells(&[1, 1], &[1, 0]));
        let (mut apart, mut at_once) = (Confusion::new(2), Confusion::new(2));
        assert!(apart.add(&b) && apart.add(&a) && at_once.add(&confusion_cells(&[0, 1, 1, 1], &[0, 0, 1, 0])));
        assert_eq!(apart, at_once);
        assert!(!apart.add(&[(0, 2, 1)]), "no such class");
        assert_eq!(Confusion::new(2).mean_iou(), None);
    }
}
