//! How patches take from each other: rows of affinities above a threshold, with sum 1.
//!
//! ```text
//! a = s where s >= beta, else 0       out = a / (sum of a + 1e-6)
//! ```

/// Rows of `s`, small entries dropped, divided by their sum.
///
/// * `s`: `[R, n]`
/// * `beta`: entries below it count as 0
///
/// Returns `[R, n4]`, n4 being n rounded up to a multiple of 4; the columns beyond n are 0.
pub fn affinity_weights(s: &[f32], n: usize, beta: f32) -> Vec<f32> {
    assert_eq!(s.len() % n, 0, "s of {} values is not [R, {n}]", s.len());
    let mut out = Vec::new();
    for row in s.chunks_exact(n) {
        let kept: Vec<f64> = row.iter().map(|&v| if v < beta { 0.0 } else { f64::from(v) }).collect();
        let sum = kept.iter().sum::<f64>() + 1e-6;
        out.extend(kept.iter().map(|v| (v / sum) as f32));
        out.resize(out.len().next_multiple_of(4), 0.0);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_ones_are_dropped() {
        let out = affinity_weights(&[1.0, 0.6, 0.3, -0.5, 0.4], 5, 0.4);
        assert!(out.iter().zip([0.5, 0.3, 0.0, 0.0, 0.2, 0.0, 0.0, 0.0]).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "{out:?}");
        assert_eq!(out.len(), 8);
        assert_eq!(affinity_weights(&[0.1; 4], 4, 0.4), [0.0; 4]);
    }
}
