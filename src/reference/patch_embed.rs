//! The vision transformer's first layer: one linear map per patch, then class row and positions.
//!
//! ```text
//! patch[b, y w + x, c] = sum over channel, i, j of weight[c, channel, i, j] * pixels[b, channel, y p + i, x p + j]
//! out[b, 0]            = class + positions[0]
//! out[b, 1 + n]        = patch[b, n] + positions[1 + n]
//! ```
//!
//! A convolution of stride p without padding and bias: rows and columns beyond a multiple of p are ignored.
//! Source: "An Image is Worth 16x16 Words" (Dosovitskiy et al., 2021), as CLIP uses it (no bias).

/// Cuts images into patches and embeds each, optionally with the class row in front and the positions added.
///
/// * `pixels`: `[B, 3, H, W]`, with `images` = B and `size` = `[w, h]` in pixels
/// * `patch`: side p of a patch in pixels
/// * `weight`: `[C, 3, p, p]`
/// * `prefix`: the class embedding `[C]` and the positions `[1 + N, C]` of this grid
///
/// Returns `[B, 1 + N, C]` with a prefix and `[B, N, C]` without.
pub fn patch_embed(
    pixels: &[f32],
    images: usize,
    size: [usize; 2],
    patch: usize,
    weight: &[f32],
    prefix: Option<(&[f32], &[f32])>,
) -> Vec<f32> {
    let [width, height] = size;
    let [columns, rows] = [width / patch, height / patch];
    let taps = 3 * patch * patch;
    let channels = weight.len() / taps;
    assert_eq!(pixels.len(), images * 3 * height * width, "pixels are not [{images}, 3, {height}, {width}]");
    assert_eq!(weight.len(), channels * taps, "weight is not [C, 3, {patch}, {patch}]");
    if let Some((class, positions)) = prefix {
        assert_eq!(class.len(), channels, "class is not [{channels}]");
        assert_eq!(positions.len(), (1 + rows * columns) * channels, "positions are not [1 + {rows} * {columns}, {channels}]");
    }

    let mut out = Vec::new();
    for image in 0..images {
        if let Some((class, positions)) = prefix {
            out.extend(class.iter().zip(positions).map(|(c, p)| c + p));
        }
        for n in 0..rows * columns {
            let (y, x) = (n / columns * patch, n % columns * patch);
            for c in 0..channels {
                let mut sum = 0.0;
                for tap in 0..taps {
                    let (channel, i, j) = (tap / (patch * patch), tap / patch % patch, tap % patch);
                    let pixel = pixels[((image * 3 + channel) * height + y + i) * width + x + j];
                    sum += f64::from(weight[c * taps + tap]) * f64::from(pixel);
                }
                let position = prefix.map_or(0.0, |(_, positions)| positions[(1 + n) * channels + c]);
                out.push((sum + f64::from(position)) as f32);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ragged_border_is_ignored() {
        // 5x3 pixels, patch 2: two patches in one row. Channel 0 counts up, the others are 0; the weight sums channel 0.
        let mut pixels = vec![0.0; 3 * 15];
        (0..15).for_each(|i| pixels[i] = i as f32);
        let mut weight = vec![0.0; 12];
        weight[..4].fill(1.0);
        assert_eq!(patch_embed(&pixels, 1, [5, 3], 2, &weight, None), [12.0, 20.0]);
        let with_class = patch_embed(&pixels, 1, [5, 3], 2, &weight, Some((&[0.5], &[1.0, 2.0, 3.0])));
        assert_eq!(with_class, [1.5, 14.0, 23.0]);
    }
}
