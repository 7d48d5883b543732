//! How far a point's k-th nearest other one is.

/// The k-th smallest entry of each row, its own left out.
///
/// * `distances`: `[B, n, n]`, symmetric, not negative
/// * `k`: 1 to n - 1
///
/// Returns `[B, n]`.
pub fn kth_distance(distances: &[f32], n: usize, k: usize) -> Vec<f32> {
    assert!(1 <= k && k < n, "{n} points have no neighbour {k}");
    let kth = |(i, row): (usize, &[f32])| {
        let mut others: Vec<f32> = row.iter().enumerate().filter(|&(j, _)| j != i % n).map(|(_, &d)| d).collect();
        others.sort_by(f32::total_cmp);
        others[k - 1]
    };
    distances.chunks_exact(n).enumerate().map(kth).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_line() {
        // Points at 0, 1, 3: squared distances.
        let distances = [0.0, 1.0, 9.0, 1.0, 0.0, 4.0, 9.0, 4.0, 0.0];
        assert_eq!(kth_distance(&distances, 3, 1), [1.0, 1.0, 4.0]);
        assert_eq!(kth_distance(&distances, 3, 2), [9.0, 4.0, 9.0]);
    }
}
