//! Products with few tiles and long sums: K is cut into slices, so that more workgroups share the work, and a second
//! kernel adds their sums in a fixed order and finishes. The same product gives the same bits every time.

use crate::error::Result;
use crate::gpu::builder::{Arg, Dispatch};
use crate::gpu::kernel::kernels::matmul_reduce as kernel;
use crate::gpu::{PlanBuilder, Tensor, Value};
use crate::ops::fold_threads;
use crate::reference::Activation;

/// Steps of 4 along K that every kernel takes at once, at most: slices are multiples of it.
const STEPS: u32 = 8;

/// `k4` steps in at most `wanted` slices: how many there are, and the steps of one. No slice is empty.
pub(super) fn cut(k4: u32, wanted: u32) -> (u32, u32) {
    if wanted <= 1 {
        return (1, k4);
    }
    let steps = k4.div_ceil(wanted).next_multiple_of(STEPS);
    (k4.div_ceil(steps), steps)
}

/// What is done with the sums.
pub(super) struct Finish<'a> {
    pub bias: Option<&'a Tensor>,
    pub activation: Activation,
    /// What is added, and the rows below which it is `residual`.
    pub residual: Option<Value>,
    pub rest: Option<Value>,
    pub split: u32,
    pub rest_row: u32,
    pub relu_last: bool,
}

/// Adds `[S, M, N]` sums of slices and finishes into `y` `[M, N]`.
pub(super) fn reduce(b: &mut PlanBuilder, name: &str, partial: Value, slices: u32, f: &Finish<'_>, y: Value) -> Result<()> {
    let (m, n4) = (y.shape().rows(), y.shape().width() / 4);
    let workgroups = fold_threads(b, u64::from(m) * u64::from(n4));
    // An unused binding may not stay empty, nor be smaller than an element of what is read there.
    let spare = Arg::Value(partial);
    b.dispatch(
        name,
        Dispatch {
            kernel: &kernel::KERNEL,
            act: y.dtype(),
            weight: y.dtype(),
            constants: &[],
            params: kernel::Params {
                m,
                n4,
                slices,
                activation: f.activation as u32,
                has_bias: super::has_bias(f.bias),
                has_residual: f.residual.is_some().into(),
                split: f.split,
                rest_row: f.rest_row,
                relu_last: f.relu_last.into(),
                ..Default::default()
            },
            args: &[
                Arg::Value(partial),
                f.bias.map_or(spare, Arg::Tensor),
                f.residual.map_or(spare, Arg::Value),
                f.rest.or(f.residual).map_or(spare, Arg::Value),
                Arg::Value(y),
            ],
            workgroups,
            flops: u64::from(slices) * y.shape().elements(),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cover_k_and_none_is_empty() {
        for k4 in [1, 7, 8, 9, 192, 255, 256, 768] {
            for wanted in [1, 2, 3, 4, 16, 64] {
                let (slices, steps) = cut(k4, wanted);
                assert!(slices <= wanted && slices * steps >= k4 && (slices - 1) * steps < k4, "{k4} in {wanted}: {slices} x {steps}");
            }
        }
    }
}
