//! Rows against each other: products `x_i . x_j` or squared distances `|x_i - x_j|^2` of all pairs of an image's rows.
//!
//! Of unit rows the products are cosines: how alike patches are. Distances are sums of squared differences; from products they
//! would lose the digits by which close neighbours differ.

/// What [`gram`] holds for a pair of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pair {
    /// The inner product.
    Product,
    /// The squared Euclidean distance.
    Distance,
}

/// `scale` times the product or squared distance of each pair of rows `first ..` of each image.
///
/// * `x`: `[B tokens, width]`
/// * `first`: 0 for all tokens, 1 for the patches alone
///
/// Returns `[B, n, n]`, n = tokens - first.
pub fn gram(x: &[f32], tokens: usize, width: usize, first: usize, pair: Pair, scale: f32) -> Vec<f32> {
    assert_eq!(x.len() % (tokens * width), 0, "x of {} values is not [B {tokens}, {width}]", x.len());
    let term = |(&a, &b): (&f32, &f32)| match pair {
        Pair::Product => f64::from(a) * f64::from(b),
        Pair::Distance => (f64::from(a) - f64::from(b)).powi(2),
    };
    let mut out = Vec::new();
    for image in x.chunks_exact(tokens * width) {
        let rows = &image[first * width..];
        for a in rows.chunks_exact(width) {
            out.extend(rows.chunks_exact(width).map(|b| (f64::from(scale) * a.iter().zip(b).map(term).sum::<f64>()) as f32));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_patches() {
        let x = [9.0, 9.0, 1.0, 2.0, 4.0, -2.0];
        assert_eq!(gram(&x, 3, 2, 1, Pair::Product, 2.0), [10.0, 0.0, 0.0, 40.0]);
        assert_eq!(gram(&x, 3, 2, 1, Pair::Distance, 1.0), [0.0, 25.0, 25.0, 0.0]);
    }
}
