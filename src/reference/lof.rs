//! How much thinner the place of a point is than those of its neighbours: a local outlier factor.
//!
//! ```text
//! out_i = mean over the k nearest others j of radius_i / radius_j        radius: distance of the k-th nearest
//! ```
//!
//! The textbook's reach of j from i is max(radius_j, distance). SC-CLIP's code takes the point's own radius instead, on squared
//! distances, and then the factor collapses to this.

/// The smallest radius: points that coincide have ratio 1.
const SMALLEST: f64 = 1e-20;

/// Scores of points: near 1 inside a cluster of even density, larger outside.
///
/// * `distances`: `[B, n, n]`, symmetric
/// * `radii`: `[B, n]`, as [`kth_distance`](super::kth_distance) has them
/// * `k`: neighbours; of points at the same distance the lowest index counts first
///
/// Returns `[B, n]`.
pub fn lof(distances: &[f32], radii: &[f32], n: usize, k: usize) -> Vec<f32> {
    assert!(1 <= k && k < n, "{n} points have no neighbour {k}");
    let radius = |i: usize| f64::from(radii[i]).max(SMALLEST);
    let score = |(i, row): (usize, &[f32])| {
        let mut others: Vec<usize> = (0..n).filter(|&j| j != i % n).collect();
        // Stable: equals keep their order.
        others.sort_by(|&a, &b| row[a].total_cmp(&row[b]));
        (others[..k].iter().map(|&j| radius(i) / radius(i - i % n + j)).sum::<f64>() / k as f64) as f32
    };
    distances.chunks_exact(n).enumerate().map(score).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{Pair, gram, kth_distance};

    fn scores(points: &[f32], k: usize) -> Vec<f32> {
        let n = points.len();
        let distances = gram(points, n, 1, 0, Pair::Distance, 1.0);
        lof(&distances, &kth_distance(&distances, n, k), n, k)
    }

    #[test]
    fn equal_spacing_is_one_and_the_far_one_is_highest() {
        let mut line: Vec<f32> = (0..40).map(|i| i as f32).collect();
        assert!(scores(&line, 2)[2..38].iter().all(|s| (s - 1.0).abs() < 1e-6));
        line[17] = 100.0;
        let out = scores(&line, 2);
        assert!(out.iter().enumerate().all(|(i, &s)| i == 17 || s < out[17]), "{out:?}");
        assert!(out[17] > 100.0);
    }

    #[test]
    fn points_that_coincide_are_no_outliers() {
        assert_eq!(scores(&[3.0; 7], 4), [1.0; 7]);
    }

    #[test]
    fn of_equals_the_lowest_index() {
        // 0's neighbours at 1 and -1 are as far; the first of them has the small radius.
        let out = scores(&[0.0, 1.0, -1.0, 1.5], 1);
        assert_eq!(out[0], 4.0);
    }
}
