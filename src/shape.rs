//! Shapes and element types: row-major, contiguous, at most four dimensions.

use crate::error::{Error, Result};

/// Element type of a tensor *in memory*. Arithmetic is always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit float.
    F32,
    /// 16-bit float, two to a `u32`; needs no device feature.
    F16,
    /// 8-bit signed integer, four to a `u32`: weights, beside the scales of their rows.
    I8,
    /// 32-bit unsigned integer: indices and packed RGBA8 pixels (red in the low byte).
    U32,
}

impl DType {
    /// Bytes of one element.
    pub fn bytes(self) -> u64 {
        match self {
            DType::F32 | DType::U32 => 4,
            DType::F16 => 2,
            DType::I8 => 1,
        }
    }

    /// Name as in a safetensors header or a shader variant: `f32`, `f16`, `i8`, `u32`.
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::I8 => "i8",
            DType::U32 => "u32",
        }
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// One to four dimensions, slowest first (row-major), as in the papers: `[B, N, C]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [u32; 4],
    rank: u8,
}

impl Shape {
    /// A shape from its dimensions.
    ///
    /// # Errors
    /// No dimension, more than four, a zero, or more than 2^32 - 1 elements (indices in WGSL are `u32`).
    pub fn new(dims: &[u32]) -> Result<Shape> {
        let got = || format!("{dims:?}");
        if dims.is_empty() || dims.len() > 4 || dims.contains(&0) {
            return Err(Error::shape("shape", "dimensions", "1 to 4 positive numbers", got()));
        }
        let elements = dims.iter().try_fold(1u64, |n, &d| n.checked_mul(u64::from(d)));
        if elements.is_none_or(|n| n > u64::from(u32::MAX)) {
            return Err(Error::shape("shape", "number of elements", "below 2^32", got()));
        }
        let mut all = [1; 4];
        all[..dims.len()].copy_from_slice(dims);
        Ok(Shape { dims: all, rank: dims.len() as u8 })
    }

    /// The dimensions, slowest first.
    pub fn dims(&self) -> &[u32] {
        &self.dims[..usize::from(self.rank)]
    }

    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.dims().iter().map(|&d| u64::from(d)).product()
    }

    /// Size of the last dimension.
    pub fn width(&self) -> u32 {
        self.dims()[usize::from(self.rank) - 1]
    }

    /// Product of all dimensions but the last.
    pub fn rows(&self) -> u32 {
        (self.elements() / u64::from(self.width())) as u32
    }
}

impl std::fmt::Debug for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_width() {
        let s = Shape::new(&[2, 50, 768]).unwrap();
        assert_eq!((s.rows(), s.width(), s.elements()), (100, 768, 76_800));
        assert_eq!(s.to_string(), "[2, 50, 768]");
    }

    #[test]
    fn nonsense_is_refused() {
        for dims in [&[][..], &[0], &[1, 2, 3, 4, 5], &[65_536, 65_536]] {
            assert!(Shape::new(dims).is_err(), "{dims:?}");
        }
    }
}
