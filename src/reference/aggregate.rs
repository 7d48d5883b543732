//! Patches as weighted sums of patches: `out = weights x`; the class row stays.

/// The patches of each image summed with the weights of each.
///
/// * `weights`: `[B, n, n4]`, of which the columns beyond n are 0
/// * `x`: `[B (1 + n), width]`
///
/// Returns `[B (1 + n), width]`.
pub fn aggregate(weights: &[f32], x: &[f32], n: usize, width: usize) -> Vec<f32> {
    let padded = n.next_multiple_of(4);
    assert_eq!(x.len() % ((1 + n) * width), 0, "x of {} values is not [B (1 + {n}), {width}]", x.len());
    assert_eq!(weights.len() / (n * padded), x.len() / ((1 + n) * width), "images of weights and of x");
    let mut out = Vec::with_capacity(x.len());
    for (weights, image) in weights.chunks_exact(n * padded).zip(x.chunks_exact((1 + n) * width)) {
        let (class, patches) = image.split_at(width);
        out.extend(class);
        for row in weights.chunks_exact(padded) {
            out.extend((0..width).map(|c| {
                row.iter().zip(patches.chunks_exact(width)).map(|(&w, patch)| f64::from(w) * f64::from(patch[c])).sum::<f64>() as f32
            }));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_of_two() {
        let weights = [0.5, 0.5, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0];
        assert_eq!(aggregate(&weights, &[7.0, 8.0, 1.0, 2.0, 3.0, 6.0], 2, 2), [7.0, 8.0, 2.0, 4.0, 3.0, 6.0]);
    }
}
