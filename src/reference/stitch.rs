//! Overlapping windows back to one picture: each window's grid is stretched over the window, and where windows overlap
//! their mean is taken.
//!
//! ```text
//! sum[q, y, x]  += bilinear(scores of window k for label q, [h, w] -> window)[y - y_k, x - x_k]
//! visits[y, x]  += 1
//! canvas         = sum / visits
//! ```
//!
//! Source: the sliding-window inference of SCLIP and the projects built on it. A grid that does not cover its window to the
//! last pixel, because the window is no multiple of the patch, is stretched over all of it nonetheless, as there.
//! Where windows were padded for the model, the grid is stretched over the padding too, and that is cut off (ClearCLIP).

use super::upsample;
use std::ops::Range;

/// Places of windows of one size on a canvas. Every pixel must be covered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Canvas, `[w, h]`, pixels.
    pub canvas: [usize; 2],
    /// Size of each window, `[w, h]`.
    pub size: [usize; 2],
    /// Left edge of each column of windows.
    pub columns: Vec<usize>,
    /// Upper edge of each row of windows.
    pub rows: Vec<usize>,
    /// Padding that the model saw left of and above a window, pixels.
    pub before: [usize; 2],
    /// Padding right of and below it.
    pub after: [usize; 2],
}

/// Joins the windows' scores for some labels.
///
/// * `scores`: `[K, 1 + N, L]`, class row first, K = rows x columns of windows, row by row; with `labels` = L
/// * `grid`: patches of a window, `[w, h]`
/// * `chosen`: the labels to be joined, Q of them
///
/// Returns `[Q, H, W]`.
pub fn stitch(scores: &[f32], labels: usize, grid: [usize; 2], windows: &Windows, chosen: Range<usize>) -> Vec<f32> {
    let tokens = 1 + grid[0] * grid[1];
    let count = windows.rows.len() * windows.columns.len();
    assert_eq!(scores.len(), count * tokens * labels, "scores are not [{count}, {tokens}, {labels}]");
    let [width, height] = windows.canvas;
    let mut out = Vec::with_capacity(chosen.len() * width * height);
    for label in chosen {
        let mut sum = vec![0.0f64; width * height];
        let mut visits = vec![0u32; width * height];
        for (r, &top) in windows.rows.iter().enumerate() {
            for (c, &left) in windows.columns.iter().enumerate() {
                let first = (r * windows.columns.len() + c) * tokens + 1;
                let map: Vec<f32> = (first..first + tokens - 1).map(|token| scores[token * labels + label]).collect();
                let padded = [0, 1].map(|axis| windows.before[axis] + windows.size[axis] + windows.after[axis]);
                let map = upsample(&map, 1, grid, padded);
                for i in 0..windows.size[0] * windows.size[1] {
                    let (x, y) = (i % windows.size[0], i / windows.size[0]);
                    let at = (top + y) * width + left + x;
                    sum[at] += f64::from(map[(windows.before[1] + y) * padded[0] + windows.before[0] + x]);
                    visits[at] += 1;
                }
            }
        }
        out.extend(sum.iter().zip(&visits).map(|(sum, &visits)| (sum / f64::from(visits)) as f32));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overlap_is_a_mean() {
        // Two windows of two pixels on three, one patch each; the class rows say 99.
        let windows = Windows { canvas: [3, 1], size: [2, 1], columns: vec![0, 1], rows: vec![0], before: [0; 2], after: [0; 2] };
        assert_eq!(stitch(&[99.0, 1.0, 99.0, 3.0], 1, [1, 1], &windows, 0..1), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn padding_is_cut_off() {
        // Three patches say 1, 2, 3 of a padding pixel, the only pixel of the window, and another padding pixel.
        let windows = Windows { canvas: [1, 1], size: [1, 1], columns: vec![0], rows: vec![0], before: [1, 0], after: [1, 0] };
        assert_eq!(stitch(&[99.0, 1.0, 2.0, 3.0], 1, [3, 1], &windows, 0..1), [2.0]);
    }
}
