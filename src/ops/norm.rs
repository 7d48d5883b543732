//! Layer norm and unit rows.

use crate::error::{Error, Result};
use crate::gpu::builder::{Arg, Dispatch};
use crate::gpu::kernel::kernels::{l2_normalize as l2, layer_norm as kernel};
use crate::gpu::{PlanBuilder, Tensor, Value};
use crate::ops::{expect_act, expect_dtype, expect_shape, fold};
use crate::shape::DType;

/// Class rows from elsewhere: the end of CLIP Surgery.
#[derive(Clone, Copy, Debug)]
pub struct Merge {
    /// Where every `tokens`-th row is read; same width.
    pub class_x: Value,
    /// First row of `class_x` that belongs to row 0.
    pub class_row: u32,
    /// Tokens per image, 1 + N.
    pub tokens: u32,
}

/// Rows of `x` normalised: `(x - mean) / sqrt(variance + eps) * gain + bias`.
///
/// Reads `rows` rows of x `[.., C]` from row `first_row` on -> `[rows, C]`. `gain`, `bias` `[C]`, f32.
///
/// # Errors
/// Shapes that do not fit.
#[expect(clippy::too_many_arguments, reason = "the operands of the kernel")]
pub fn layer_norm(
    b: &mut PlanBuilder,
    name: &str,
    x: Value,
    first_row: u32,
    rows: u32,
    gain: &Tensor,
    bias: &Tensor,
    eps: f32,
    merge: Option<Merge>,
) -> Result<Value> {
    const OP: &str = "layer_norm";
    expect_act(OP, "x", x)?;
    let width = x.shape().width();
    expect_shape(OP, "gain", gain, &[width])?;
    expect_shape(OP, "bias", bias, &[width])?;
    let class_x = merge.map_or(x, |m| m.class_x);
    let class_row = merge.map_or(0, |m| m.class_row);
    if first_row + rows > x.shape().rows()
        || class_x.shape().width() != width
        || class_x.dtype() != x.dtype()
        || class_row + rows > class_x.shape().rows() && merge.is_some()
    {
        return Err(Error::shape(
            OP,
            "rows",
            format!("{rows} rows from {first_row} of width {width}"),
            format!("x {}, class_x {}", x.shape(), class_x.shape()),
        ));
    }
    let y = b.value(&[rows, width], x.dtype())?;
    let elements = u64::from(rows) * u64::from(width);
    let workgroups = fold(b, u64::from(rows));
    b.dispatch(
        name,
        Dispatch {
            kernel: &kernel::KERNEL,
            act: x.dtype(),
            weight: DType::F32,
            constants: &[],
            params: kernel::Params {
                rows,
                width4: width / 4,
                eps,
                merge_tokens: merge.map_or(0, |m| m.tokens),
                x_row: first_row,
                class_row,
                ..Default::default()
            },
            args: &[Arg::Value(x), Arg::Value(class_x), Arg::Tensor(gain), Arg::Tensor(bias), Arg::Value(y)],
            workgroups,
            flops: 8 * elements,
        },
    )?;
    Ok(y)
}

/// Rows of `x` `[.., D]` divided by their length -> f32 `[R, D]`.
///
/// # Errors
/// Shapes that do not fit.
pub fn l2_normalize(b: &mut PlanBuilder, name: &str, x: Value) -> Result<Value> {
    expect_act("l2_normalize", "x", x)?;
    if x.dtype() != DType::F16 {
        expect_dtype("l2_normalize", "x", x.dtype(), DType::F32)?;
    }
    let (rows, width) = (x.shape().rows(), x.shape().width());
    let y = b.value(x.shape().dims(), DType::F32)?;
    let workgroups = fold(b, u64::from(rows));
    b.dispatch(
        name,
        Dispatch {
            kernel: &l2::KERNEL,
            act: x.dtype(),
            weight: DType::F32,
            constants: &[],
            params: l2::Params { rows, width4: width / 4, ..Default::default() },
            args: &[Arg::Value(x), Arg::Value(y)],
            workgroups,
            flops: 3 * x.shape().elements(),
        },
    )?;
    Ok(y)
}
