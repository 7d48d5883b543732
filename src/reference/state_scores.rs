//! Probabilities of states: `out[j] = exp(c[j] / t) / sum over k of exp(c[k] / t)`, c the cosines with each state.
//!
//! Source: AnoVL (arXiv 2308.15939), where the states are a normal and an abnormal one and t = 1: no temperature.

/// Softmax over the states of each row.
///
/// * `cosines`: `[rows, L]`, with `states` = L
/// * `temperature`: what cosines are divided by
///
/// Returns `[rows, L]`; every row sums to 1.
pub fn state_scores(cosines: &[f32], states: usize, temperature: f32) -> Vec<f32> {
    assert_eq!(cosines.len() % states, 0, "cosines of {} values are not [rows, {states}]", cosines.len());
    let mut out = Vec::with_capacity(cosines.len());
    for row in cosines.chunks_exact(states) {
        let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let exponentials: Vec<f64> = row.iter().map(|&c| ((f64::from(c) - largest) / f64::from(temperature)).exp()).collect();
        let sum: f64 = exponentials.iter().sum();
        out.extend(exponentials.iter().map(|e| (e / sum) as f32));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temperature_divides() {
        // e^0 : e^(ln 3) is 1 : 3; half the temperature squares the ratio.
        let third = 3f32.ln();
        let near = |got: Vec<f32>, want: [f32; 2]| got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(state_scores(&[0.0, third], 2, 1.0), [0.25, 0.75]));
        assert!(near(state_scores(&[0.0, third], 2, 0.5), [0.1, 0.9]));
        assert_eq!(state_scores(&[0.3, 0.3, 0.3, 0.3], 2, 0.01), [0.5; 4]);
    }
}
