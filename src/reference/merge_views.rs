//! Scores of the five views of a picture to one.
//!
//! ```text
//! upright = mean over the picture, its grey and its blurred view
//! flipped = mean over the two flipped views, each patch taken from where it lies in that view
//! out     = share * upright + (1 - share) * flipped
//! ```
//!
//! Source: ITACLIP (arXiv 2411.12044). It averages the unit features of upright views and does not make them unit vectors
//! again, which for cosines is the mean of the cosines.

/// Merges the views' scores.
///
/// * `s`: `[5, B, 1 + N, L]`, class row first, in the order of [`views`](super::views)
/// * `grid`: the N patches, `[w, h]`; `labels`: L
///
/// Returns `[B, 1 + N, L]`.
pub fn merge_views(s: &[f32], grid: [usize; 2], labels: usize, share: f32) -> Vec<f32> {
    let tokens = 1 + grid[0] * grid[1];
    assert_eq!(s.len() % (5 * tokens * labels), 0, "s is not [5, B, {tokens}, {labels}]");
    let rows = s.len() / (5 * labels);
    let share = f64::from(share);
    let one = |row: usize, label: usize| {
        let (image, token) = (row / tokens, row % tokens);
        let of = |view: usize, token: usize| f64::from(s[((view * rows) + image * tokens + token) * labels + label]);
        let (down, across) = match token.checked_sub(1) {
            None => (0, 0),
            Some(patch) => {
                let (x, y) = (patch % grid[0], patch / grid[0]);
                (1 + (grid[1] - 1 - y) * grid[0] + x, 1 + y * grid[0] + grid[0] - 1 - x)
            }
        };
        let upright = (of(0, token) + of(1, token) + of(2, token)) / 3.0;
        let flipped = (of(3, down) + of(4, across)) / 2.0;
        (share * upright + (1.0 - share) * flipped) as f32
    };
    (0..rows).flat_map(|row| (0..labels).map(move |label| (row, label))).map(|(row, label)| one(row, label)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_flipped_views_say_comes_back() {
        // Two by two patches, one label: views that see the same thing say the same of it.
        let upright = [9.0, 1.0, 2.0, 3.0, 4.0];
        let s = [upright, upright, upright, [9.0, 3.0, 4.0, 1.0, 2.0], [9.0, 2.0, 1.0, 4.0, 3.0]].concat();
        assert_eq!(merge_views(&s, [2, 2], 1, 0.75), upright);
        let s = [[3.0, 0.0], [6.0, 0.0], [0.0, 3.0], [2.0, 0.0], [6.0, 1.0]].concat();
        assert_eq!(merge_views(&s, [1, 1], 1, 0.75), [0.75 * 3.0 + 0.25 * 4.0, 0.75 + 0.125]);
    }
}
