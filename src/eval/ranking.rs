//! Rankings: average precision, ranks.

/// Average precision of scores: the mean, over the positives, of the precision at their place. Equal scores share one place,
/// so their order does not matter. `None` without a positive.
pub fn average_precision(scored: &[(f32, bool)]) -> Option<f64> {
    // Sorted as integers: the score in an order-preserving form, the answer below it.
    let mut keys: Vec<u64> = scored.iter().map(|&(score, positive)| u64::from(ordered(score)) << 1 | u64::from(positive)).collect();
    keys.sort_unstable_by(|a, b| b.cmp(a));
    let (mut found, mut seen, mut sum) = (0u64, 0u64, 0.0f64);
    for equal in keys.chunk_by(|a, b| a >> 1 == b >> 1) {
        let positives = equal.iter().filter(|k| *k & 1 == 1).count() as u64;
        found += positives;
        seen += equal.len() as u64;
        sum += positives as f64 * (found as f64 / seen as f64);
    }
    (found > 0).then(|| sum / found as f64)
}

/// Integers in the order of the floats; -0 and 0 are one.
fn ordered(value: f32) -> u32 {
    let bits = (value + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// Average precision of each class over images, and the mean over the classes that occur.
///
/// * `scores`: `[images, L]`
/// * `present`: for each image its classes, each below L
pub fn mean_average_precision(scores: &[f32], present: &[Vec<u16>], labels: usize) -> (Vec<Option<f64>>, Option<f64>) {
    assert_eq!(scores.len(), present.len() * labels, "scores are not [{}, {labels}]", present.len());
    let of = |class: usize| {
        let column: Vec<(f32, bool)> =
            scores.chunks_exact(labels).zip(present).map(|(row, here)| (row[class], here.contains(&(class as u16)))).collect();
        average_precision(&column)
    };
    let each: Vec<Option<f64>> = (0..labels).map(of).collect();
    let known: Vec<f64> = each.iter().copied().flatten().collect();
    let mean = (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64);
    (each, mean)
}

/// How many are ahead of `class`: those with a higher score, and equals that stand before it.
pub fn rank(scores: &[f32], class: usize) -> usize {
    let own = scores[class];
    scores.iter().enumerate().filter(|&(c, &score)| score > own || (score == own && c < class)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn average_precision_by_hand() {
        // Places 1 and 4: (1 + 2/4) / 2.
        assert_eq!(average_precision(&[(0.1, false), (0.9, true), (-0.5, true), (0.2, false), (-0.7, false)]), Some((1.0 + 0.5) / 2.0));
        // All equal: the share of positives, whatever their order.
        assert_eq!(average_precision(&[(0.5, false), (0.5, true), (0.5, false), (0.5, false)]), Some(0.25));
        assert_eq!(average_precision(&[(0.0, true), (-0.0, false)]), Some(0.5));
        assert_eq!(average_precision(&[(1.0, false)]), None);
    }

    #[test]
    fn classes_that_never_occur_have_none() {
        let scores = [0.9, 0.1, 0.0, 0.2, 0.8, 0.0];
        let (each, mean) = mean_average_precision(&scores, &[vec![0], vec![0]], 3);
        assert_eq!((each, mean), (vec![Some(1.0), None, None], Some(1.0)));
        let (each, mean) = mean_average_precision(&scores, &[vec![1], vec![0]], 3);
        assert_eq!((each, mean), (vec![Some(0.5), Some(0.5), None], Some(0.5)));
    }

    #[test]
    fn ranks_and_equals() {
        let scores = [0.3, 0.7, 0.3, -1.0];
        assert_eq!([rank(&scores, 1), rank(&scores, 0), rank(&scores, 2), rank(&scores, 3)], [0, 1, 2, 3]);
    }
}
