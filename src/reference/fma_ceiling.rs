//! Chains of multiply-adds: `z <- z scale + x`, again and again.
//!
//! The kernel exists to be timed, but a kernel that computes something else in that time would say nothing.

/// Links of a chain in one round.
const LINKS: usize = 32;

/// Sum of eight chains per element, which begin at `x`, `x + 1`, .. `x + 7` and have `32 rounds` links.
///
/// * `x`: `[T]`
///
/// Returns `[T]`. With a `|scale|` below 1 all chains end near `x / (1 - scale)`.
pub fn fma_ceiling(x: &[f32], rounds: usize, scale: f32) -> Vec<f32> {
    let chain = |x: f64, first: f64| (0..LINKS * rounds).fold(x + first, |z, _| z * f64::from(scale) + x);
    x.iter().map(|&x| (0..8).map(|i| chain(f64::from(x), f64::from(i))).sum::<f64>() as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_of_one_counts() {
        // Each chain is x + i + 32 x: 8 * 33 * 3 + (0 + 1 + .. + 7).
        assert_eq!(fma_ceiling(&[3.0], 1, 1.0), [820.0]);
        assert_eq!(fma_ceiling(&[3.0, -1.0], 0, 0.5), [52.0, 20.0]);
    }
}
