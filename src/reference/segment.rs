//! From logits of names to a class per pixel, several names to a class.
//!
//! ```text
//! P           = softmax over all names of (scale * logits)
//! class c     = max of P over the names of c, 0 if c was removed
//! prediction  = argmax over classes, the first of equal ones; 0 if its probability is below the threshold
//! confidence  = its probability; `normalised`: divided by the sum over classes (NACLIP, ResCLIP)
//! ```
//!
//! Source: the post-processing that SCLIP, NACLIP and their successors share. Removed classes keep their share of the
//! softmax: what they leave is not dealt out again.

/// Classes and their probabilities, `[P]` each.
///
/// * `logits`: `[L, P]`, with `pixels` = P
/// * `class_of_name`: `[L]`; class 0 need not have a name
/// * `removed`: classes that may not win
pub fn segment(
    logits: &[f32],
    pixels: usize,
    class_of_name: &[usize],
    removed: &[usize],
    scale: f32,
    threshold: f32,
    normalised: bool,
) -> (Vec<u32>, Vec<f32>) {
    assert_eq!(logits.len(), class_of_name.len() * pixels, "logits are not [{}, {pixels}]", class_of_name.len());
    let classes = class_of_name.iter().copied().max().map_or(1, |last| last + 1);
    let one = |at: usize| {
        let logit = |name: usize| f64::from(scale) * f64::from(logits[name * pixels + at]);
        let largest = (0..class_of_name.len()).map(logit).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = (0..class_of_name.len()).map(|name| (logit(name) - largest).exp()).sum();
        let mut likely = vec![0.0f64; classes];
        for (name, &class) in class_of_name.iter().enumerate() {
            if !removed.contains(&class) {
                likely[class] = likely[class].max((logit(name) - largest).exp() / sum);
            }
        }
        let best = (0..classes).fold(0, |best, class| if likely[class] > likely[best] { class } else { best });
        // 0 if no class may win.
        let sum = likely.iter().sum::<f64>();
        let sum = if normalised && sum > 0.0 { sum } else { 1.0 };
        (if likely[best] < f64::from(threshold) { 0 } else { best as u32 }, (likely[best] / sum) as f32)
    };
    (0..pixels).map(one).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_compete_one_by_one() {
        // Two names of class 0 with ln 2 each, one of class 1 with ln 3: together class 0 has more, its best name has less.
        let logits = [2f32.ln(), 2f32.ln(), 3f32.ln()];
        let (classes, confidence) = segment(&logits, 1, &[0, 0, 1], &[], 1.0, 0.0, false);
        assert_eq!(classes, [1]);
        assert!((confidence[0] - 3.0 / 7.0).abs() < 1e-6);
        // Below the threshold: background, at the winner's probability. Removed: the next best, with no more than its own.
        assert_eq!(segment(&logits, 1, &[0, 0, 1], &[], 1.0, 0.5, false).0, [0]);
        let (classes, confidence) = segment(&logits, 1, &[0, 0, 1], &[1], 1.0, 0.0, false);
        assert_eq!(classes, [0]);
        assert!((confidence[0] - 2.0 / 7.0).abs() < 1e-6);
        // Of 2/7 and 3/7, the classes' shares of each other; the threshold is for the 3/7.
        let (classes, confidence) = segment(&logits, 1, &[0, 0, 1], &[], 1.0, 0.5, true);
        assert!(classes == [0] && (confidence[0] - 0.6).abs() < 1e-6);
    }
}
