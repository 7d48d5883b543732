//! From image and text features to one map per label.

use crate::error::{Error, Result};
use crate::gpu::builder::{Arg, Dispatch};
use crate::gpu::kernel::kernels::{
    ensemble as ensemble_kernel, feature_surgery as surgery_kernel, minmax as minmax_kernel, similarity as similarity_kernel,
};
use crate::gpu::{PlanBuilder, Tensor, Value};
use crate::ops::{expect_dtype, fold, fold_threads};
use crate::shape::DType;

/// Mean of each label's prompt embeddings, unit rows or not, made a unit vector: x `[L M, D]` -> `[L, D]`, f32.
///
/// # Errors
/// Rows that are no multiple of `templates`.
pub fn ensemble(b: &mut PlanBuilder, name: &str, x: Value, templates: u32) -> Result<Value> {
    expect_dtype("ensemble", "x", x.dtype(), DType::F32)?;
    let (rows, width) = (x.shape().rows(), x.shape().width());
    if templates == 0 || rows % templates != 0 || width % 4 != 0 {
        return Err(Error::shape("ensemble", "x", format!("[L x {templates}, D], D a multiple of 4"), x.shape()));
    }
    let labels = rows / templates;
    let y = b.value(&[labels, width], DType::F32)?;
    let workgroups = fold(b, u64::from(labels));
    b.dispatch(
        name,
        Dispatch {
            kernel: &ensemble_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: ensemble_kernel::Params { labels, templates, width4: width / 4, ..Default::default() },
            args: &[Arg::Value(x), Arg::Value(y)],
            workgroups,
            flops: x.shape().elements(),
        },
    )?;
    Ok(y)
}

/// Cosines of unit features `[R, D]` and unit label embeddings `[L, D]` -> `[R, L]`, f32.
///
/// # Errors
/// Widths that differ.
pub fn similarity(b: &mut PlanBuilder, name: &str, features: Value, labels: &Tensor) -> Result<Value> {
    const OP: &str = "similarity";
    expect_dtype(OP, "features", features.dtype(), DType::F32)?;
    expect_dtype(OP, "labels", labels.dtype(), DType::F32)?;
    let (rows, width) = (features.shape().rows(), features.shape().width());
    let &[count, same] = labels.shape() else { return Err(Error::shape(OP, "labels", "[L, D]", format!("{:?}", labels.shape()))) };
    if same != width || width % 4 != 0 {
        return Err(Error::shape(OP, "labels", format!("[L, {width}], a multiple of 4"), format!("{:?}", labels.shape())));
    }
    let s = b.value(&[rows, count], DType::F32)?;
    let tiles = count.div_ceil(4);
    let total = rows.div_ceil(4) * tiles;
    let workgroups = fold_threads(b, u64::from(total));
    b.dispatch(
        name,
        Dispatch {
            kernel: &similarity_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: similarity_kernel::Params { rows, labels: count, width4: width / 4, tiles, total, ..Default::default() },
            args: &[Arg::Value(features), Arg::Tensor(labels), Arg::Value(s)],
            workgroups,
            flops: 2 * u64::from(rows) * u64::from(count) * u64::from(width),
        },
    )?;
    Ok(s)
}

/// What [`feature_surgery`] removes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Surgery {
    /// The mean over the label set, weighted by how present each label is.
    LabelMean {
        /// Inside the softmax over labels; 2 in the original.
        sharpness: f32,
        /// Weight the minuend too, as the original's code does.
        weight_minuend: bool,
    },
    /// The last column of the cosines: a reference text.
    Reference,
}

/// Feature surgery in its collapsed form: cosines `[B (1 + N), W]` -> `[B (1 + N), L]`; W = L, or L + 1 with a reference.
///
/// # Errors
/// Rows that are no multiple of `tokens`; a label mean over fewer than two labels (identically zero).
pub fn feature_surgery(b: &mut PlanBuilder, name: &str, cosines: Value, tokens: u32, surgery: Surgery) -> Result<Value> {
    const OP: &str = "feature_surgery";
    expect_dtype(OP, "cosines", cosines.dtype(), DType::F32)?;
    let (rows, width) = (cosines.shape().rows(), cosines.shape().width());
    let (labels, params) = match surgery {
        Surgery::LabelMean { sharpness, weight_minuend } => {
            (width, surgery_kernel::Params { sharpness, weight_minuend: weight_minuend.into(), ..Default::default() })
        }
        Surgery::Reference => (width - 1, surgery_kernel::Params { reference: 1, ..Default::default() }),
    };
    if tokens == 0 || rows % tokens != 0 || width < 2 {
        return Err(Error::shape(OP, "cosines", format!("[B x {tokens}, at least 2]"), cosines.shape()));
    }
    let s = b.value(&[rows, labels], DType::F32)?;
    let workgroups = fold(b, u64::from(rows));
    b.dispatch(
        name,
        Dispatch {
            kernel: &surgery_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: surgery_kernel::Params { rows, tokens, labels, width, ..params },
            args: &[Arg::Value(cosines), Arg::Value(s)],
            workgroups,
            flops: 8 * cosines.shape().elements(),
        },
    )?;
    Ok(s)
}

/// Each label's scores to 0..1 over the patches: s `[B (1 + N), L]`, class row first -> maps `[B, L, N]`. Constant: zeros.
///
/// # Errors
/// Rows that are no multiple of `tokens`.
pub fn minmax(b: &mut PlanBuilder, name: &str, s: Value, tokens: u32) -> Result<Value> {
    expect_dtype("minmax", "s", s.dtype(), DType::F32)?;
    let (rows, labels) = (s.shape().rows(), s.shape().width());
    if tokens < 2 || rows % tokens != 0 {
        return Err(Error::shape("minmax", "s", format!("[B x {tokens}, L]"), s.shape()));
    }
    let images = rows / tokens;
    let maps = b.value(&[images, labels, tokens - 1], DType::F32)?;
    let workgroups = fold(b, u64::from(images * labels));
    b.dispatch(
        name,
        Dispatch {
            kernel: &minmax_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: minmax_kernel::Params { maps: images * labels, tokens, labels, ..Default::default() },
            args: &[Arg::Value(s), Arg::Value(maps)],
            workgroups,
            flops: 4 * maps.shape().elements(),
        },
    )?;
    Ok(maps)
}
