//! Patches that correlate alike become segments, and each segment takes one class: majority rules.
//!
//! ```text
//! M         = max(0, C - class row of C)                  C [1 + N, 1 + N]: what a block exports;  M [N, N]
//! clusters  = DBSCAN of the rows of M, Euclidean          noise belongs to none
//! maps      = mean of M over a cluster's rows, [h, w] ─ bilinear x 4 ─ median 7 x 7 ─ bilinear to pixels
//! segments  = arg-max over clusters;  class of a segment = the most frequent of its pixels', the lowest of equals
//! ```
//!
//! Source: CLIPtrase (arXiv 2407.08268), section 3. DBSCAN is Ester et al. 1996, with the conventions of scikit-learn:
//! a distance of exactly `eps` is near, a point counts among its own neighbours, clusters are numbered by their first
//! core point, and a border point belongs to the first cluster that reaches it.

use crate::clip::model::check_finite;
use crate::error::{Error, Result};
use crate::reference::upsample;
use dbscan::{Classification, Model};

/// How many pixels of a cluster's map there are to a patch when the median is taken.
const FINE: usize = 4;
/// Side of the median's window.
const MEDIAN: usize = 7;

/// Segments by clusters of patches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClusterVote {
    /// Patches are near each other if their rows are at most this far apart.
    pub eps: f64,
    /// A patch with so many near ones, itself among them, is the core of a cluster.
    pub min_samples: usize,
}

impl ClusterVote {
    /// As published for inputs of 224 pixels and patches of 16.
    pub const SIDE_224: ClusterVote = ClusterVote { eps: 0.7, min_samples: 3 };
    /// As published for inputs of 336 pixels and patches of 16.
    pub const SIDE_336: ClusterVote = ClusterVote { eps: 1.1, min_samples: 7 };

    /// Refuses values that mean nothing.
    ///
    /// # Errors
    /// [`Error::Input`] names the value.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::Input { what });
        if !(self.eps.is_finite() && self.eps > 0.0) {
            return wrong(format!("clusters: eps {}; expected a positive distance, e.g. 0.7", self.eps));
        }
        if self.min_samples == 0 {
            return wrong("clusters: min_samples 0; expected at least 1, e.g. 3".into());
        }
        Ok(())
    }

    /// The cluster of each patch, none for noise: of the rows of [`denoised`], `[N, N]`.
    ///
    /// # Errors
    /// Values that mean nothing, rows that are not square, or values that are not finite.
    pub fn clusters(&self, denoised: &[f32]) -> Result<Vec<Option<usize>>> {
        self.check()?;
        let patches = square("clusters", denoised)?;
        check_finite("the correlation of patches", denoised)?;
        let rows: Vec<Vec<f64>> = denoised.chunks_exact(patches.max(1)).map(|row| row.iter().map(|&v| f64::from(v)).collect()).collect();
        // The crate takes what is nearer than its limit; the next number up makes that "at most".
        let found = Model::new(self.eps.next_up(), self.min_samples).run(&rows);
        let cluster = |c: &Classification| match *c {
            Classification::Core(at) | Classification::Edge(at) => Some(at),
            Classification::Noise => None,
        };
        Ok(found.iter().map(cluster).collect())
    }

    /// The segment of each pixel, `[H, W]`; empty if all patches are noise. `correlation` is `[1 + N, 1 + N]`, class row
    /// first; `grid` the N patches and `size` the picture, both (width, height).
    ///
    /// # Errors
    /// As [`ClusterVote::clusters`]; a grid that does not have N patches.
    pub fn segments(&self, correlation: &[f32], grid: [u32; 2], size: [u32; 2]) -> Result<Vec<u32>> {
        let denoised = denoised(correlation)?;
        let [width, height] = grid.map(|s| s as usize);
        let patches = width * height;
        if denoised.len() != patches * patches {
            let expected = format!("{0} x {0} values for a grid of {width} x {height} and the class row", patches + 1);
            return Err(Error::shape("clusters", "correlation", expected, correlation.len()));
        }
        let cluster_of = self.clusters(&denoised)?;
        let count = cluster_of.iter().flatten().max().map_or(0, |last| last + 1);
        let (fine, size) = ([width * FINE, height * FINE], size.map(|s| s as usize));
        let mut best: Vec<(f32, u32)> = vec![(f32::NEG_INFINITY, 0); if count == 0 { 0 } else { size[0] * size[1] }];
        for cluster in 0..count {
            let map = mean_of_rows(&denoised, patches, &cluster_of, cluster);
            let map = median(&upsample(&map, 1, [width, height], fine), fine);
            for (best, value) in best.iter_mut().zip(upsample(&map, 1, fine, size)) {
                if value > best.0 {
                    *best = (value, cluster as u32);
                }
            }
        }
        Ok(best.into_iter().map(|(_, cluster)| cluster).collect())
    }

    /// Gives each segment's pixels the class that most of them have; `class_of_pixel` is `[H, W]`. Nothing changes where
    /// all patches are noise.
    ///
    /// # Errors
    /// As [`ClusterVote::segments`]; a label map of another size.
    pub fn vote(&self, correlation: &[f32], grid: [u32; 2], size: [u32; 2], class_of_pixel: &mut [u16]) -> Result<()> {
        let pixels = size[0] as usize * size[1] as usize;
        if class_of_pixel.len() != pixels {
            return Err(Error::shape("clusters", "class_of_pixel", format!("{} x {} classes", size[0], size[1]), class_of_pixel.len()));
        }
        let segments = self.segments(correlation, grid, size)?;
        majority(&segments, class_of_pixel);
        Ok(())
    }
}

/// What patches have in common beyond what the class token has with them: `max(0, C[i, j] - C[0, j])`, `[N, N]`, from the
/// correlation of tokens, `[1 + N, 1 + N]`.
///
/// # Errors
/// Not a square matrix of at least two rows, or values that are not finite.
pub fn denoised(correlation: &[f32]) -> Result<Vec<f32>> {
    let tokens = square("denoised", correlation)?;
    if tokens < 2 {
        return Err(Error::shape("denoised", "correlation", "a class row and at least one patch", format!("{tokens} tokens")));
    }
    // `max` would make a zero of NaN.
    check_finite("the correlation of tokens", correlation)?;
    let class = &correlation[1..tokens];
    let patch = |row: &[f32]| row[1..].iter().zip(class).map(|(v, c)| (v - c).max(0.0)).collect::<Vec<_>>();
    Ok(correlation[tokens..].chunks_exact(tokens).flat_map(patch).collect())
}

fn square(op: &'static str, matrix: &[f32]) -> Result<usize> {
    let side = matrix.len().isqrt();
    if side * side == matrix.len() {
        return Ok(side);
    }
    Err(Error::shape(op, "matrix", "as many rows as columns", format!("{} values", matrix.len())))
}

fn mean_of_rows(rows: &[f32], width: usize, cluster_of: &[Option<usize>], cluster: usize) -> Vec<f32> {
    let mut sum = vec![0.0f64; width];
    let mut count = 0;
    for (row, _) in rows.chunks_exact(width).zip(cluster_of).filter(|(_, of)| **of == Some(cluster)) {
        sum.iter_mut().zip(row).for_each(|(sum, &v)| *sum += f64::from(v));
        count += 1;
    }
    sum.iter().map(|sum| (sum / f64::from(count)) as f32).collect()
}

/// The middle of each pixel's 7 x 7 window; beyond the border the picture is mirrored, its edge repeated. Both sides are at
/// least 4.
fn median(map: &[f32], [width, height]: [usize; 2]) -> Vec<f32> {
    let mirrored = |i: usize, step: usize, length: usize| {
        // i + step - 3 without going below zero.
        let at = i + step;
        if at < MEDIAN / 2 {
            MEDIAN / 2 - 1 - at
        } else {
            let at = at - MEDIAN / 2;
            if at < length { at } else { 2 * length - 1 - at }
        }
    };
    let mut window = Vec::with_capacity(MEDIAN * MEDIAN);
    let mut out = Vec::with_capacity(map.len());
    for y in 0..height {
        for x in 0..width {
            window.clear();
            for row in (0..MEDIAN).map(|step| mirrored(y, step, height) * width) {
                window.extend((0..MEDIAN).map(|step| map[row + mirrored(x, step, width)]));
            }
            out.push(*window.select_nth_unstable_by(MEDIAN * MEDIAN / 2, f32::total_cmp).1);
        }
    }
    out
}

/// Gives the pixels of each segment the most frequent of their classes, the lowest of equally frequent ones.
fn majority(segments: &[u32], class_of_pixel: &mut [u16]) {
    let classes = class_of_pixel.iter().max().map_or(0, |&last| usize::from(last) + 1);
    let mut counts: Vec<Vec<u64>> = Vec::new();
    for (&segment, &class) in segments.iter().zip(class_of_pixel.iter()) {
        let segment = segment as usize;
        if counts.len() <= segment {
            counts.resize(segment + 1, vec![0; classes]);
        }
        counts[segment][usize::from(class)] += 1;
    }
    let first_largest = |counts: &Vec<u64>| (0..counts.len()).fold(0, |best, c| if counts[c] > counts[best] { c } else { best }) as u16;
    let winners: Vec<u16> = counts.iter().map(first_largest).collect();
    for (class, &segment) in class_of_pixel.iter_mut().zip(segments) {
        *class = winners[segment as usize];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A square matrix whose rows lie on a line, at these places: distances are differences.
    fn line(places: &[f32]) -> Vec<f32> {
        places.iter().flat_map(|&v| std::iter::once(v).chain(std::iter::repeat_n(0.0, places.len() - 1))).collect()
    }

    #[test]
    fn clusters_by_first_core_point_and_noise_in_none() {
        let near = ClusterVote { eps: 1.0, min_samples: 3 };
        // Exactly eps is near, which makes a chain of all but the 9.
        let places = [4.0, 9.0, 0.5, 1.5, 0.0, 3.5, 4.5, 2.5, 1.0];
        let got = near.clusters(&line(&places)).unwrap();
        assert_eq!(got, [Some(0), None, Some(0), Some(0), Some(0), Some(0), Some(0), Some(0), Some(0)]);
        let tight = ClusterVote { eps: 0.5, min_samples: 3 };
        assert_eq!(tight.clusters(&line(&places)).unwrap(), [0, 9, 1, 1, 1, 0, 0, 9, 1].map(|c| (c < 9).then_some(c)));
        // 2 is no core itself and within reach of both clusters: the first has it.
        let border = ClusterVote { eps: 1.0, min_samples: 4 };
        let places = [2.0, 0.0, 0.25, 0.5, 1.0, 3.0, 3.5, 3.75, 4.0];
        assert_eq!(border.clusters(&line(&places)).unwrap(), [0, 0, 0, 0, 0, 1, 1, 1, 1].map(Some));
    }

    #[test]
    fn the_class_row_is_taken_off() {
        let correlation = [9.0, 0.5, 0.25, 9.0, 1.0, 0.125, 9.0, 0.25, 1.0];
        assert_eq!(denoised(&correlation).unwrap(), [0.5, 0.0, 0.0, 0.75]);
        assert!(denoised(&[1.0; 8]).unwrap_err().to_string().contains("as many rows"));
        assert!(denoised(&[1.0]).is_err() && denoised(&[]).is_err());
        assert!(denoised(&[1.0, f32::NAN, 1.0, 1.0]).is_err());
    }

    #[test]
    fn a_median_mirrors_the_border() {
        // Rows of 0 1 2 3 4: windows see 2 1 0 | 0 1 2 3 4 | 4 3 2, that of the first 2 1 0 0 1 2 3.
        let map: Vec<f32> = (0..20).map(|i| (i % 5) as f32).collect();
        assert_eq!(median(&map, [5, 4])[..5], [1.0, 1.0, 2.0, 3.0, 3.0]);
    }

    #[test]
    fn the_majority_rules_and_the_lowest_of_equals() {
        let mut classes = [3, 1, 1, 2, 2, 1, 7];
        majority(&[0, 0, 0, 1, 1, 1, 2], &mut classes);
        assert_eq!(classes, [1, 1, 1, 2, 2, 2, 7]);
        let mut tie = [5, 4, 4, 5];
        majority(&[0; 4], &mut tie);
        assert_eq!(tie, [4; 4]);
    }

    #[test]
    fn two_halves_vote() {
        // Four by one patches, two and two alike; the class token has nothing in common with them.
        let alike = |i: usize, j: usize| if i == 0 || j == 0 { 0.0 } else { f32::from(u8::from((i <= 2) == (j <= 2))) };
        let correlation: Vec<f32> = (0..25).map(|i| alike(i / 5, i % 5)).collect();
        let pairs = ClusterVote { eps: 0.5, min_samples: 2 };
        let mut classes: [u16; 8] = [1, 1, 2, 1, 5, 4, 4, 0];
        pairs.vote(&correlation, [4, 1], [8, 1], &mut classes).unwrap();
        assert_eq!(classes, [1, 1, 1, 1, 4, 4, 4, 4]);
        // All noise: no segment, so nothing changes.
        let mut classes: [u16; 8] = [1, 1, 2, 1, 5, 4, 4, 0];
        ClusterVote { eps: 0.5, min_samples: 3 }.vote(&correlation, [4, 1], [8, 1], &mut classes).unwrap();
        assert_eq!(classes, [1, 1, 2, 1, 5, 4, 4, 0]);
        let sizes = pairs.vote(&correlation, [3, 1], [8, 1], &mut classes).unwrap_err().to_string();
        assert!(sizes.contains("3 x 1"), "{sizes}");
        assert!(
            ClusterVote { eps: f64::NAN, min_samples: 3 }.check().is_err() && ClusterVote { eps: 1.0, min_samples: 0 }.check().is_err()
        );
    }
}
