//! Scores of states, and maps that keep their scale.

use crate::error::{Error, Result};
use crate::gpu::builder::{Arg, Dispatch};
use crate::gpu::kernel::kernels::{mean_filter as filter_kernel, state_scores as states_kernel};
use crate::gpu::{PlanBuilder, Value};
use crate::ops::{expect_dtype, fold_threads};
use crate::shape::DType;

/// Softmax over the states of cosines `[R, L]`, divided by `temperature` -> `[R, L]`, f32; every row sums to 1.
///
/// # Errors
/// Another element type; a temperature that is not positive.
pub fn state_scores(b: &mut PlanBuilder, name: &str, cosines: Value, temperature: f32) -> Result<Value> {
    const OP: &str = "state_scores";
    expect_dtype(OP, "cosines", cosines.dtype(), DType::F32)?;
    if !(temperature.is_finite() && temperature > 0.0) {
        return Err(Error::shape(OP, "temperature", "a positive number", temperature));
    }
    let (rows, labels) = (cosines.shape().rows(), cosines.shape().width());
    let p = b.value(cosines.shape().dims(), DType::F32)?;
    let workgroups = fold_threads(b, u64::from(rows));
    b.dispatch(
        name,
        Dispatch {
            kernel: &states_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: states_kernel::Params { rows, labels, temperature, ..Default::default() },
            args: &[Arg::Value(cosines), Arg::Value(p)],
            workgroups,
            flops: 8 * p.shape().elements(),
        },
    )?;
    Ok(p)
}

/// The mean of the 3 x 3 patches around each: s `[B (1 + N), L]`, class row first, N patches of a `grid` (width, height)
/// -> maps `[B, L, N]`, f32. The border is replicated.
///
/// # Errors
/// Rows that are no multiple of the grid's tokens.
pub fn mean_filter(b: &mut PlanBuilder, name: &str, s: Value, grid: [u32; 2]) -> Result<Value> {
    const OP: &str = "mean_filter";
    expect_dtype(OP, "s", s.dtype(), DType::F32)?;
    let (rows, labels) = (s.shape().rows(), s.shape().width());
    let cells = u64::from(grid[0]) * u64::from(grid[1]);
    if cells == 0 || !u64::from(rows).is_multiple_of(1 + cells) {
        return Err(Error::shape(OP, "s", format!("[B x (1 + {}x{}), L]", grid[0], grid[1]), s.shape()));
    }
    let images = (u64::from(rows) / (1 + cells)) as u32;
    let maps = b.value(&[images, labels, cells as u32], DType::F32)?;
    let total = maps.shape().elements();
    let workgroups = fold_threads(b, total);
    b.dispatch(
        name,
        Dispatch {
            kernel: &filter_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: filter_kernel::Params { total: total as u32, labels, width: grid[0], height: grid[1] },
            args: &[Arg::Value(s), Arg::Value(maps)],
            workgroups,
            flops: 9 * total,
        },
    )?;
    Ok(maps)
}
