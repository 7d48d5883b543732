//! A 3x3 convolution of stride 1 with a border of one zero pixel, channels last, as an ordinary sum.
//!
//! ```text
//! out[b, y, x, n] = act(bias[n] + sum over i, j, c of weight[n, i, j, c] * in[b, y + i - 1, x + j - 1, c])
//! ```
//!
//! Source: "Deep Residual Learning for Image Recognition" (He et al., 2016); the batch norm that follows every
//! convolution is in weight and bias already.

use super::activation::Activation;

/// `act(conv3x3(x) + bias)`.
///
/// * `x`: `[B, H, W, C]`, with `images` = B and `size` = `[W, H]`
/// * `weight`: `[N, 3, 3, C]`
/// * `bias`: `[N]`
///
/// Returns `[B, H, W, N]`.
pub fn conv3x3(x: &[f32], images: usize, size: [usize; 2], weight: &[f32], bias: &[f32], activation: Activation) -> Vec<f32> {
    let ([across, down], n) = (size, bias.len());
    let c = weight.len() / (9 * n);
    assert_eq!(x.len(), images * down * across * c, "x is not [{images}, {down}, {across}, {c}]");
    assert_eq!(weight.len(), n * 9 * c, "weight is not [{n}, 3, 3, {c}]");

    let mut out = Vec::with_capacity(images * down * across * n);
    for at in 0..images * down * across {
        let (image, y, x_at) = (at / (down * across), at / across % down, at % across);
        for (column, &bias) in bias.iter().enumerate() {
            let mut sum = f64::from(bias);
            for (i, j) in (0..9).map(|tap| (tap / 3, tap % 3)) {
                let inside = (1..=down).contains(&(y + i)) && (1..=across).contains(&(x_at + j));
                if inside {
                    let from = ((image * down + y + i - 1) * across + x_at + j - 1) * c;
                    sum += super::matmul::dot(&x[from..from + c], &weight[((column * 3 + i) * 3 + j) * c..][..c]);
                }
            }
            out.push(activation.apply(sum) as f32);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_of_one_at_a_tap_shifts_the_map() {
        // 3 x 2 pixels of one channel, two images; the tap at row 0, column 2 reads the pixel above and to the right.
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0];
        let mut weight = [0.0; 9];
        weight[2] = 1.0;
        let out = conv3x3(&x, 2, [3, 2], &weight, &[0.5], Activation::None);
        assert_eq!(out, [0.5, 0.5, 0.5, 2.5, 3.5, 0.5, 0.5, 0.5, 0.5, 8.5, 9.5, 0.5]);
    }

    #[test]
    fn border_pixels_have_fewer_neighbours() {
        let out = conv3x3(&[1.0; 9], 1, [3, 3], &[1.0; 9], &[-5.0], Activation::Relu);
        assert_eq!(out, [0.0, 1.0, 0.0, 1.0, 4.0, 1.0, 0.0, 1.0, 0.0]);
    }
}
