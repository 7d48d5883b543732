//! The class that most pixels of a patch have; of equally frequent ones the lowest.
//!
//! Source: ResCLIP's code, arXiv 2411.15851, which takes the mode of each patch's pixel labels.

use std::collections::BTreeMap;

/// One class per patch.
///
/// * `classes`: `[B, H, W]`, with `size` = `[w, h]` of the picture
/// * `side`: of a patch, pixels; what lies beyond the last whole patch does not count
///
/// Returns `[B, N]`, N patches row by row.
pub fn patch_modes(classes: &[u32], size: [usize; 2], side: usize) -> Vec<u32> {
    let [width, height] = size;
    assert!(classes.len().is_multiple_of(width * height), "classes are not [B, {height}, {width}]");
    let mut modes = Vec::new();
    for picture in classes.chunks_exact(width * height) {
        for (row, column) in (0..height / side).flat_map(|row| (0..width / side).map(move |column| (row, column))) {
            let mut counts = BTreeMap::new();
            for y in row * side..(row + 1) * side {
                for x in column * side..(column + 1) * side {
                    *counts.entry(picture[y * width + x]).or_insert(0) += 1;
                }
            }
            let most = counts.values().copied().max().unwrap_or(0);
            // The map is in order of classes.
            modes.extend(counts.iter().find(|&(_, &count)| count == most).map(|(&class, _)| class));
        }
    }
    modes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_lowest_and_the_rest_is_cut_off() {
        // 5 x 3 pixels, two patches of 2 x 2; the last column and row do not count.
        let classes = [7, 3, 9, 2, 2, 3, 7, 9, 9, 2, 2, 2, 2, 2, 2];
        assert_eq!(patch_modes(&classes, [5, 3], 2), [3, 9]);
    }
}
