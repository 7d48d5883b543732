//! Patch scores to point prompts for a segmenter such as SAM: where the text is, and where it surely is not.
//!
//! The recipe of CLIP Surgery (arXiv 2304.05653), on one map of `[h, w]` scores: down-sample (bilinear, no antialias), stretch to
//! 0..1, count the cells at or above the threshold, at most half of all; so many of the strongest cells become positive
//! points, ascending, the strongest last, and so many of the weakest negative ones, the weakest first. A point is the
//! centre of its cell, in pixels of the image, cut to whole numbers.
//!
//! Several texts: negatives of the mean of the stretched maps, then positives of each map by itself. The points equal the original's;
//! where that has no answer or a random one, this is what happens:
//!
//! * equal scores rank in reading order (the original's sort is not stable);
//! * a constant map, a threshold above 1 or a single cell are errors (the original returns all cells and no labels);
//! * an image with fewer pixels than cells gets several points on one pixel (the original stops);
//! * grids need not be square.

use crate::error::{Error, Result};
use crate::reference::upsample;
use std::cmp::Ordering;

/// What makes a cell strong enough for a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Threshold {
    /// At least this much of the way from the weakest to the strongest cell, 0..=1; 0.8 in the original.
    Stretched(f32),
    /// At or above this quantile of the cells, 0..=1 (linear between cells, as NumPy's): the number of points does not
    /// depend on how peaked the map is. 0.9 takes a tenth of the cells.
    Quantile(f32),
}

/// How points are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PointOptions {
    /// What counts as strong.
    pub threshold: Threshold,
    /// The map's sides are divided by this first (whole numbers, at least one cell a side); 2 in the original.
    pub down_sample: u32,
    /// At most so many positives per text, and so many negatives. Of more, some are taken evenly by rank, the strongest
    /// positive and the weakest negative always among them.
    pub most: Option<usize>,
}

impl Default for PointOptions {
    fn default() -> PointOptions {
        PointOptions { threshold: Threshold::Stretched(0.8), down_sample: 2, most: None }
    }
}

/// Point prompts in the form that SAM's predictors take.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Points {
    /// (x, y), pixels of the image; `point_coords`.
    pub coords: Vec<[u32; 2]>,
    /// 1 is part of what was named, 0 is not; `point_labels`.
    pub labels: Vec<u8>,
    /// Each point's cell, down-sampled: the map's own scores, or for the negatives of several texts the mean of the
    /// stretched maps.
    pub scores: Vec<f32>,
}

/// Points of one text. `scores` is `[h * w]`, row by row, `grid` and `size` are (width, height): of the map in patches and
/// of the image in pixels.
///
/// # Errors
/// Scores that are not finite, do not fit the grid, or are all the same; options out of range; fewer than two cells.
pub fn points(scores: &[f32], grid: [u32; 2], size: [u32; 2], options: &PointOptions) -> Result<Points> {
    let ranked = Ranked::of(scores, grid, options)?;
    let mut points = Points::default();
    points.extend(&ranked, 1, size);
    points.extend(&ranked, 0, size);
    Ok(points)
}

/// Points of several texts that are sought together, such as "person+bench": `maps` are `[h * w]` each. One map is
/// [`points`]. Several give negatives first (cells that no text wants), then the positives of each map in order.
///
/// # Errors
/// As [`points`]; no map.
pub fn combined_points(maps: &[&[f32]], grid: [u32; 2], size: [u32; 2], options: &PointOptions) -> Result<Points> {
    if let [one] = maps {
        return points(one, grid, size, options);
    }
    if maps.is_empty() {
        return Err(Error::Input { what: "points: no map; name at least one text".into() });
    }
    let mut mean = vec![0.0; cells(grid)?];
    for map in maps {
        check(map, grid)?;
        for (sum, v) in mean.iter_mut().zip(stretched(map)?) {
            *sum += v / maps.len() as f32;
        }
    }
    let mut points = Points::default();
    points.extend(&Ranked::of(&mean, grid, options)?, 0, size);
    for map in maps {
        points.extend(&Ranked::of(map, grid, options)?, 1, size);
    }
    Ok(points)
}

/// Cells in order of their score, and how many of either end are points.
struct Ranked {
    /// Cells a row, cells a column.
    grid: [u32; 2],
    scores: Vec<f32>,
    /// Ascending.
    order: Vec<usize>,
    count: usize,
    most: Option<usize>,
}

impl Ranked {
    fn of(scores: &[f32], grid: [u32; 2], options: &PointOptions) -> Result<Ranked> {
        check(scores, grid)?;
        let (name, limit) = match options.threshold {
            Threshold::Stretched(t) => ("threshold", t),
            Threshold::Quantile(q) => ("quantile", q),
        };
        if !(0.0..=1.0).contains(&limit) {
            return Err(Error::Input { what: format!("points: {name} {limit} is not in 0..=1") });
        }
        if options.down_sample == 0 || options.most == Some(0) {
            return Err(Error::Input { what: "points: down-sampling by 0, or at most 0 points: expected 1 or more".into() });
        }
        let small = grid.map(|side| (side / options.down_sample).max(1));
        let cells = cells(small)?;
        if cells < 2 {
            let [w, h] = grid;
            return Err(Error::Input {
                what: format!(
                    "points: a grid of {w}x{h} patches down-sampled by {} is a single cell, expected two or more; \
                     use a larger --size or a smaller --down-sample",
                    options.down_sample
                ),
            });
        }
        let scores = if small == grid { scores.to_vec() } else { upsample(scores, 1, sides(grid), sides(small)) };
        let levels = stretched(&scores)?;
        let mut order: Vec<usize> = (0..cells).collect();
        // Stable: equal cells stay in reading order.
        order.sort_by(|&a, &b| scores[a].partial_cmp(&scores[b]).unwrap_or(Ordering::Equal));
        let limit = match options.threshold {
            Threshold::Stretched(t) => t,
            Threshold::Quantile(q) => {
                let at = q * (cells - 1) as f32;
                // Above 2^24 cells the product may round up.
                let level = |at: f32| levels[order[(at as usize).min(cells - 1)]];
                let (below, above) = (level(at.floor()), level(at.ceil()));
                below + (above - below) * at.fract()
            }
        };
        let count = levels.iter().filter(|&&v| v >= limit).count().clamp(1, cells / 2);
        Ok(Ranked { grid: small, scores, order, count, most: options.most })
    }

    /// Cells of one end in ascending order.
    fn chosen(&self, label: u8) -> Vec<usize> {
        let n = self.count;
        let kept = self.most.map_or(n, |most| most.min(n));
        // Steps from the far end inwards: 0, n / kept, 2 n / kept ...
        let steps = (0..kept).map(|i| i * n / kept);
        match label {
            0 => steps.map(|s| self.order[s]).collect(),
            _ => steps.rev().map(|s| self.order[self.order.len() - 1 - s]).collect(),
        }
    }
}

impl Points {
    fn extend(&mut self, ranked: &Ranked, label: u8, size: [u32; 2]) {
        for cell in ranked.chosen(label) {
            let at = [cell as u32 % ranked.grid[0], cell as u32 / ranked.grid[0]];
            self.coords.push([0, 1].map(|axis| centre(at[axis], ranked.grid[axis], size[axis])));
            self.labels.push(label);
            self.scores.push(ranked.scores[cell]);
        }
    }

    /// How many are part of what was named.
    pub fn positives(&self) -> usize {
        self.labels.iter().filter(|&&l| l == 1).count()
    }
}

/// Centre of a cell in pixels. In f32, as the original: the rounding decides some pixels.
fn centre(cell: u32, cells: u32, pixels: u32) -> u32 {
    let scale = (f64::from(pixels) / f64::from(cells)) as f32;
    ((cell as f32 + 0.5) * scale).min(pixels.saturating_sub(1) as f32) as u32
}

/// 0..1 from the weakest to the strongest.
fn stretched(map: &[f32]) -> Result<Vec<f32>> {
    let (low, high) = map.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
    if low >= high {
        return Err(Error::Input {
            what: format!("points: the map is {low} everywhere, nothing stands out; use another text, method or a larger --size"),
        });
    }
    Ok(map.iter().map(|v| (v - low) / (high - low)).collect())
}

fn check(map: &[f32], grid: [u32; 2]) -> Result<()> {
    let cells = cells(grid)?;
    if map.len() != cells {
        return Err(Error::shape("points", "map", format!("{cells} scores for {}x{} patches", grid[0], grid[1]), map.len()));
    }
    match map.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(Error::ResultNotFinite { what: "the map for points".into(), index, value: map[index] }),
        None => Ok(()),
    }
}

fn cells(grid: [u32; 2]) -> Result<usize> {
    match usize::try_from(u64::from(grid[0]) * u64::from(grid[1])) {
        Ok(cells) if cells > 0 => Ok(cells),
        _ => Err(Error::shape("points", "grid", "positive sides that memory holds", format!("{}x{}", grid[0], grid[1]))),
    }
}

fn sides(grid: [u32; 2]) -> [usize; 2] {
    grid.map(|n| n as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY_CELL: PointOptions = PointOptions { threshold: Threshold::Stretched(0.8), down_sample: 1, most: None };

    #[test]
    fn strongest_last_then_weakest_first() {
        // 3x2 cells of 10 pixels.
        let found = points(&[0.9, 0.0, 0.2, 1.0, 0.3, 0.1], [3, 2], [30, 20], &EVERY_CELL).unwrap();
        assert_eq!(found.coords, [[5, 5], [5, 15], [15, 5], [25, 15]]);
        assert_eq!(found.labels, [1, 1, 0, 0]);
        assert_eq!(found.scores, [0.9, 1.0, 0.0, 0.1]);
        assert_eq!(found.positives(), 2);
    }

    #[test]
    fn down_sampling_averages_pairs_and_keeps_thin_grids() {
        let options = PointOptions { down_sample: 2, ..EVERY_CELL };
        // 4x1: two cells of two patches; the short side is not halved away.
        let found = points(&[0.0, 1.0, 5.0, 6.0], [4, 1], [40, 10], &options).unwrap();
        assert_eq!((found.coords, found.scores), (vec![[30, 5], [10, 5]], vec![5.5, 0.5]));
    }

    #[test]
    fn equal_scores_rank_in_reading_order() {
        let found = points(&[1.0, 0.0, 1.0, 0.0], [4, 1], [4, 1], &EVERY_CELL).unwrap();
        assert_eq!(found.coords, [[0, 0], [2, 0], [1, 0], [3, 0]]);
    }

    #[test]
    fn few_pixels_and_half_of_the_cells_at_most() {
        let ramp: Vec<f32> = (0..9).map(|v| v as f32).collect();
        let found = points(&ramp, [3, 3], [1, 2], &PointOptions { threshold: Threshold::Stretched(0.0), ..EVERY_CELL }).unwrap();
        assert_eq!(found.positives(), 4);
        assert!(found.coords.iter().all(|&[x, y]| x < 1 && y < 2), "{:?}", found.coords);
    }

    #[test]
    fn quantiles_count_cells() {
        // Peaked: one cell reaches 0.8 of the strongest, and still a tenth of the cells are wanted.
        let peaked: Vec<f32> = (0..100).map(|v| (v as f32 / 10.0).exp()).collect();
        let of = |threshold| points(&peaked, [10, 10], [100, 100], &PointOptions { threshold, ..EVERY_CELL }).unwrap().positives();
        assert_eq!(of(Threshold::Stretched(0.95)), 1);
        assert_eq!(of(Threshold::Quantile(0.9)), 10);
        assert_eq!(of(Threshold::Quantile(1.0)), 1);
        assert_eq!(of(Threshold::Quantile(0.0)), 50);
    }

    #[test]
    fn thinning_keeps_the_ends() {
        let ramp: Vec<f32> = (0..20).map(|v| v as f32).collect();
        let options = PointOptions { threshold: Threshold::Quantile(0.5), most: Some(3), ..EVERY_CELL };
        let found = points(&ramp, [20, 1], [20, 1], &options).unwrap();
        assert_eq!(found.scores, [13.0, 16.0, 19.0, 0.0, 3.0, 6.0]);
    }

    #[test]
    fn several_texts() {
        let (a, b) = ([9.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.5, 0.1]);
        let found = combined_points(&[&a, &b], [4, 1], [4, 1], &EVERY_CELL).unwrap();
        // Nobody wants cell 1; the mean's strongest are cells 0 and 2, two of them, so there are two negatives.
        assert_eq!(found.coords, [[1, 0], [3, 0], [0, 0], [2, 0]]);
        assert_eq!(found.labels, [0, 0, 1, 1]);
        assert_eq!(combined_points(&[&a], [4, 1], [4, 1], &EVERY_CELL).unwrap(), points(&a, [4, 1], [4, 1], &EVERY_CELL).unwrap());
    }

    #[test]
    fn what_has_no_answer_is_refused() {
        let fails = |scores: &[f32], grid, options: &PointOptions| points(scores, grid, [9, 9], options).unwrap_err().to_string();
        let ramp = [0.0, 1.0, 2.0, 3.0];
        assert!(fails(&[2.0; 4], [2, 2], &EVERY_CELL).contains("everywhere"));
        assert!(fails(&ramp, [2, 2], &PointOptions { down_sample: 2, ..EVERY_CELL }).contains("single cell"));
        assert!(fails(&ramp, [2, 2], &PointOptions { down_sample: 0, ..EVERY_CELL }).contains("by 0"));
        assert!(fails(&ramp, [2, 2], &PointOptions { threshold: Threshold::Stretched(1.5), ..EVERY_CELL }).contains("threshold 1.5"));
        assert!(fails(&ramp, [2, 2], &PointOptions { threshold: Threshold::Quantile(f32::NAN), ..EVERY_CELL }).contains("quantile NaN"));
        assert!(fails(&ramp, [3, 2], &EVERY_CELL).contains("6 scores"));
        assert!(fails(&[], [0, 2], &EVERY_CELL).contains("0x2"));
        assert!(fails(&[0.0, f32::NAN], [2, 1], &EVERY_CELL).contains("element 1"));
        assert!(combined_points(&[], [2, 2], [9, 9], &EVERY_CELL).unwrap_err().to_string().contains("no map"));
    }
}
