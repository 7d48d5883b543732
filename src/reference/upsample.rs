//! Bilinear resampling of planes without antialias, pixels aligned by their centres or by the corners of the planes.
//!
//! ```text
//! source = max((i + 0.5) * from / to - 0.5, 0)      on each axis, half-pixel centres
//! source = i * (from - 1) / (to - 1)                corners; 0 where to = 1
//! out    = linear blend of samples floor(source) and floor(source) + 1, the latter cut at the border
//! ```
//!
//! Source: PyTorch's `interpolate(mode="bilinear", align_corners=False)` and `True`. Going down it skips samples, as the
//! original does.

/// What a resized map has in common with the one it comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Align {
    /// The edges of the outer pixels.
    #[default]
    Centres,
    /// The centres of the outer pixels.
    Corners,
}

/// Resamples each plane from one `[w, h]` to another, half-pixel centres.
///
/// * `maps`: `[P, h, w]`, with `planes` = P
///
/// Returns `[P, to_h, to_w]`.
pub fn upsample(maps: &[f32], planes: usize, from: [usize; 2], to: [usize; 2]) -> Vec<f32> {
    upsample_aligned(maps, planes, from, to, Align::Centres)
}

/// As [`upsample`], aligned as told.
pub fn upsample_aligned(maps: &[f32], planes: usize, from: [usize; 2], to: [usize; 2], align: Align) -> Vec<f32> {
    let [width, height] = from;
    assert_eq!(maps.len(), planes * height * width, "maps are not [{planes}, {height}, {width}]");
    let mut out = Vec::with_capacity(planes * to[0] * to[1]);
    for plane in 0..planes {
        let at = |y: usize, x: usize| f64::from(maps[(plane * height + y) * width + x]);
        for y in 0..to[1] {
            let (top, bottom, down) = neighbours(y, height, to[1], align);
            for x in 0..to[0] {
                let (left, right, along) = neighbours(x, width, to[0], align);
                let above = at(top, left) * (1.0 - along) + at(top, right) * along;
                let below = at(bottom, left) * (1.0 - along) + at(bottom, right) * along;
                out.push((above * (1.0 - down) + below * down) as f32);
            }
        }
    }
    out
}

/// The two samples output `i` lies between, and how far it is on the way from the first to the second.
pub(crate) fn neighbours(i: usize, from: usize, to: usize, align: Align) -> (usize, usize, f64) {
    let source = match align {
        Align::Centres => ((i as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0),
        Align::Corners => (i * (from - 1)) as f64 / (to - 1).max(1) as f64,
    };
    let first = (source as usize).min(from - 1);
    (first, (first + 1).min(from - 1), source - first as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_size_is_the_identity() {
        let maps: Vec<f32> = (0..24).map(|i| (i * 37 % 24) as f32).collect();
        assert_eq!(upsample(&maps, 2, [4, 3], [4, 3]), maps);
    }

    #[test]
    fn doubling_a_pair() {
        assert_eq!(upsample(&[0.0, 1.0], 1, [2, 1], [4, 1]), [0.0, 0.25, 0.75, 1.0]);
    }

    #[test]
    fn corners_stay_corners() {
        let to_seven = upsample_aligned(&[0.0, 3.0, 9.0], 1, [3, 1], [7, 1], Align::Corners);
        assert_eq!(to_seven, [0.0, 1.0, 2.0, 3.0, 5.0, 7.0, 9.0]);
        assert_eq!(upsample_aligned(&[1.0, 2.0, 3.0, 4.0], 1, [2, 2], [1, 1], Align::Corners), [1.0]);
    }

    #[test]
    fn halving_is_the_mean_of_two_by_two() {
        assert_eq!(upsample(&[1.0, 2.0, 3.0, 6.0], 1, [2, 2], [1, 1]), [3.0]);
    }
}
