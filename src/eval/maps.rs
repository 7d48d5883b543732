//! How well a heat map lies on a mask.
//!
//! Source: CLIP Surgery (arXiv 2304.05653), section 4; what its text leaves open is fixed here. Each label that is present
//! in an image is a problem of its own: the map, 0..1, against the pixels of that label.
//!
//! ```text
//! IoU(t)   = pixels with map >= t on the label / pixels with map >= t or on the label,  t = 0.05, 0.10 .. 0.95
//! mIoU     = the largest over t of the mean of IoU(t) over all labels of all images: one threshold for the whole set
//! mSC      = mean over the same of (mean of the map on the label - mean outside)
//! pointing = share of the same whose highest pixel lies on the label
//! ```

use super::ranking::average_precision;
use super::{IGNORED, UNLABELLED};

/// How many thresholds are tried.
pub const THRESHOLDS: usize = 19;

/// The k-th threshold, 0.05 to 0.95.
pub fn threshold(k: usize) -> f64 {
    (k + 1) as f64 / (THRESHOLDS + 1) as f64
}

/// One map against one label's pixels.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize, serde::Deserialize))]
pub struct MapCounts {
    /// Pixels on the label where the map reaches each threshold.
    pub intersection: [u64; THRESHOLDS],
    /// Pixels on the label or where the map reaches each threshold.
    pub union: [u64; THRESHOLDS],
    /// Mean of the map on the label.
    pub inside: f64,
    /// Mean of the map elsewhere; `None` if the label covers everything.
    pub outside: Option<f64>,
    /// The highest pixel (the first of equals) lies on the label.
    pub hit: bool,
    /// Average precision of the map as a score of the pixels.
    pub average_precision: f64,
}

/// Compares a map with the pixels of `class`. `None` if there are none.
///
/// * `map`: `[H, W]`, 0..1
/// * `truth`: `[H, W]`, classes; ignored pixels are left out of everything
pub fn map_counts(map: &[f32], truth: &[u16], class: u16) -> Option<MapCounts> {
    assert_eq!(map.len(), truth.len(), "a map of {} pixels, a mask of {}", map.len(), truth.len());
    let limits: [f64; THRESHOLDS] = std::array::from_fn(threshold);
    // Pixels by how many thresholds they reach.
    let (mut on, mut off) = ([0u64; THRESHOLDS + 1], [0u64; THRESHOLDS + 1]);
    let (mut sum_on, mut sum_off) = (0.0f64, 0.0f64);
    let mut highest = (f32::NEG_INFINITY, false);
    let mut scored = Vec::with_capacity(map.len());
    for (&value, &pixel) in map.iter().zip(truth).filter(|(_, pixel)| **pixel != IGNORED) {
        let is_class = pixel == class;
        let wide = f64::from(value);
        let level = limits.partition_point(|&t| wide >= t);
        if is_class {
            on[level] += 1;
            sum_on += wide;
        } else {
            off[level] += 1;
            sum_off += wide;
        }
        if value > highest.0 {
            highest = (value, is_class);
        }
        scored.push((value, is_class));
    }
    let (inside, outside) = (on.iter().sum::<u64>(), off.iter().sum::<u64>());
    if inside == 0 {
        return None;
    }
    let reaching = |levels: &[u64; THRESHOLDS + 1], k: usize| levels[k + 1..].iter().sum::<u64>();
    Some(MapCounts {
        intersection: std::array::from_fn(|k| reaching(&on, k)),
        union: std::array::from_fn(|k| inside + reaching(&off, k)),
        inside: sum_on / inside as f64,
        outside: (outside > 0).then(|| sum_off / outside as f64),
        hit: highest.1,
        average_precision: average_precision(&scored)?,
    })
}

/// Of the pixels that belong to one of `classes`, those whose highest map is the right one: (right, all). The first of
/// equal maps counts.
///
/// * `maps`: `[P, H, W]`, in the order of `classes`
/// * `truth`: `[H, W]`
pub fn argmax_counts(maps: &[f32], classes: &[u16], truth: &[u16]) -> [u64; 2] {
    assert_eq!(maps.len(), classes.len() * truth.len(), "maps are not [{}, {}]", classes.len(), truth.len());
    let (mut right, mut all) = (0, 0);
    for (i, pixel) in truth.iter().enumerate().filter(|(_, p)| ![IGNORED, UNLABELLED].contains(p)) {
        let Some(own) = classes.iter().position(|c| c == pixel) else { continue };
        let at = |c: usize| maps[c * truth.len() + i];
        let best = (1..classes.len()).fold(0, |best, c| if at(c) > at(best) { c } else { best });
        all += 1;
        right += u64::from(best == own);
    }
    [right, all]
}

/// Many maps together.
#[derive(Clone, Debug, PartialEq)]
pub struct MapSummary {
    /// How many (image, label) pairs.
    pub labels: usize,
    /// Mean IoU at each threshold.
    pub miou: [f64; THRESHOLDS],
    /// The index of the best threshold, the lowest of equals.
    pub best: usize,
    /// Mean score contrast over the pairs that have an outside.
    pub contrast: Option<f64>,
    /// Share of pairs whose highest pixel lies on the label.
    pub pointing: f64,
    /// Mean average precision of pixels.
    pub average_precision: f64,
}

impl MapSummary {
    /// Means over all pairs, in the order given: the same order gives the same digits. `None` without a pair.
    pub fn of<'a>(pairs: impl IntoIterator<Item = &'a MapCounts>) -> Option<MapSummary> {
        let mut labels = 0usize;
        let mut miou = [0.0f64; THRESHOLDS];
        let (mut contrast, mut contrasts, mut hits, mut precision) = (0.0f64, 0usize, 0usize, 0.0f64);
        for pair in pairs {
            labels += 1;
            for (sum, (&i, &u)) in miou.iter_mut().zip(pair.intersection.iter().zip(&pair.union)) {
                // A union holds the label's own pixels, so it is not empty.
                *sum += i as f64 / u as f64;
            }
            if let Some(outside) = pair.outside {
                contrast += pair.inside - outside;
                contrasts += 1;
            }
            hits += usize::from(pair.hit);
            precision += pair.average_precision;
        }
        if labels == 0 {
            return None;
        }
        let n = labels as f64;
        let miou = miou.map(|sum| sum / n);
        let best = (1..THRESHOLDS).fold(0, |best, k| if miou[k] > miou[best] { k } else { best });
        Some(MapSummary {
            labels,
            miou,
            best,
            contrast: (contrasts > 0).then(|| contrast / contrasts as f64),
            pointing: hits as f64 / n,
            average_precision: precision / n,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pixels of class 3, one elsewhere, one of class 5, one ignored.
    const TRUTH: [u16; 5] = [3, 3, UNLABELLED, 5, IGNORED];

    #[test]
    fn thresholds_are_reached_by_equal_values() {
        assert_eq!([threshold(0), threshold(9), threshold(18)], [0.05, 0.5, 0.95]);
        let counts = map_counts(&[1.0, 0.5, 0.6, 0.0, 1.0], &TRUTH, 3).unwrap();
        // t = 0.50: both on the label and the one outside; 0.55: one and one; 0.65: one alone.
        assert_eq!((counts.intersection[9], counts.union[9]), (2, 3));
        assert_eq!((counts.intersection[10], counts.union[10]), (1, 3));
        assert_eq!((counts.intersection[12], counts.union[12]), (1, 2));
        assert_eq!((counts.inside, counts.outside), (0.75, Some(f64::from(0.6f32) / 2.0)));
        assert!(counts.hit, "the ignored pixel comes later and is no peak");
        // Ranked 1.0 (on), 0.6 (off), 0.5 (on), 0.0 (off): precision 1 and 2/3 at recall 1/2 and 1.
        assert!((counts.average_precision - 5.0 / 6.0).abs() < 1e-15);
    }

    #[test]
    fn absent_labels_and_labels_everywhere() {
        assert_eq!(map_counts(&[0.0; 5], &TRUTH, 4), None);
        let full = map_counts(&[0.2, 0.4], &[7, 7], 7).unwrap();
        assert_eq!((full.outside, full.union[0], full.intersection[7]), (None, 2, 1));
        assert_eq!(MapSummary::of([&full]).unwrap().contrast, None);
        assert_eq!(MapSummary::of([]), None);
    }

    #[test]
    fn an_inverted_map_has_negative_contrast() {
        let (good, bad) = ([1.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0, 0.0]);
        let of = |map: &[f32]| MapSummary::of([&map_counts(map, &TRUTH, 3).unwrap()]).unwrap();
        assert_eq!((of(&good).contrast, of(&good).miou[18], of(&good).pointing, of(&good).best), (Some(1.0), 1.0, 1.0, 0));
        assert_eq!((of(&bad).contrast, of(&bad).miou[0], of(&bad).pointing), (Some(-1.0), 0.0, 0.0));
    }

    #[test]
    fn one_threshold_serves_all() {
        // Alone, the first is best at 0.05 .. 0.85 and the second at 0.35 .. 0.4; together they must agree on one.
        let first = map_counts(&[0.9, 0.9, 0.0, 0.0, 0.0], &TRUTH, 3).unwrap();
        let second = map_counts(&[0.4, 0.4, 0.3, 0.3, 0.0], &TRUTH, 3).unwrap();
        let both = MapSummary::of([&first, &second]).unwrap();
        assert_eq!((both.labels, both.miou[0], both.miou[16]), (2, 0.75, 0.5));
        assert_eq!((threshold(both.best), both.miou[both.best]), (0.35, 1.0));
    }

    #[test]
    fn argmax_asks_only_labelled_pixels() {
        // Maps of 3 and 5: pixel 0 right, pixel 1 equal (the first counts), pixel 3 wrong.
        let maps = [0.9, 0.5, 0.0, 0.8, 0.0, 0.1, 0.5, 1.0, 0.2, 1.0];
        assert_eq!(argmax_counts(&maps, &[3, 5], &TRUTH), [2, 3]);
    }
}
