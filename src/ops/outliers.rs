//! Patches that stand out from all others, and their repair.

use crate::error::{Error, Result};
use crate::gpu::builder::{Arg, Dispatch};
use crate::gpu::kernel::kernels::{kth_distance as kth_kernel, lof as lof_kernel, outliers as outliers_kernel, repair as repair_kernel};
use crate::gpu::{PlanBuilder, Value};
use crate::ops::{expect_act, expect_dtype, fold, fold_threads};
use crate::reference::quantile_rank;
use crate::shape::DType;

/// Images and points of distances `[B, N, N]`, of which each point has k neighbours.
fn points(op: &'static str, distances: Value, k: u32) -> Result<(u32, u32)> {
    expect_dtype(op, "distances", distances.dtype(), DType::F32)?;
    let &[images, n, columns] = distances.shape().dims() else {
        return Err(Error::shape(op, "distances", "[B, N, N]", distances.shape()));
    };
    if n != columns {
        return Err(Error::shape(op, "distances", "[B, N, N]", distances.shape()));
    }
    if k == 0 || n <= k {
        let expected =
            format!("more than {k} (the neighbours that each is compared with, at least 1): use a larger input or fewer neighbours");
        return Err(Error::shape(op, "number of points", expected, n));
    }
    Ok((images, n))
}

/// The distance of each point to its k-th nearest other one: `distances` `[B, N, N]`, f32, symmetric, not negative -> f32 `[B, N]`.
///
/// # Errors
/// Another shape, or no more than k points.
pub fn kth_distance(b: &mut PlanBuilder, name: &str, distances: Value, k: u32) -> Result<Value> {
    let (images, n) = points("kth_distance", distances, k)?;
    let y = b.value(&[images, n], DType::F32)?;
    let count = images * n;
    let workgroups = fold_threads(b, u64::from(count));
    b.dispatch(
        name,
        Dispatch {
            kernel: &kth_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: kth_kernel::Params { count, n, k, ..Default::default() },
            args: &[Arg::Value(distances), Arg::Value(y)],
            workgroups,
            flops: 0,
        },
    )?;
    Ok(y)
}

/// Local outlier factors of points: the mean over their k nearest others of radius / their radius -> f32 `[B, N]`.
///
/// `distances` as for [`kth_distance`], and its result as `radii`; SC-CLIP takes squared distances and k = 30.
/// Of points at the same distance the lowest index counts first, so results do not depend on the device.
///
/// # Errors
/// Shapes that do not fit, or no more than k points.
pub fn lof(b: &mut PlanBuilder, name: &str, distances: Value, radii: Value, k: u32) -> Result<Value> {
    const OP: &str = "lof";
    let (images, n) = points(OP, distances, k)?;
    expect_dtype(OP, "radii", radii.dtype(), DType::F32)?;
    if radii.shape().dims() != [images, n] {
        return Err(Error::shape(OP, "radii", format!("[{images}, {n}]"), radii.shape()));
    }
    let y = b.value(&[images, n], DType::F32)?;
    let count = images * n;
    let workgroups = fold_threads(b, u64::from(count));
    b.dispatch(
        name,
        Dispatch {
            kernel: &lof_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: lof_kernel::Params { count, n, k, ..Default::default() },
            args: &[Arg::Value(distances), Arg::Value(radii), Arg::Value(y)],
            workgroups,
            flops: 4 * distances.shape().elements(),
        },
    )?;
    Ok(y)
}

/// Marks scores above a quantile of their image's: `scores` `[B, N]`, f32, not negative -> u32 `[B, N]`, 1 where it is above.
///
/// `share` of the scores, 0 to 1, lie above (5 % in SC-CLIP): the quantile 1 - share, interpolated linearly between ranks.
///
/// # Errors
/// Another shape, a share that is none.
pub fn outliers(b: &mut PlanBuilder, name: &str, scores: Value, share: f64) -> Result<Value> {
    const OP: &str = "outliers";
    expect_dtype(OP, "scores", scores.dtype(), DType::F32)?;
    let &[images, n] = scores.shape().dims() else { return Err(Error::shape(OP, "scores", "[B, N]", scores.shape())) };
    if !(0.0..=1.0).contains(&share) {
        return Err(Error::shape(OP, "share", "0 to 1", share));
    }
    let (rank, fraction) = quantile_rank(n as usize, 1.0 - share);
    let y = b.value(&[images, n], DType::U32)?;
    let workgroups = fold(b, u64::from(images));
    b.dispatch(
        name,
        Dispatch {
            kernel: &outliers_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: outliers_kernel::Params { images, n, rank: rank as u32, fraction },
            args: &[Arg::Value(scores), Arg::Value(y)],
            workgroups,
            flops: 0,
        },
    )?;
    Ok(y)
}

/// x `[B (1 + N), C]` with every patch that `marks` `[B, N]`, u32, holds 1 for replaced by the mean of its unmarked neighbours, of up to 8
/// -> `[B (1 + N), C]`, stored as x is. One without any stays, and so do class rows. `grid`: patches (width, height).
///
/// # Errors
/// Shapes that do not fit.
pub fn repair(b: &mut PlanBuilder, name: &str, x: Value, marks: Value, grid: [u32; 2]) -> Result<Value> {
    const OP: &str = "repair";
    expect_act(OP, "x", x)?;
    expect_dtype(OP, "marks", marks.dtype(), DType::U32)?;
    let &[images, n] = marks.shape().dims() else { return Err(Error::shape(OP, "marks", "[B, N]", marks.shape())) };
    if u64::from(grid[0]) * u64::from(grid[1]) != u64::from(n) {
        return Err(Error::shape(OP, "grid", format!("{n} patches"), format!("{} x {}", grid[0], grid[1])));
    }
    if u64::from(images) * (1 + u64::from(n)) != u64::from(x.shape().rows()) {
        return Err(Error::shape(OP, "x", format!("[{images} (1 + {n}), C]"), x.shape()));
    }
    let y = b.value(x.shape().dims(), x.dtype())?;
    let count = x.shape().elements() / 4;
    let workgroups = fold_threads(b, count);
    b.dispatch(
        name,
        Dispatch {
            kernel: &repair_kernel::KERNEL,
            act: x.dtype(),
            weight: DType::F32,
            constants: &[],
            params: repair_kernel::Params { count: count as u32, width4: x.shape().width() / 4, width: grid[0], height: grid[1] },
            args: &[Arg::Value(x), Arg::Value(marks), Arg::Value(y)],
            workgroups,
            flops: 0,
        },
    )?;
    Ok(y)
}
