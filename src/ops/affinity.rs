//! How alike the patches of an image are, and what is made of it: weights to sum patches by, a bias of attention scores.

use crate::error::{Error, Result};
use crate::gpu::builder::{Arg, Dispatch};
use crate::gpu::kernel::kernels::{
    affinity_bias as bias_kernel, affinity_weights as weights_kernel, aggregate as aggregate_kernel, gram as gram_kernel,
    row_mean as mean_kernel,
};
use crate::gpu::{PlanBuilder, Value};
use crate::ops::matmul::tiling;
use crate::ops::{expect_act, expect_dtype, fold, fold_threads};
use crate::reference::Pair;
use crate::shape::DType;

/// Products or squared distances of all pairs of an image's rows, times `scale`: x `[B tokens, K]` -> f32 `[B, n, n]`, symmetric.
///
/// Of each image rows `first ..`: n = tokens - first; 1 leaves out the class token.
///
/// # Errors
/// Shapes that do not fit.
pub fn gram(b: &mut PlanBuilder, name: &str, x: Value, tokens: u32, first: u32, pair: Pair, scale: f32) -> Result<Value> {
    const OP: &str = "gram";
    expect_act(OP, "x", x)?;
    let (rows, width) = (x.shape().rows(), x.shape().width());
    if tokens == 0 || !rows.is_multiple_of(tokens) {
        return Err(Error::shape(OP, "tokens", format!("a divisor of the {rows} rows"), tokens));
    }
    if first >= tokens {
        return Err(Error::shape(OP, "first", format!("below the {tokens} tokens"), first));
    }
    let (images, n) = (rows / tokens, tokens - first);
    let y = b.value(&[images, n, n], DType::F32)?;
    let (lanes_n, [groups_x, groups_y, _]) = tiling(n, n);
    let pairs = y.shape().elements();
    b.dispatch(
        name,
        Dispatch {
            kernel: &gram_kernel::KERNEL,
            act: x.dtype(),
            weight: DType::F32,
            constants: &[("DISTANCES", u32::from(pair == Pair::Distance))],
            params: gram_kernel::Params { n, k4: width / 4, tokens, first, lanes_n, scale, ..Default::default() },
            args: &[Arg::Value(x), Arg::Value(y)],
            workgroups: [groups_x, groups_y, images],
            flops: pairs * u64::from(width) * if pair == Pair::Distance { 3 } else { 2 },
        },
    )?;
    Ok(y)
}

/// Images and patches of affinities `[B, N, N]`.
fn square(op: &'static str, what: &'static str, s: Value) -> Result<(u32, u32)> {
    expect_dtype(op, what, s.dtype(), DType::F32)?;
    match *s.shape().dims() {
        [images, n, columns] if n == columns => Ok((images, n)),
        _ => Err(Error::shape(op, what, "[B, N, N]", s.shape())),
    }
}

/// Rows of s `[B, N, N]` divided by their sum + 1e-6, entries below `beta` counting as 0 -> f32 `[B, N, N4]`.
///
/// N4 is N rounded up to a multiple of 4; columns beyond N are 0. For [`aggregate`].
///
/// # Errors
/// Another shape, a threshold that is no number.
pub fn affinity_weights(b: &mut PlanBuilder, name: &str, s: Value, beta: f32) -> Result<Value> {
    const OP: &str = "affinity_weights";
    let (images, n) = square(OP, "s", s)?;
    if beta.is_nan() {
        return Err(Error::shape(OP, "beta", "a number", beta));
    }
    let padded = n.next_multiple_of(4);
    let y = b.value(&[images, n, padded], DType::F32)?;
    let rows = images * n;
    let workgroups = fold(b, u64::from(rows));
    b.dispatch(
        name,
        Dispatch {
            kernel: &weights_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: weights_kernel::Params { rows, n, padded, beta },
            args: &[Arg::Value(s), Arg::Value(y)],
            workgroups,
            flops: 2 * s.shape().elements(),
        },
    )?;
    Ok(y)
}

/// Patches of x `[B (1 + N), C]` summed with `weights` `[B, N, N4]`, f32, zero beyond N, as [`affinity_weights`] makes them
/// -> `[B (1 + N), C]`, stored as x is; class rows are copied.
///
/// # Errors
/// Shapes that do not fit.
pub fn aggregate(b: &mut PlanBuilder, name: &str, weights: Value, x: Value) -> Result<Value> {
    const OP: &str = "aggregate";
    expect_act(OP, "x", x)?;
    expect_dtype(OP, "weights", weights.dtype(), DType::F32)?;
    let &[images, n, padded] = weights.shape().dims() else {
        return Err(Error::shape(OP, "weights", "[B, N, N4]", weights.shape()));
    };
    if padded != n.next_multiple_of(4) {
        return Err(Error::shape(
            OP,
            "weights",
            format!("{} columns: the {n} patches rounded up to a multiple of 4", n.next_multiple_of(4)),
            padded,
        ));
    }
    let (rows, width) = (x.shape().rows(), x.shape().width());
    if u64::from(images) * (1 + u64::from(n)) != u64::from(rows) {
        return Err(Error::shape(OP, "x", format!("[{images} (1 + {n}), C]"), x.shape()));
    }
    let y = b.value(x.shape().dims(), x.dtype())?;
    let (lanes_n, [groups_x, groups_y, _]) = tiling(n, width);
    b.dispatch(
        name,
        Dispatch {
            kernel: &aggregate_kernel::KERNEL,
            act: x.dtype(),
            weight: DType::F32,
            constants: &[],
            params: aggregate_kernel::Params { n, padded4: padded / 4, width4: width / 4, lanes_n },
            args: &[Arg::Value(weights), Arg::Value(x), Arg::Value(y)],
            workgroups: [groups_x, groups_y, images],
            flops: 2 * u64::from(images) * u64::from(n) * u64::from(n) * u64::from(width),
        },
    )?;
    Ok(y)
}

/// Affinities `[B, N, N]` above their image's mean `[B]`, times `sharpness`, and -1e30 below it -> f32 `[B, N, N4]`: a bias of
/// attention scores. N4 is N rounded up to a multiple of 4; columns beyond N are -1e30.
///
/// The mean of all entries of an image is [`row_mean`] twice: over `B N` rows, then over `B`.
///
/// # Errors
/// Shapes that do not fit, a sharpness that is not positive.
pub fn affinity_bias(b: &mut PlanBuilder, name: &str, s: Value, mean: Value, sharpness: f32) -> Result<Value> {
    const OP: &str = "affinity_bias";
    let (images, n) = square(OP, "s", s)?;
    expect_dtype(OP, "mean", mean.dtype(), DType::F32)?;
    if mean.shape().dims() != [images] {
        return Err(Error::shape(OP, "mean", format!("[{images}]"), mean.shape()));
    }
    if !(sharpness > 0.0 && sharpness.is_finite()) {
        return Err(Error::shape(OP, "sharpness", "a positive number", sharpness));
    }
    let padded = n.next_multiple_of(4);
    let y = b.value(&[images, n, padded], DType::F32)?;
    let total = y.shape().elements();
    let workgroups = fold_threads(b, total);
    b.dispatch(
        name,
        Dispatch {
            kernel: &bias_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: bias_kernel::Params { total: total as u32, n, padded, sharpness },
            args: &[Arg::Value(s), Arg::Value(mean), Arg::Value(y)],
            workgroups,
            flops: 2 * total,
        },
    )?;
    Ok(y)
}

/// The mean of each of `rows` equal parts of x, f32, however it is shaped -> f32 `[rows]`.
///
/// # Errors
/// Elements that do not make so many rows.
pub fn row_mean(b: &mut PlanBuilder, name: &str, x: Value, rows: u32) -> Result<Value> {
    const OP: &str = "row_mean";
    expect_dtype(OP, "x", x.dtype(), DType::F32)?;
    let elements = x.shape().elements();
    if rows == 0 || !elements.is_multiple_of(u64::from(rows)) {
        return Err(Error::shape(OP, "rows", format!("a divisor of the {elements} elements"), rows));
    }
    let y = b.value(&[rows], DType::F32)?;
    let workgroups = fold(b, u64::from(rows));
    b.dispatch(
        name,
        Dispatch {
            kernel: &mean_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: mean_kernel::Params { rows, width: (elements / u64::from(rows)) as u32, ..Default::default() },
            args: &[Arg::Value(x), Arg::Value(y)],
            workgroups,
            flops: elements,
        },
    )?;
    Ok(y)
}
