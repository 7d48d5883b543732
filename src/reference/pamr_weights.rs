//! The weights of pixel-adaptive mask refinement (PAMR): how alike a pixel and its neighbours are in colour.
//!
//! ```text
//! neighbours p: 8 at each distance d of the dilations, the border replicated
//! sigma_c = unbiased deviation of channel c over the 9 positions of every distance together, the pixel once per distance
//! e_p     = mean over channels of -|I_c - I_c,p| / (1e-8 + 0.1 sigma_c)
//! weight  = softmax over p of e
//! ```
//!
//! Source: Araslanov and Roth, arXiv 2005.08104, as NACLIP, ResCLIP and ITACLIP use it.

/// Weights of every pixel's neighbours; the eight of the first distance come first, row by row.
///
/// * `image`: `[3, H, W]`, with `size` = `[w, h]`
/// * `dilations`: D distances, pixels
///
/// Returns `[8 D, H, W]`.
pub fn pamr_weights(image: &[f32], size: [usize; 2], dilations: &[usize]) -> Vec<f32> {
    let [width, height] = size;
    let pixels = width * height;
    assert_eq!(image.len(), 3 * pixels, "image is not [3, {height}, {width}]");
    let count = 8 * dilations.len();
    let mut out = vec![0.0; count * pixels];
    for at in 0..pixels {
        let around = neighbours([at % width, at / width], size, dilations);
        let mut energy = vec![0.0f64; count];
        for plane in image.chunks_exact(pixels) {
            let here = f64::from(plane[at]);
            let mut samples: Vec<f64> = around.iter().map(|&n| f64::from(plane[n])).collect();
            samples.extend(dilations.iter().map(|_| here));
            let mean = samples.iter().sum::<f64>() / samples.len() as f64;
            let variance = samples.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / (samples.len() - 1) as f64;
            for (e, &n) in energy.iter_mut().zip(&around) {
                *e -= (here - f64::from(plane[n])).abs() / (1e-8 + 0.1 * variance.sqrt()) / 3.0;
            }
        }
        let largest = energy.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = energy.iter().map(|e| (e - largest).exp()).sum();
        for (p, e) in energy.iter().enumerate() {
            out[p * pixels + at] = ((e - largest).exp() / sum) as f32;
        }
    }
    out
}

/// Indices of the neighbours of a pixel `[x, y]`.
pub(super) fn neighbours([x, y]: [usize; 2], [width, height]: [usize; 2], dilations: &[usize]) -> Vec<usize> {
    let along = |at: usize, step: isize, distance: usize, size: usize| {
        (at as isize + step * distance as isize).clamp(0, size as isize - 1) as usize
    };
    let mut all = Vec::with_capacity(8 * dilations.len());
    for &distance in dilations {
        for dy in -1..=1 {
            for dx in -1..=1 {
                if (dx, dy) != (0, 0) {
                    all.push(along(y, dy, distance, height) * width + along(x, dx, distance, width));
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_picture_weighs_all_alike() {
        let weights = pamr_weights(&[0.3; 3 * 20], [5, 4], &[1, 2]);
        assert!(weights.iter().all(|&w| (w - 1.0 / 16.0).abs() < 1e-7));
    }

    #[test]
    fn across_an_edge_nothing_flows() {
        // Left half 0, right half 1: a pixel at the edge gives its weight to the six of its own side.
        let row = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0];
        let weights = pamr_weights(&row.repeat(15), [6, 5], &[1]);
        let of = |p: usize| weights[p * 30 + 2 * 6 + 2];
        // Of the nine positions three are 1: sigma = sqrt(9/8 * 2/9) = 0.5, so an edge costs e^-20.
        assert!(of(2) < 1e-8 && of(4) < 1e-8 && of(7) < 1e-8);
        assert!((of(0) - 0.2).abs() < 1e-6 && (of(6) - 0.2).abs() < 1e-6);
    }
}
