//! Five views of a picture: itself, grey, blurred, upside down, left to right.
//!
//! ```text
//! grey     = 0.2989 red + 0.587 green + 0.114 blue       in all three channels
//! blurred  = sum over i, j of taps[i] taps[j] pixel(x + i - r, y + j - r)    mirrored about the border, edge not repeated
//! ```
//!
//! Source: the image engineering of ITACLIP (arXiv 2411.12044), on pixels that are normalised already.

/// A Gaussian's values at `taps` whole steps around its middle, sum 1.
pub fn gaussian(taps: usize, sigma: f64) -> Vec<f32> {
    let middle = (taps as f64 - 1.0) / 2.0;
    let values: Vec<f64> = (0..taps).map(|i| (-0.5 * ((i as f64 - middle) / sigma).powi(2)).exp()).collect();
    let sum: f64 = values.iter().sum();
    values.iter().map(|v| (v / sum) as f32).collect()
}

/// The views of B pictures.
///
/// * `pixels`: `[B, 3, H, W]`, with `size` = `[w, h]`
/// * `taps`: `[2 r + 1]`, r below either side
///
/// Returns `[5, B, 3, H, W]`.
pub fn views(pixels: &[f32], size: [usize; 2], taps: &[f32]) -> Vec<f32> {
    let [width, height] = size;
    let plane = width * height;
    assert_eq!(pixels.len() % (3 * plane), 0, "pixels are not [B, 3, {height}, {width}]");
    let radius = taps.len() / 2;
    assert!(taps.len() % 2 == 1 && radius < width && radius < height, "{} taps for {width}x{height}", taps.len());
    let mirrored = |i: usize, step: usize, size: usize| {
        let at = (i + step).abs_diff(radius);
        at.min(2 * (size - 1) - at)
    };
    // A picture, and channel, row and column in it.
    type View<'a> = &'a dyn Fn(&[f32], usize, usize, usize) -> f64;
    let each = |view: View<'_>| -> Vec<f32> {
        let places = || (0..3).flat_map(|c| (0..height).flat_map(move |y| (0..width).map(move |x| (c, y, x))));
        pixels.chunks_exact(3 * plane).flat_map(|image| places().map(move |(c, y, x)| view(image, c, y, x) as f32)).collect()
    };
    let pixel = |image: &[f32], c: usize, y: usize, x: usize| f64::from(image[(c * height + y) * width + x]);
    let blurred = |image: &[f32], c: usize, y: usize, x: usize| {
        let row = |j: usize| -> f64 {
            let y = mirrored(y, j, height);
            taps.iter().enumerate().map(|(i, &w)| f64::from(w) * pixel(image, c, y, mirrored(x, i, width))).sum()
        };
        taps.iter().enumerate().map(|(j, &w)| f64::from(w) * row(j)).sum()
    };
    let grey = |image: &[f32], _: usize, y: usize, x: usize| {
        [0.2989, 0.587, 0.114].iter().enumerate().map(|(c, weight)| weight * pixel(image, c, y, x)).sum()
    };
    [
        pixels.to_vec(),
        each(&grey),
        each(&blurred),
        each(&|image, c, y, x| pixel(image, c, height - 1 - y, x)),
        each(&|image, c, y, x| pixel(image, c, y, width - 1 - x)),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gaussian_is_symmetric_and_sums_to_one() {
        let taps = gaussian(11, 5.0);
        assert!((taps.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!((taps[0] / taps[5] - (-0.5f32).exp()).abs() < 1e-6 && taps[0] == taps[10]);
        assert_eq!(gaussian(1, 3.0), [1.0]);
    }

    #[test]
    fn the_border_is_a_mirror() {
        // Channels of 2 x 2 with a blur of a quarter, a half, a quarter: neighbours on both sides are the other pixel.
        let image = [1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0, 8.0, 8.0, 8.0, 8.0];
        let out = views(&image, [2, 2], &[0.25, 0.5, 0.25]);
        assert_eq!(out[..12], image);
        assert!((out[12] - (0.2989 + 8.0 * 0.114)).abs() < 1e-6 && out[12] == out[16] && out[12] == out[20]);
        assert_eq!(out[24..28], [2.5; 4]);
        assert_eq!(out[32..36], [8.0; 4]);
        assert_eq!(out[36..40], [3.0, 4.0, 1.0, 2.0]);
        assert_eq!(out[48..52], [2.0, 1.0, 4.0, 3.0]);
    }
}
