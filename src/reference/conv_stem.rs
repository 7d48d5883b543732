//! The first layer of CLIP's ResNets: pixels to channels by a 3x3 convolution of stride 2, then ReLU.
//!
//! ```text
//! out[b, y, x, c] = max(0, bias[c] + sum over p, i, j of weight[p, i, j, c] * pixels[b, p, 2 y + i - 1, 2 x + j - 1])
//! ```
//!
//! Pixels beyond the border are 0. The batch norm behind it is in weight and bias already.

/// `ReLU(conv3x3(pixels) + bias)` with stride 2.
///
/// * `pixels`: `[B, 3, H, W]`, with `images` = B and `size` = `[W, H]`
/// * `weight`: `[3, 3, 3, C]`: channel of the picture, row, column, output channel
/// * `bias`: `[C]`
///
/// Returns `[B, ceil(H / 2), ceil(W / 2), C]`.
pub fn conv_stem(pixels: &[f32], images: usize, size: [usize; 2], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let ([across, down], width) = (size, bias.len());
    assert_eq!(pixels.len(), images * 3 * down * across, "pixels are not [{images}, 3, {down}, {across}]");
    assert_eq!(weight.len(), 27 * width, "weight is not [3, 3, 3, {width}]");
    let [columns, rows] = size.map(|s| s.div_ceil(2));

    let mut out = Vec::with_capacity(images * rows * columns * width);
    for at in 0..images * rows * columns {
        let (image, y, x) = (at / (rows * columns), at / columns % rows, at % columns);
        for c in 0..width {
            let mut sum = f64::from(bias[c]);
            for tap in 0..27 {
                let (plane, i, j) = (tap / 9, 2 * y + tap / 3 % 3, 2 * x + tap % 3);
                if (1..=down).contains(&i) && (1..=across).contains(&j) {
                    let pixel = pixels[((image * 3 + plane) * down + i - 1) * across + j - 1];
                    sum += f64::from(pixel) * f64::from(weight[tap * width + c]);
                }
            }
            out.push(sum.max(0.0) as f32);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_pixel_from_the_first() {
        // 3 x 2 pixels; the centre tap of the second plane copies it, the bias takes 2 off.
        let mut pixels = [0.0; 18];
        (0..6).for_each(|i| pixels[6 + i] = i as f32 + 1.0);
        let mut weight = [0.0; 27];
        weight[9 + 4] = 1.0;
        assert_eq!(conv_stem(&pixels, 1, [3, 2], &weight, &[-2.0]), [0.0, 1.0]);
    }

    #[test]
    fn corners_see_four_pixels() {
        let out = conv_stem(&[1.0; 48], 1, [4, 4], &[1.0; 27], &[0.0]);
        assert_eq!(out, [12.0, 18.0, 18.0, 27.0]);
    }
}
