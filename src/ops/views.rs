//! Several views of a picture, and their scores made one again.

use crate::error::{Error, Result};
use crate::gpu::builder::{Arg, Dispatch};
use crate::gpu::kernel::kernels::{merge_views as merge_kernel, views as views_kernel};
use crate::gpu::{PlanBuilder, Value};
use crate::ops::{expect_dtype, fold_threads};
use crate::reference::gaussian;
use crate::shape::DType;

/// How many views [`views`] makes of a picture: itself, grey, blurred, upside down, left to right.
pub const VIEWS: u32 = 5;

/// A Gaussian blur.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "toml", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Blur {
    /// Side of its window, pixels; odd.
    pub taps: u32,
    /// Standard deviation, pixels.
    pub sigma: f32,
}

/// Views of normalised pixels `[B, 3, H, W]` -> `[5 B, 3, H, W]`, view by view: the pictures, grey, blurred, upside down,
/// left to right; f32.
///
/// # Errors
/// Shapes that do not fit; a blur of an even window, without a width, or that reaches beyond a mirrored picture.
pub fn views(b: &mut PlanBuilder, name: &str, pixels: Value, blur: Blur) -> Result<Value> {
    const OP: &str = "views";
    expect_dtype(OP, "pixels", pixels.dtype(), DType::F32)?;
    let &[images, 3, height, width] = pixels.shape().dims() else {
        return Err(Error::shape(OP, "pixels", "[B, 3, H, W]", pixels.shape()));
    };
    let radius = blur.taps / 2;
    if blur.taps.is_multiple_of(2) || !(blur.sigma.is_finite() && blur.sigma > 0.0) || radius >= width.min(height) {
        let expected = format!("an odd window of at most {} pixels and a positive sigma", 2 * width.min(height) - 1);
        return Err(Error::shape(OP, "blur", expected, format!("{} pixels, sigma {}", blur.taps, blur.sigma)));
    }
    let taps = b.gpu().clone().upload("lancet.blur", &[blur.taps], DType::F32, &gaussian(blur.taps as usize, f64::from(blur.sigma)))?;
    let y = b.value(&[VIEWS * images, 3, height, width], DType::F32)?;
    let total = u64::from(images) * u64::from(height) * u64::from(width);
    let workgroups = fold_threads(b, total);
    b.dispatch(
        name,
        Dispatch {
            kernel: &views_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: views_kernel::Params { total: total as u32, width, height, radius },
            args: &[Arg::Value(pixels), Arg::Tensor(&taps), Arg::Value(y)],
            workgroups,
            flops: 6 * total * u64::from(blur.taps) * u64::from(blur.taps + 1),
        },
    )?;
    Ok(y)
}

/// Scores of the five views, `[5 B (1 + N), L]`, class row first -> `[B (1 + N), L]`, f32: `share` of the upright views' mean
/// and the rest of the flipped ones', turned back. `grid` is the N patches, (width, height).
///
/// # Errors
/// Shapes that do not fit, a share beyond 0 to 1.
pub fn merge_views(b: &mut PlanBuilder, name: &str, scores: Value, grid: [u32; 2], share: f32) -> Result<Value> {
    const OP: &str = "merge_views";
    expect_dtype(OP, "scores", scores.dtype(), DType::F32)?;
    let (rows, labels) = (scores.shape().rows(), scores.shape().width());
    let tokens = 1 + u64::from(grid[0]) * u64::from(grid[1]);
    if grid.contains(&0) || !u64::from(rows).is_multiple_of(u64::from(VIEWS) * tokens) {
        return Err(Error::shape(OP, "scores", format!("[{VIEWS} B x {tokens}, L]"), scores.shape()));
    }
    if !(0.0..=1.0).contains(&share) {
        return Err(Error::shape(OP, "share", "0 to 1", share));
    }
    let y = b.value(&[rows / VIEWS, labels], DType::F32)?;
    let total = y.shape().elements();
    let workgroups = fold_threads(b, total);
    b.dispatch(
        name,
        Dispatch {
            kernel: &merge_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: merge_kernel::Params {
                total: total as u32,
                labels,
                grid_width: grid[0],
                grid_height: grid[1],
                share,
                ..Default::default()
            },
            args: &[Arg::Value(scores), Arg::Value(y)],
            workgroups,
            flops: 8 * total,
        },
    )?;
    Ok(y)
}
