//! Which patches show one thing, by the labels that a first pass gave them:
//!
//! ```text
//! same[i, j] = 0              if the labels differ
//!              exp(-d / D)    if they do not, and something else lies on the way from i to j (path rule)
//!              1              else
//! ```
//!
//! d is the Chebyshev distance of i and j, D the largest one in the grid. The way is looked at in samples
//! `round(i (1 - t) + j t)` with t = k / D for k = 0 .. d, ties to even. Since D belongs to the grid and not to the pair,
//! that is only the first d / D of the way, and the matrix is not symmetric. So does the published code, and in f32: where
//! D is even, a rounding of t can decide a tie.
//!
//! Source: ResCLIP's code, arXiv 2411.15851 ("semantic feedback refinement").

/// One value per ordered pair of patches.
///
/// * `labels`: `[B, N]`, with `grid` = `[w, h]`
/// * `path_rule`: look at what lies between
///
/// Returns `[B, N, N]`, i slower than j.
pub fn same_entity(labels: &[u32], grid: [usize; 2], path_rule: bool) -> Vec<f32> {
    let [width, height] = grid;
    let cells = width * height;
    assert!(labels.len().is_multiple_of(cells), "labels are not [B, {cells}]");
    let farthest = width.max(height) - 1;
    let sample = |from: usize, to: usize, k: usize| {
        let t = k as f32 / farthest as f32;
        (from as f32 * (1.0 - t) + to as f32 * t).round_ties_even() as usize
    };
    let pair = |labels: &[u32], i: usize, j: usize| {
        let ((yi, xi), (yj, xj)) = ((i / width, i % width), (j / width, j % width));
        let d = yi.abs_diff(yj).max(xi.abs_diff(xj));
        // Sample 0 is i itself; a grid of one patch has no other.
        let other = |k: usize| labels[sample(yi, yj, k) * width + sample(xi, xj, k)] != labels[i];
        if labels[i] != labels[j] {
            0.0
        } else if path_rule && (1..=d).any(other) {
            (-(d as f64) / farthest as f64).exp() as f32
        } else {
            1.0
        }
    };
    let of_one = |labels: &[u32]| -> Vec<f32> { (0..cells * cells).map(|at| pair(labels, at / cells, at % cells)).collect() };
    labels.chunks_exact(cells).flat_map(of_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_beginning_of_a_way_counts() {
        // A row of five, D = 4. Between 0 and 4 lies a 9 at 3: the pair is farthest, so all of its way counts.
        let same = same_entity(&[1, 1, 1, 9, 1], [5, 1], true);
        let at = |i: usize, j: usize| same[i * 5 + j];
        assert_eq!((at(0, 3), at(0, 2), at(2, 0)), (0.0, 1.0, 1.0));
        assert_eq!(at(0, 4), (-1.0f32).exp());
        // From 2 to 4, half of the way: samples 2, 2.5 (to even: 2) and 3. From 4 to 2: 4, 3.5 (to even: 4), 3.
        assert_eq!((at(2, 4), at(4, 2)), ((-0.5f32).exp(), (-0.5f32).exp()));
        // From 1 to 4: 1, 1.75, 2.5, 3.25: 3 is met last. From 4 to 1: 4, 3.25: met first.
        assert_eq!((at(1, 4), at(4, 1)), ((-0.75f32).exp(), (-0.75f32).exp()));
        // With 9 at 4's neighbour but one: from 0 to 3 samples 0, 0.75, 1.5 (2), 2.25 (2) end before 3 is near.
        let same = same_entity(&[1, 9, 1, 1, 1, 1, 1], [7, 1], true);
        assert_eq!((same[3 * 7], same[3]), (1.0, (-0.5f32).exp()), "from 3 to 0 the way ends at 1.5, to even 2; from 0 to 3 it meets 1");
        assert_eq!(same_entity(&[1, 9, 1], [3, 1], false), [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
        assert_eq!(same_entity(&[4], [1, 1], true), [1.0]);
    }
}
