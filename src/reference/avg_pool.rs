//! Average of 2 x 2 pixels: the anti-aliased stride of CLIP's ResNets, where others stride a convolution.
//!
//! Maps are channels-last. An odd last row or column is dropped.

/// Means of blocks of 2 x 2 pixels.
///
/// * `x`: `[B, H, W, C]`, with `images` = B, `size` = `[W, H]` and `width` = C
///
/// Returns `[B, H / 2, W / 2, C]`.
pub fn avg_pool(x: &[f32], images: usize, size: [usize; 2], width: usize) -> Vec<f32> {
    let [across, down] = size;
    assert_eq!(x.len(), images * down * across * width, "x is not [{images}, {down}, {across}, {width}]");
    let mut out = Vec::new();
    for image in 0..images {
        for (y, x_at) in (0..down / 2).flat_map(|y| (0..across / 2).map(move |x| (y, x))) {
            for c in 0..width {
                let pixel = |i: usize| f64::from(x[((image * down + 2 * y + i / 2) * across + 2 * x_at + i % 2) * width + c]);
                out.push(((0..4).map(pixel).sum::<f64>() / 4.0) as f32);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_borders_are_dropped() {
        // One image of 5 x 3 pixels, 2 channels: the second is ten times the first.
        let x: Vec<f32> = (0..15).flat_map(|i| [i as f32, 10.0 * i as f32]).collect();
        assert_eq!(avg_pool(&x, 1, [5, 3], 2), [3.0, 30.0, 5.0, 50.0]);
    }
}
