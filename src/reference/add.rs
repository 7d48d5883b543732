//! A value plus another one: row by row, or to every patch the class row of its image.

/// What [`add`] takes from the other value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addend {
    /// Each row its own.
    Rows,
    /// Each patch the class row of its image, tokens 1 + N; class rows of x stay.
    ClassRow {
        /// Of an image.
        tokens: usize,
    },
}

/// `x + scale other`, both `[R, width]` -> `[R, width]`.
pub fn add(x: &[f32], other: &[f32], width: usize, scale: f32, addend: Addend) -> Vec<f32> {
    assert_eq!(x.len(), other.len(), "values of x and of the other");
    let row = |i: usize| match addend {
        Addend::Rows => Some(i),
        Addend::ClassRow { tokens } => (!i.is_multiple_of(tokens)).then_some(i - i % tokens),
    };
    let sum = |i: usize| match row(i / width) {
        Some(row) => (f64::from(x[i]) + f64::from(scale) * f64::from(other[row * width + i % width])) as f32,
        None => x[i],
    };
    (0..x.len()).map(sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_class_rows() {
        let (x, other) = ([1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 30.0, 40.0]);
        assert_eq!(add(&x, &other, 1, 0.5, Addend::Rows), [6.0, 12.0, 18.0, 24.0]);
        assert_eq!(add(&x, &other, 1, 0.5, Addend::ClassRow { tokens: 2 }), [1.0, 7.0, 3.0, 19.0]);
    }
}
