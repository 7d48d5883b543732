//! Bytes to the numbers CLIP was trained on: `out[b, c, y, x] = (rgba[b, y, x, c] / 255 - mean[c]) / std[c]`.
//!
//! `[B, H, W, 4]` bytes become `[B, 3, H, W]`; alpha is dropped. Source: CLIP's preprocessing (to tensor, then normalise).

/// Normalises interleaved pixels into planes: `(value / 255 - mean) / std` per channel.
///
/// * `rgba`: `[B, H, W, 4]`, with `images` = B and `size` = `[w, h]`
/// * `mean`, `std`: per channel, in the scale 0..1
///
/// Returns `[B, 3, H, W]`.
pub fn normalize(rgba: &[u8], images: usize, size: [usize; 2], mean: [f32; 3], std: [f32; 3]) -> Vec<f32> {
    let pixels = size[0] * size[1];
    assert_eq!(rgba.len(), images * pixels * 4, "rgba is not [{images}, {}, {}, 4]", size[1], size[0]);
    let mut out = Vec::with_capacity(images * 3 * pixels);
    for image in 0..images {
        for channel in 0..3 {
            for pixel in 0..pixels {
                let value = f64::from(rgba[(image * pixels + pixel) * 4 + channel]) / 255.0;
                out.push(((value - f64::from(mean[channel])) / f64::from(std[channel])) as f32);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_of_two_pixels() {
        let rgba = [0, 51, 255, 9, 255, 102, 0, 9];
        let out = normalize(&rgba, 1, [2, 1], [0.0, 0.2, 0.5], [1.0, 0.5, 0.25]);
        let want = [0.0, 1.0, 0.0, 0.4, 2.0, -2.0];
        assert!(out.iter().zip(want).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "{out:?}");
    }
}
