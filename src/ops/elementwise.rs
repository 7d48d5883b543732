//! The activation alone, and rows picked out.

use crate::error::{Error, Result};
use crate::gpu::builder::{Arg, Dispatch};
use crate::gpu::kernel::kernels::{activation as activation_kernel, gather_rows as gather_kernel};
use crate::gpu::{PlanBuilder, Tensor, Value};
use crate::ops::{expect_act, expect_dtype, fold_threads};
use crate::reference::Activation;
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
