//! Refinement of patches' scores without the picture: names that are nowhere are taken out, unsure patches ask patches
//! that look alike.
//!
//! ```text
//! P             = softmax over names of (100 scores)
//! denoise       : a name whose largest P over all patches is below its threshold scores -100 everywhere
//! smooth        : out = P;  where the largest P of a patch is below its threshold, out = (K^ K^T) P, rows not normalised
//! ```
//!
//! K are the last block's keys after its output projection, K^ the same divided by their lengths. Source: the refinements of
//! MaskCLIP (arXiv 2112.01071, section 3.3), as its repository has them.

use crate::clip::model::check_finite;
use crate::error::{Error, Result};
use crate::reference::softmax;

/// Cosines are multiplied by this before a softmax: CLIP's logit scale.
const SHARPNESS: f32 = 100.0;
/// What a name scores that was taken out.
pub const ABSENT: f32 = -100.0;

/// What the lengths are that keys are divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyLength {
    /// Of each channel over all patches, as the published code does.
    Channel,
    /// Of each patch's key, as its paper describes: products are cosines.
    Patch,
}

/// Refinement of one image's scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRefinement {
    /// Names that no patch finds so likely are taken out; 0 to keep all, 0.5 suggested by the publication.
    pub presence: f32,
    /// Patches whose best name is less likely are smoothed; 0 for none, 1 suggested by the publication.
    pub certainty: f32,
    /// What keys are divided by.
    pub key_length: KeyLength,
}

impl ScoreRefinement {
    /// Nothing.
    pub const NONE: ScoreRefinement = ScoreRefinement { presence: 0.0, certainty: 0.0, key_length: KeyLength::Channel };
    /// As the published code suggests: names found by half, all patches smoothed.
    pub const PUBLISHED: ScoreRefinement = ScoreRefinement { presence: 0.5, certainty: 1.0, key_length: KeyLength::Channel };

    /// Refuses values that mean nothing.
    ///
    /// # Errors
    /// [`Error::Input`] names the value.
    pub fn check(&self) -> Result<()> {
        for (what, value) in [("presence", self.presence), ("certainty", self.certainty)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(Error::Input { what: format!("refinement of scores: {what} {value}; expected a probability, 0 to 1") });
            }
        }
        Ok(())
    }

    /// Refines the scores of one image's patches: cosines `[N, L]` with keys `[N, C]` -> `[N, L]`. These are cosines still, -100
    /// for names taken out, unless patches are smoothed: then all are probabilities, or sums of them. Without smoothing
    /// `keys` may be empty.
    ///
    /// # Errors
    /// Values that mean nothing, shapes that do not fit, or values that are not finite.
    pub fn apply(&self, cosines: &[f32], labels: usize, keys: &[f32]) -> Result<Vec<f32>> {
        self.check()?;
        if labels == 0 || cosines.is_empty() || !cosines.len().is_multiple_of(labels) {
            return Err(Error::shape("refine", "cosines", format!("[N, {labels}]"), format!("{} values", cosines.len())));
        }
        check_finite("the scores", cosines)?;
        let kept = if self.presence > 0.0 { denoised(cosines, labels, self.presence) } else { cosines.to_vec() };
        if self.certainty == 0.0 {
            return Ok(kept);
        }
        let patches = cosines.len() / labels;
        if keys.is_empty() || !keys.len().is_multiple_of(patches) {
            return Err(Error::shape("refine", "keys", format!("[{patches}, C]"), format!("{} values", keys.len())));
        }
        check_finite("the keys", keys)?;
        Ok(smoothed(&likely(&kept, labels), labels, keys, self.certainty, self.key_length))
    }
}

/// Multiplies each patch's scores by those of the class row, name by name: `[1 + N, L]` in place, class row first and left as
/// it is. What the picture as a whole does not show loses everywhere; cosines have to be above zero, as CLIP's are, or two
/// wrongs make a right. Source: CLIPtrase (arXiv 2407.08268), which does so on
/// PASCAL VOC without background.
pub fn times_class_row(scores: &mut [f32], labels: usize) {
    let (class_row, patches) = scores.split_at_mut(labels.min(scores.len()));
    patches.chunks_mut(labels.max(1)).for_each(|row| row.iter_mut().zip(&*class_row).for_each(|(v, c)| *v *= c));
}

fn likely(scores: &[f32], labels: usize) -> Vec<f32> {
    softmax(&scores.iter().map(|v| SHARPNESS * v).collect::<Vec<_>>(), labels)
}

fn denoised(scores: &[f32], labels: usize, presence: f32) -> Vec<f32> {
    let mut most = vec![0.0f32; labels];
    for row in likely(scores, labels).chunks_exact(labels) {
        most.iter_mut().zip(row).for_each(|(most, &p)| *most = most.max(p));
    }
    let name = |(i, &score): (usize, &f32)| if most[i % labels] < presence { ABSENT } else { score };
    scores.iter().enumerate().map(name).collect()
}

fn smoothed(likely: &[f32], labels: usize, keys: &[f32], certainty: f32, length: KeyLength) -> Vec<f32> {
    let patches = likely.len() / labels;
    let channels = keys.len() / patches;
    let unit = unit_keys(keys, channels, length);
    // K (K^T P) rather than (K K^T) P: no [N, N].
    let mut shared = vec![0.0f64; channels * labels];
    for (key, row) in unit.chunks_exact(channels).zip(likely.chunks_exact(labels)) {
        for (k, shared) in key.iter().zip(shared.chunks_exact_mut(labels)) {
            shared.iter_mut().zip(row).for_each(|(sum, &p)| *sum += k * f64::from(p));
        }
    }
    let mut out = likely.to_vec();
    for (key, row) in unit.chunks_exact(channels).zip(out.chunks_exact_mut(labels)) {
        if row.iter().copied().fold(0.0, f32::max) >= certainty {
            continue;
        }
        let mut sums = vec![0.0f64; labels];
        for (k, shared) in key.iter().zip(shared.chunks_exact(labels)) {
            sums.iter_mut().zip(shared).for_each(|(sum, s)| *sum += k * s);
        }
        row.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum as f32);
    }
    out
}

/// Keys divided by their lengths; zeros stay zeros.
fn unit_keys(keys: &[f32], channels: usize, length: KeyLength) -> Vec<f64> {
    let mut squares = vec![0.0f64; if length == KeyLength::Channel { channels } else { keys.len() / channels }];
    let of = |i: usize| if length == KeyLength::Channel { i % channels } else { i / channels };
    keys.iter().enumerate().for_each(|(i, &k)| squares[of(i)] += f64::from(k) * f64::from(k));
    let divided = |(i, &k): (usize, &f32)| if squares[of(i)] > 0.0 { f64::from(k) / squares[of(i)].sqrt() } else { 0.0 };
    keys.iter().enumerate().map(divided).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cosine that a hundred times is the logarithm of `v`.
    fn log(v: f32) -> f32 {
        v.ln() / SHARPNESS
    }

    fn close(got: &[f32], want: &[f32]) {
        assert!(got.len() == want.len() && got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5), "{got:?}, expected {want:?}");
    }

    #[test]
    fn the_class_row_multiplies() {
        let mut scores = [2.0, 0.5, 1.0, 1.0, 3.0, 4.0];
        times_class_row(&mut scores, 2);
        assert_eq!(scores, [2.0, 0.5, 2.0, 0.5, 6.0, 2.0]);
        times_class_row(&mut [], 3);
    }

    #[test]
    fn names_found_nowhere_are_taken_out() {
        // Probabilities 5/8 2/8 1/8 and 3/8 3/8 2/8.
        let cosines = [5.0, 2.0, 1.0, 3.0, 3.0, 2.0].map(log);
        let only = |presence: f32| ScoreRefinement { presence, certainty: 0.0, key_length: KeyLength::Channel };
        assert_eq!(only(0.0).apply(&cosines, 3, &[]).unwrap(), cosines);
        let got = only(0.3).apply(&cosines, 3, &[]).unwrap();
        assert_eq!(got, [cosines[0], cosines[1], ABSENT, cosines[3], cosines[4], ABSENT]);
        // Nothing is likely enough: all are absent alike.
        assert_eq!(only(0.9).apply(&cosines, 3, &[]).unwrap(), [ABSENT; 6]);
    }

    #[test]
    fn unsure_patches_ask_those_with_alike_keys() {
        // P = 3/4 1/4 | 1/2 1/2 | 1/4 3/4.
        let cosines = [3.0, 1.0, 1.0, 1.0, 1.0, 3.0].map(log);
        let keys = [3.0, 0.0, 4.0, 0.0, 0.0, 2.0];
        let only = |key_length| ScoreRefinement { presence: 0.0, certainty: 0.7, key_length };
        // Channels: (0.6, 0.8, 0) and (0, 0, 1). The second patch gets 0.8 (0.6 (3/4, 1/4) + 0.8 (1/2, 1/2)).
        close(&only(KeyLength::Channel).apply(&cosines, 2, &keys).unwrap(), &[0.75, 0.25, 0.68, 0.44, 0.25, 0.75]);
        // Patches: the first two have one key, so the second gets the sum of both.
        close(&only(KeyLength::Patch).apply(&cosines, 2, &keys).unwrap(), &[0.75, 0.25, 1.25, 0.75, 0.25, 0.75]);
    }

    #[test]
    fn smoothing_is_the_product_that_is_written() {
        let (patches, labels, channels) = (5, 3, 4);
        let values = |seed: usize, count: usize| (0..count).map(|i| ((i * 7919 + seed) % 101) as f32 / 101.0 - 0.4).collect::<Vec<_>>();
        // Cosines so close that no probability rounds to 1.
        let (cosines, keys) = (values(3, patches * labels).iter().map(|v| 0.02 * v).collect::<Vec<_>>(), values(8, patches * channels));
        let p = likely(&cosines, labels);
        for length in [KeyLength::Channel, KeyLength::Patch] {
            let unit = unit_keys(&keys, channels, length);
            let weight = |i: usize, j: usize| (0..channels).map(|c| unit[i * channels + c] * unit[j * channels + c]).sum::<f64>();
            let one = |i: usize, l: usize| (0..patches).map(|j| weight(i, j) * f64::from(p[j * labels + l])).sum::<f64>() as f32;
            let want: Vec<f32> = (0..patches * labels).map(|at| one(at / labels, at % labels)).collect();
            let all = ScoreRefinement { presence: 0.0, certainty: 1.0, key_length: length };
            let got = all.apply(&cosines, labels, &keys).unwrap();
            assert!(p.chunks(labels).all(|row| row.iter().all(|&v| v < 1.0)), "every patch is smoothed");
            close(&got, &want);
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let said =
            |r: ScoreRefinement, cosines: &[f32], labels: usize, keys: &[f32]| r.apply(cosines, labels, keys).unwrap_err().to_string();
        let published = ScoreRefinement::PUBLISHED;
        assert!(said(ScoreRefinement { presence: 2.0, ..published }, &[0.0], 1, &[1.0]).contains("presence 2"));
        assert!(said(ScoreRefinement { certainty: f32::NAN, ..published }, &[0.0], 1, &[1.0]).contains("certainty"));
        assert!(said(published, &[0.0; 5], 2, &[1.0]).contains("cosines"));
        assert!(said(published, &[0.0; 6], 2, &[]).contains("keys"));
        assert!(said(published, &[0.0; 6], 2, &[0.0; 4]).contains("[3, C]"));
        assert!(said(published, &[0.0, f32::NAN], 2, &[0.0]).contains("NaN"));
    }
}
