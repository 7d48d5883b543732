//! One iteration of pixel-adaptive mask refinement: `y = sum over neighbours p of weight_p * maps_p`, the pixel itself not
//! included, the border replicated. Repeated, it carries scores along surfaces of one colour and stops at edges.
//!
//! Source: Araslanov and Roth, arXiv 2005.08104; 10 iterations with dilations 8 and 16 in NACLIP.

use super::pamr_weights::neighbours;

/// Refines each map once.
///
/// * `maps`: `[Q, H, W]`, with `size` = `[w, h]`
/// * `weights`: `[8 D, H, W]`, from [`pamr_weights`](super::pamr_weights()) with the same `dilations`
///
/// Returns `[Q, H, W]`.
pub fn pamr(maps: &[f32], weights: &[f32], size: [usize; 2], dilations: &[usize]) -> Vec<f32> {
    let [width, height] = size;
    let pixels = width * height;
    assert_eq!(weights.len(), 8 * dilations.len() * pixels, "weights are not [8 x {}, {height}, {width}]", dilations.len());
    assert!(maps.len().is_multiple_of(pixels), "maps are not [Q, {height}, {width}]");
    let around: Vec<Vec<usize>> = (0..pixels).map(|at| neighbours([at % width, at / width], size, dilations)).collect();
    let refine = |map: &[f32], at: usize| -> f32 {
        let terms = around[at].iter().enumerate().map(|(p, &n)| f64::from(weights[p * pixels + at]) * f64::from(map[n]));
        terms.sum::<f64>() as f32
    };
    maps.chunks_exact(pixels).flat_map(|map| (0..pixels).map(move |at| (map, at))).map(|(map, at)| refine(map, at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_weights_are_the_mean_of_the_eight_around() {
        let map = [1.0, 2.0, 3.0, 4.0, 100.0, 6.0, 7.0, 8.0, 9.0];
        let out = pamr(&map, &[0.125; 8 * 9], [3, 3], &[1]);
        assert_eq!(out[4], 5.0);
        // In the corner five of the eight are the replicated border: 1 twice above, 1 left, 4 and 2 doubled.
        assert_eq!(out[0], (3.0 * 1.0 + 2.0 * 2.0 + 2.0 * 4.0 + 100.0) / 8.0);
    }
}
