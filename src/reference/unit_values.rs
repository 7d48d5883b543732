//! Values of each head divided by their length, beside the projections they come from.
//!
//! ```text
//! u = length * v / (|v| + 1e-6)       per token and head
//! ```
//!
//! Dot products of them are cosines, times length^2. CLIP Surgery means to attend by them in a ResNet's attention pool.

use super::attention::Heads;

/// Appends the unit values to each row.
///
/// * `qkv`: `[T, 3 * H * size]`, queries, keys and values beside each other
/// * `length`: of every unit value
///
/// Returns `[T, 4 * H * size]`.
pub fn unit_values(qkv: &[f32], heads: Heads, length: f32) -> Vec<f32> {
    let width = heads.heads * heads.size;
    assert_eq!(qkv.len() % (3 * width), 0, "qkv of {} values is not [T, 3 * {width}]", qkv.len());
    let mut out = Vec::with_capacity(qkv.len() / 3 * 4);
    for row in qkv.chunks_exact(3 * width) {
        out.extend(row);
        for value in row[2 * width..].chunks_exact(heads.size) {
            let norm = value.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
            out.extend(value.iter().map(|&v| (f64::from(length) * f64::from(v) / (norm + 1e-6)) as f32));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_head_has_the_asked_length() {
        let row = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 3.0, -4.0, 0.0, 0.0];
        let out = unit_values(&row, Heads { heads: 2, size: 2 }, 2.0);
        assert_eq!(out[..12], row);
        assert!(out[12..].iter().zip([1.2, -1.6, 0.0, 0.0]).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-5), "{out:?}");
    }
}
