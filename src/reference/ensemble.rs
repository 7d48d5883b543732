//! The prompt ensemble of a label: `out[l] = unit( mean over m of x[l, m] )`.
//!
//! A label is put into M templates ("a photo of a {}.", ...), the features of the prompts are averaged, and the average is
//! made a unit vector. In CLIP's ensemble (Radford et al., 2021) each feature is a unit vector before ([`l2_normalize`]);
//! AnoVL (arXiv 2308.15939) averages them as they are, so that long ones count more.
//!
//! [`l2_normalize`]: super::l2_normalize()

use super::l2_normalize::unit;

/// Averages the prompts' features per label and normalises.
///
/// * `x`: `[L * M, D]`, the M prompts of a label beside each other, unit rows or not
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
            for (mean, &v) in mean.iter_mut().zip(prompt) {
                *mean += f64::from(v) / templates as f64;
            }
        }
        out.extend(unit(&mean).iter().map(|&v| v as f32));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::l2_normalize;

    #[test]
    fn lengths_of_prompts_count_unless_they_are_one() {
        let prompts = [4.0, 0.0, 0.0, 3.0, 0.0, 5.0, 0.0, 2.0];
        let near = |out: Vec<f32>, want: [f32; 4]| out.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-7);
        assert!(near(ensemble(&prompts, 2, 2), [0.8, 0.6, 0.0, 1.0]));
        let half = std::f32::consts::FRAC_1_SQRT_2;
        assert!(near(ensemble(&l2_normalize(&prompts, 2), 2, 2), [half, half, 0.0, 1.0]));
    }
}
