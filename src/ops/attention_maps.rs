//! Attention maps for those who look at them, and values on the unit sphere.

use crate::error::{Error, Result};
use crate::gpu::builder::{Arg, Dispatch};
use crate::gpu::kernel::kernels::{attention_scores as scores_kernel, softmax as softmax_kernel, unit_values as unit_kernel};
use crate::gpu::{PlanBuilder, Value};
use crate::ops::attention::check_heads;
use crate::ops::{expect_dtype, fold, fold_threads};
use crate::reference::{Heads, Projection};
use crate::shape::DType;

/// Projections `[T, 3 C]` and, beside them, the values of each head divided by their length, times `length`
/// -> `[T, 4 C]`, stored as qkv is.
///
/// # Errors
/// Shapes that do not fit.
pub fn unit_values(b: &mut PlanBuilder, name: &str, qkv: Value, heads: Heads, length: f32) -> Result<Value> {
    let width = check_heads("unit_values", qkv, heads, &[])?;
    let rows = qkv.shape().rows();
    let y = b.value(&[rows, 4 * width], qkv.dtype())?;
    let count = u64::from(rows) * heads.heads as u64;
    let workgroups = fold_threads(b, count);
    b.dispatch(
        name,
        Dispatch {
            kernel: &unit_kernel::KERNEL,
            act: qkv.dtype(),
            weight: DType::F32,
            constants: &[],
            params: unit_kernel::Params { count: count as u32, heads: heads.heads as u32, head4: heads.size as u32 / 4, length },
            args: &[Arg::Value(qkv), Arg::Value(y)],
            workgroups,
            flops: 3 * u64::from(rows) * u64::from(width),
        },
    )?;
    Ok(y)
}

/// `scale P Q^T` per head -> f32 `[B, H, N, N]`, for `images` sequences of equal length.
///
/// # Errors
/// Shapes that do not fit.
#[expect(clippy::too_many_arguments, reason = "the operands of the kernel")]
pub fn attention_scores(
    b: &mut PlanBuilder,
    name: &str,
    qkv: Value,
    images: u32,
    heads: Heads,
    scale: f32,
    causal: bool,
    path: (Projection, Projection),
) -> Result<Value> {
    const OP: &str = "attention_scores";
    if path.0 == Projection::UnitValue || path.1 == Projection::UnitValue {
        return Err(Error::shape(OP, "path", "queries, keys or values", "unit values"));
    }
    let width = check_heads(OP, qkv, heads, &[])?;
    let rows = qkv.shape().rows();
    if images == 0 || !rows.is_multiple_of(images) {
        return Err(Error::shape(OP, "qkv", format!("rows for {images} equal sequences"), qkv.shape()));
    }
    let tokens = rows / images;
    let scores = b.value(&[images, heads.heads as u32, tokens, tokens], DType::F32)?;
    let total = scores.shape().elements();
    let workgroups = fold_threads(b, total);
    b.dispatch(
        name,
        Dispatch {
            kernel: &scores_kernel::KERNEL,
            act: qkv.dtype(),
            weight: DType::F32,
            constants: &[],
            params: scores_kernel::Params {
                tokens,
                heads: heads.heads as u32,
                head4: heads.size as u32 / 4,
                width4: width / 4,
                scale,
                causal: causal.into(),
                query: path.0 as u32,
                key: path.1 as u32,
                total: total as u32,
                ..Default::default()
            },
            args: &[Arg::Value(qkv), Arg::Value(scores)],
            workgroups,
            flops: 2 * total * heads.size as u64,
        },
    )?;
    Ok(scores)
}

/// Softmax over the last dimension of an f32 value.
///
/// # Errors
/// Another element type.
pub fn softmax(b: &mut PlanBuilder, name: &str, x: Value) -> Result<Value> {
    expect_dtype("softmax", "x", x.dtype(), DType::F32)?;
    let p = b.value(x.shape().dims(), DType::F32)?;
    let (rows, width) = (x.shape().rows(), x.shape().width());
    let workgroups = fold(b, u64::from(rows));
    b.dispatch(
        name,
        Dispatch {
            kernel: &softmax_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: softmax_kernel::Params { rows, width, ..Default::default() },
            args: &[Arg::Value(x), Arg::Value(p)],
            workgroups,
            flops: 5 * x.shape().elements(),
        },
    )?;
    Ok(p)
}
