//! Where a map is largest at image size, found on the grid.

use crate::reference::{Align, neighbours};

/// Pixels that may hold the largest value, for one grid and one image size.
///
/// Between two cells a resized map is linear along either axis, so the largest value of a row or column lies on the first or
/// the last pixel between two cells; where neighbours tie, the first one is meant.
#[derive(Debug)]
pub(crate) struct Peaks {
    width: usize,
    columns: Vec<Sample>,
    rows: Vec<Sample>,
}

/// A pixel, the two cells it lies between, and how far it is on the way.
type Sample = (u32, usize, usize, f64);

impl Peaks {
    /// `grid` and `size` are (width, height).
    pub fn new(grid: [u32; 2], size: [u32; 2], align: Align) -> Peaks {
        Peaks { width: grid[0] as usize, columns: samples(grid[0], size[0], align), rows: samples(grid[1], size[1], align) }
    }

    /// (x, y) of the largest value that `map`, `[h w]`, has at image size; the first of several in reading order.
    pub fn of(&self, map: &[f32]) -> [u32; 2] {
        let mut best = (f64::MIN, [0, 0]);
        for &(y, top, bottom, down) in &self.rows {
            for &(x, left, right, along) in &self.columns {
                let row = |row: usize| {
                    let at = |column: usize| f64::from(map[row * self.width + column]);
                    at(left) * (1.0 - along) + at(right) * along
                };
                let value = row(top) * (1.0 - down) + row(bottom) * down;
                if value > best.0 {
                    best = (value, [x, y]);
                }
            }
        }
        best.1
    }
}

fn samples(from: u32, to: u32, align: Align) -> Vec<Sample> {
    let mut kept: Vec<Sample> = Vec::new();
    for i in 0..to {
        let (low, high, t) = neighbours(i as usize, from as usize, to as usize, align);
        // The last pixel so far between these cells gives way to this one, the first one stays.
        if let [.., before, last] = kept.as_slice()
            && before.1 == low
            && last.1 == low
        {
            kept.pop();
        }
        kept.push((i, low, high, t));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::upsample_aligned;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn as_in_the_whole_map(
            grid in prop::array::uniform2(1u32..6), size in prop::array::uniform2(1u32..60), cells in prop::collection::vec(0u8..5, 25)
        ) {
            let map: Vec<f32> = cells[..(grid[0] * grid[1]) as usize].iter().map(|&v| f32::from(v)).collect();
            for align in [Align::Centres, Align::Corners] {
                let whole = upsample_aligned(&map, 1, grid.map(|g| g as usize), size.map(|s| s as usize), align);
                let [x, y] = Peaks::new(grid, size, align).of(&map);
                let largest = whole.iter().copied().fold(f32::MIN, f32::max);
                let got = whole[(y * size[0] + x) as usize];
                prop_assert!((got - largest).abs() <= 1e-6, "{align:?}: {got} at ({x}, {y}) of {largest}");
            }
        }
    }

    #[test]
    fn corners_and_ties() {
        // A corner is a plateau: its first pixel counts.
        assert_eq!(Peaks::new([2, 2], [8, 8], Align::Centres).of(&[1.0, 0.0, 0.0, 0.0]), [0, 0]);
        assert_eq!(Peaks::new([2, 2], [8, 8], Align::Centres).of(&[0.0, 0.0, 0.0, 1.0]), [6, 6]);
        assert_eq!(Peaks::new([3, 1], [30, 10], Align::Centres).of(&[0.0, 0.0, 0.0]), [0, 0]);
    }
}
