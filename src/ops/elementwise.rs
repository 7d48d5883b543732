//! The activation alone, sums, and rows picked out.

use crate::error::{Error, Result};
use crate::gpu::builder::{Arg, Dispatch};
use crate::gpu::kernel::kernels::{activation as activation_kernel, add as add_kernel, gather_rows as gather_kernel};
use crate::gpu::{PlanBuilder, Tensor, Value};
use crate::ops::{expect_act, expect_dtype, fold_threads};
use crate::reference::{Activation, Addend};
use crate::shape::DType;

/// QuickGELU or exact GELU of every element; same shape and storage. In the towers it is fused into [`super::matmul`].
///
/// # Errors
/// A width that is not a multiple of 4.
pub fn activation(b: &mut PlanBuilder, name: &str, x: Value, kind: Activation) -> Result<Value> {
    expect_act("activation", "x", x)?;
    let y = b.value(x.shape().dims(), x.dtype())?;
    let count4 = x.shape().elements() / 4;
    let workgroups = fold_threads(b, count4);
    b.dispatch(
        name,
        Dispatch {
            kernel: &activation_kernel::KERNEL,
            act: x.dtype(),
            weight: DType::F32,
            constants: &[],
            params: activation_kernel::Params { count4: count4 as u32, kind: kind as u32, ..Default::default() },
            args: &[Arg::Value(x), Arg::Value(y)],
            workgroups,
            flops: 4 * x.shape().elements(),
        },
    )?;
    Ok(y)
}

/// `x + scale other`, both `[R, C]`: each row plus its own, or each patch plus the class row of its image, class rows of x staying.
/// Stored as x is.
///
/// # Errors
/// Shapes or storage that differ, rows that are no whole images.
pub fn add(b: &mut PlanBuilder, name: &str, x: Value, other: Value, scale: f32, addend: Addend) -> Result<Value> {
    const OP: &str = "add";
    expect_act(OP, "x", x)?;
    expect_dtype(OP, "other", other.dtype(), x.dtype())?;
    let (rows, width) = (x.shape().rows(), x.shape().width());
    if other.shape().rows() != rows || other.shape().width() != width {
        return Err(Error::shape(OP, "other", x.shape(), other.shape()));
    }
    let class_tokens = match addend {
        Addend::Rows => 0,
        Addend::ClassRow { tokens } if tokens > 0 && (rows as usize).is_multiple_of(tokens) => tokens as u32,
        Addend::ClassRow { tokens } => return Err(Error::shape(OP, "tokens", format!("a divisor of the {rows} rows"), tokens)),
    };
    let y = b.value(x.shape().dims(), x.dtype())?;
    let count4 = x.shape().elements() / 4;
    let workgroups = fold_threads(b, count4);
    b.dispatch(
        name,
        Dispatch {
            kernel: &add_kernel::KERNEL,
            act: x.dtype(),
            weight: DType::F32,
            constants: &[],
            params: add_kernel::Params { count4: count4 as u32, width4: width / 4, class_tokens, scale },
            args: &[Arg::Value(x), Arg::Value(other), Arg::Value(y)],
            workgroups,
            flops: 2 * x.shape().elements(),
        },
    )?;
    Ok(y)
}

/// Rows of x `[T, C]` by index `[S]` -> `[S, C]`. The caller vouches that every index is below T.
///
/// # Errors
/// Shapes that do not fit.
pub fn gather_rows(b: &mut PlanBuilder, name: &str, x: Value, rows: &Tensor) -> Result<Value> {
    expect_act("gather_rows", "x", x)?;
    expect_dtype("gather_rows", "rows", rows.dtype(), DType::U32)?;
    let &[count] = rows.shape() else { return Err(Error::shape("gather_rows", "rows", "[S]", format!("{:?}", rows.shape()))) };
    let width = x.shape().width();
    let y = b.value(&[count, width], x.dtype())?;
    let count4 = y.shape().elements() / 4;
    let workgroups = fold_threads(b, count4);
    b.dispatch(
        name,
        Dispatch {
            kernel: &gather_kernel::KERNEL,
            act: x.dtype(),
            weight: DType::F32,
            constants: &[],
            params: gather_kernel::Params { count4: count4 as u32, width4: width / 4, ..Default::default() },
            args: &[Arg::Value(x), Arg::Tensor(rows), Arg::Value(y)],
            workgroups,
            flops: 0,
        },
    )?;
    Ok(y)
}
