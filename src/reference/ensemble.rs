//! The prompt ensemble of a label: `out[l] = unit( mean over m of unit(x[l, m]) )`.
//!
//! A label is put into M templates ("a photo of a {}.", ...); each prompt's feature is made a unit vector, the M are
//! averaged, and the average is made a unit vector again. Source: CLIP (Radford et al., 2021), prompt ensembling.

use super::l2_normalize::unit;

/// Normalises each prompt's feature, averages them per label, normalises again.
///
/// * `x`: `[L * M, D]`, the M prompts of a label beside each other, normalised or not
/// * `templates`: M
/// * `width`: D
///
/// Returns `[L, D]`, unit rows.
pub fn ensemble(x: &[f32], templates: usize, width: usize) -> Vec<f32> {
    assert_eq!(x.len() % (templates * width), 0, "x of {} values is not [L, {templates}, {width}]", x.len());
    let mut out = Vec::with_capacity(x.len() / templates);
    for label in x.chunks_exact(templates * width) {
        let mut mean = vec![0.0; width];
        for prompt in label.chunks_exact(width) {
            let wide: Vec<f64> = prompt.iter().map(|&v| f64::from(v)).collect();
            for (mean, v) in mean.iter_mut().zip(unit(&wide)) {
                *mean += v / templates as f64;
            }
        }
        out.extend(unit(&mean).iter().map(|&v| v as f32));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_prompts_do_not_count() {
        let out = ensemble(&[100.0, 0.0, 0.0, 1.0, 0.0, 5.0, 0.0, 2.0], 2, 2);
        let half = std::f32::consts::FRAC_1_SQRT_2;
        assert!(out.iter().zip([half, half, 0.0, 1.0]).all(|(a, b)| (a - b).abs() < 1e-7), "{out:?}");
    }
}
