//! What is in an image as a whole: zero-shot classification and multi-label recognition.

use crate::clip::VisionPath;
use crate::explain::method::Method;
use crate::explain::scores::Scores;
use crate::reference::softmax;
use std::borrow::Cow;

/// Multi-label recognition: label-set feature surgery on the class token (arXiv 2304.05653, section 4 there). What all
/// labels share is gone, so scores compare between images, and several labels may be present at once. CLIP Surgery takes
/// this token from the ordinary stream, so no second one is computed.
pub const RECOGNITION: Method = Method {
    name: Cow::Borrowed("recognition"),
    about: Cow::Borrowed("label-set feature surgery on plain CLIP's class token (arXiv 2304.05653)"),
    vision: VisionPath::ORDINARY,
    ..Method::SURGERY
};

impl Scores {
    /// Zero-shot classification, `[B, L]`: softmax over the labels of `logit_scale` times the class cosines (arXiv
    /// 2103.00020, section 3.1.2). `logit_scale` is the model's, [`crate::clip::Clip::logit_scale`]; 100 in OpenAI's.
    pub fn probabilities(&self, logit_scale: f32) -> Vec<f32> {
        let logits: Vec<f32> = self.class_cosines.iter().map(|c| logit_scale * c).collect();
        softmax(&logits, self.labels)
    }
}

/// Indices of the `k` largest values, largest first; equal ones keep their order.
pub fn top(values: &[f32], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order.truncate(k);
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::method::Score;

    #[test]
    fn the_largest_first_and_ties_in_order() {
        assert_eq!(top(&[0.1, 0.5, 0.5, -1.0], 3), [1, 2, 0]);
        assert_eq!(top(&[0.1], 5), [0]);
    }

    #[test]
    fn probabilities_sum_to_one_per_image() {
        let scores = Scores {
            images: 2,
            labels: 2,
            grid: [0, 0],
            class_cosines: vec![0.3, 0.2, 0.25, 0.25],
            class_scores: Vec::new(),
            patches: Vec::new(),
        };
        let p = scores.probabilities(100.0);
        // e^10 : 1.
        assert!((p[0] - 0.999_954_6).abs() < 1e-6 && (p[0] + p[1] - 1.0).abs() < 1e-6);
        assert_eq!(p[2..], [0.5, 0.5]);
    }

    #[test]
    fn recognition_is_surgery_without_its_second_stream() {
        RECOGNITION.check().unwrap();
        assert_eq!((RECOGNITION.score, RECOGNITION.vision), (Method::SURGERY.score, VisionPath::ORDINARY));
        assert!(matches!(RECOGNITION.for_labels(1).0.score, Score::EmptyText));
    }
}
