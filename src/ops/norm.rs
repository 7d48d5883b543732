//! Layer norm, unit rows and heads, the length of rows.

use crate::error::{Error, Result};
use crate::gpu::builder::{Arg, Dispatch};
use crate::gpu::kernel::Kernel;
use crate::gpu::kernel::kernels::{
    l2_normalize as l2, layer_norm as kernel, layer_norm_rows_8 as rows_kernel, mean_norm as mean_kernel, unit_heads as heads_kernel,
};
use crate::gpu::{Caps, PlanBuilder, Tensor, Value};
use crate::ops::choice::{Kernels, able, check, preferred};
use crate::ops::{expect_act, expect_dtype, expect_shape, fold, fold_threads};
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

/// Operands of [`layer_norm`].
#[derive(Clone, Copy, Debug)]
pub struct LayerNormArgs<'a> {
    /// `[.., C]`, of which `rows` rows from `first_row` on are used.
    pub x: Value,
    /// The first of them.
    pub first_row: u32,
    /// How many.
    pub rows: u32,
    /// `[C]`, f32.
    pub gain: &'a Tensor,
    /// `[C]`, f32.
    pub bias: &'a Tensor,
    /// Added to the variance.
    pub eps: f32,
    /// Some rows may come from elsewhere.
    pub merge: Option<Merge>,
}

/// The kernels of layer norm.
static KERNELS: &Kernels = &[&kernel::KERNEL, &rows_kernel::KERNEL];
/// What the second one takes C to be a multiple of.
const STEP: u32 = 8;
/// Rows of its workgroups.
const ROWS: u32 = 8;

/// Those that a device can run on rows of C elements.
pub fn layer_norm_kernels(caps: &Caps, width: u32) -> impl Iterator<Item = &'static Kernel> {
    able(KERNELS, caps, move |_| width.is_multiple_of(STEP))
}

/// Rows of `x` normalised: `(x - mean) / sqrt(variance + eps) * gain + bias` -> `[rows, C]`, stored as x is. C a multiple of 4.
///
/// # Errors
/// Shapes that do not fit.
pub fn layer_norm(b: &mut PlanBuilder, name: &str, args: LayerNormArgs<'_>) -> Result<Value> {
    let by = preferred(KERNELS, &b.gpu().caps, |_| args.x.shape().width().is_multiple_of(STEP));
    layer_norm_by(b, name, args, by)
}

/// As [`layer_norm`], by one of [`layer_norm_kernels`].
///
/// # Errors
/// As [`layer_norm`], or a kernel that the device cannot run.
pub fn layer_norm_by(b: &mut PlanBuilder, name: &str, args: LayerNormArgs<'_>, by: &'static Kernel) -> Result<Value> {
    const OP: &str = "layer_norm";
    let LayerNormArgs { x, first_row, rows, gain, bias, eps, merge } = args;
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
    check(KERNELS, b, |_| width.is_multiple_of(STEP), by, OP, || format!("rows of {width}"))?;
    let y = b.value(&[rows, width], x.dtype())?;
    let elements = u64::from(rows) * u64::from(width);
    let workgroups = fold(b, u64::from(if *by == kernel::KERNEL { rows } else { rows.div_ceil(ROWS) }));
    b.dispatch(
        name,
        Dispatch {
            kernel: by,
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

/// Every `size` consecutive channels of x `[T, K]` divided by their length (at least 1e-12) -> `[T, K]`, stored as x is.
///
/// `factor` `[B]`, f32: each image's rows times its value.
///
/// # Errors
/// Shapes that do not fit.
pub fn unit_heads(b: &mut PlanBuilder, name: &str, x: Value, size: u32, factor: Option<Value>) -> Result<Value> {
    const OP: &str = "unit_heads";
    expect_act(OP, "x", x)?;
    let (rows, width) = (x.shape().rows(), x.shape().width());
    if size == 0 || !size.is_multiple_of(4) || !width.is_multiple_of(size) {
        return Err(Error::shape(OP, "size", format!("a multiple of 4 that divides the width {width}"), size));
    }
    let mut image_heads = rows * (width / size);
    if let Some(factor) = factor {
        expect_dtype(OP, "factor", factor.dtype(), DType::F32)?;
        let &[images] = factor.shape().dims() else { return Err(Error::shape(OP, "factor", "[B]", factor.shape())) };
        if !rows.is_multiple_of(images) {
            return Err(Error::shape(OP, "factor", format!("[B], B a divisor of the {rows} rows"), factor.shape()));
        }
        image_heads /= images;
    }
    let y = b.value(x.shape().dims(), x.dtype())?;
    let count = rows * (width / size);
    let workgroups = fold_threads(b, u64::from(count));
    b.dispatch(
        name,
        Dispatch {
            kernel: &heads_kernel::KERNEL,
            act: x.dtype(),
            weight: DType::F32,
            constants: &[],
            params: heads_kernel::Params { count, head4: size / 4, image_heads, scaled: u32::from(factor.is_some()) },
            // Without a factor the binding still needs a buffer; nobody reads it.
            args: &[Arg::Value(x), Arg::Value(factor.unwrap_or(x)), Arg::Value(y)],
            workgroups,
            flops: 3 * x.shape().elements(),
        },
    )?;
    Ok(y)
}

/// `scale` times the mean length of each image's rows, x `[B tokens, C]` -> f32 `[B]`; with `root` the square root of that.
///
/// # Errors
/// Rows that are no whole images, a negative scale under a root.
pub fn mean_norm(b: &mut PlanBuilder, name: &str, x: Value, tokens: u32, scale: f32, root: bool) -> Result<Value> {
    const OP: &str = "mean_norm";
    expect_act(OP, "x", x)?;
    let (rows, width) = (x.shape().rows(), x.shape().width());
    if tokens == 0 || !rows.is_multiple_of(tokens) {
        return Err(Error::shape(OP, "tokens", format!("a divisor of the {rows} rows"), tokens));
    }
    if !scale.is_finite() || root && scale < 0.0 {
        return Err(Error::shape(OP, "scale", "a finite number, not negative under a root", scale));
    }
    let images = rows / tokens;
    let y = b.value(&[images], DType::F32)?;
    let workgroups = fold(b, u64::from(images));
    b.dispatch(
        name,
        Dispatch {
            kernel: &mean_kernel::KERNEL,
            act: x.dtype(),
            weight: DType::F32,
            constants: &[],
            params: mean_kernel::Params { images, tokens, width4: width / 4, root: u32::from(root), scale, ..Default::default() },
            args: &[Arg::Value(x), Arg::Value(y)],
            workgroups,
            flops: 2 * x.shape().elements(),
        },
    )?;
    Ok(y)
}
