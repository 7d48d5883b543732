//! Matrix product with fused bias, activation and residual.

use crate::error::{Error, Result};
use crate::gpu::builder::{Arg, Dispatch};
use crate::gpu::kernel::kernels::matmul as kernel;
use crate::gpu::{PlanBuilder, Tensor, Value};
use crate::ops::{expect_act, expect_shape};
use crate::reference::Activation;
use crate::shape::DType;

/// Rows and columns of one thread, as in the WGSL, and threads of a workgroup.
const ROWS: u32 = 25;
const COLUMNS: u32 = 16;
const LANES: u32 = 8;

/// How the threads of a workgroup lie over an `[M, N]` product: so many side by side in N, and the workgroups. The widest
/// arrangement with the fewest workgroups: 8 for most layers, fewer where N is small.
pub(super) fn tiling(m: u32, n: u32) -> (u32, [u32; 3]) {
    let groups = |lanes_n: u32| [n.div_ceil(COLUMNS).div_ceil(lanes_n), m.div_ceil(ROWS).div_ceil(LANES / lanes_n), 1];
    let count = |lanes_n: &u32| {
        let [x, y, _] = groups(*lanes_n);
        u64::from(x) * u64::from(y)
    };
    // The first of equals.
    let lanes_n = [8, 4, 2, 1].into_iter().min_by_key(count).unwrap_or(LANES);
    (lanes_n, groups(lanes_n))
}

/// What is added behind the activation.
#[derive(Clone, Copy, Debug)]
pub enum Residual {
    /// Nothing.
    None,
    /// `[M, N]`.
    Whole(Value),
    /// Rows below `rows` from `first` `[rows, N]`, the others from `rest`, whose row `rest_row` belongs to row `rows`.
    Split {
        /// The upper rows.
        first: Value,
        /// How many.
        rows: u32,
        /// The lower rows.
        rest: Value,
        /// Where they start in `rest`.
        rest_row: u32,
    },
    /// `[M, N]`, and ReLU of the sum: the end of a ResNet's bottleneck.
    ThenRelu(Value),
}

/// Operands of [`matmul`].
#[derive(Clone, Copy, Debug)]
pub struct MatmulArgs<'a> {
    /// `[M, C]`, of which `K` columns from `x_offset` on are used.
    pub x: Value,
    /// First column of x, a multiple of 4.
    pub x_offset: u32,
    /// `[N, K]`, f32 or f16, as linear layers store it.
    pub weight: &'a Tensor,
    /// `[N]`, f32.
    pub bias: Option<&'a Tensor>,
    /// Behind the bias.
    pub activation: Activation,
    /// Behind the activation.
    pub residual: Residual,
}

/// `activation(x w^T + bias) + residual` -> `[M, N]`, stored as x is. K and N multiples of 4.
///
/// # Errors
/// Shapes that do not fit.
pub fn matmul(b: &mut PlanBuilder, name: &str, args: MatmulArgs<'_>) -> Result<Value> {
    const OP: &str = "matmul";
    let MatmulArgs { x, x_offset, weight, bias, .. } = args;
    expect_act(OP, "x", x)?;
    let &[n, k] = weight.shape() else { return Err(Error::shape(OP, "weight", "[N, K]", format!("{:?}", weight.shape()))) };
    let (m, stride) = (x.shape().rows(), x.shape().width());
    if k % 4 != 0 || n % 4 != 0 || x_offset % 4 != 0 || x_offset + k > stride {
        return Err(Error::shape(
            OP,
            "x",
            format!("at least {k} columns from {x_offset} on (N, K, offset multiples of 4)"),
            format!("x {}, weight [{n}, {k}]", x.shape()),
        ));
    }
    if let Some(bias) = bias {
        expect_shape(OP, "bias", bias, &[n])?;
    }
    let y = b.value(&[m, n], x.dtype())?;
    let (residual, rest, split, rest_row) = match args.residual {
        Residual::None => (None, None, m, 0),
        Residual::Whole(r) | Residual::ThenRelu(r) => (Some(r), None, m, 0),
        Residual::Split { first, rows, rest, rest_row } => (Some(first), Some(rest), rows, rest_row),
    };
    if let Some(r) = residual {
        let enough = r.shape().rows() >= split.min(m)
            && rest.is_none_or(|rest| rest.shape().rows() + split >= m + rest_row && rest.shape().width() == n);
        if !enough || r.shape().width() != n || r.dtype() != x.dtype() || rest.is_some_and(|rest| rest.dtype() != x.dtype()) {
            let got = format!("{}{}", r.shape(), rest.map(|r| format!(" and {}", r.shape())).unwrap_or_default());
            return Err(Error::shape(OP, "residual", format!("[{m}, {n}] in {}", x.dtype()), got));
        }
    }
    // A binding may not stay empty, nor hold less than one element of what the kernel expects there: unused activations
    // are bound to x, an unused bias (four f32) to the weight, because x may be four halves.
    let spare = Arg::Value(x);
    let args_in_order = [
        Arg::Value(x),
        Arg::Tensor(weight),
        Arg::Tensor(bias.unwrap_or(weight)),
        residual.map_or(spare, Arg::Value),
        rest.or(residual).map_or(spare, Arg::Value),
        Arg::Value(y),
    ];
    let (lanes_n, workgroups) = tiling(m, n);
    b.dispatch(
        name,
        Dispatch {
            kernel: &kernel::KERNEL,
            act: x.dtype(),
            weight: weight.dtype(),
            constants: &[],
            params: kernel::Params {
                m,
                k4: k / 4,
                n4: n / 4,
                x_stride4: stride / 4,
                x_offset4: x_offset / 4,
                activation: args.activation as u32,
                has_bias: bias.is_some().into(),
                has_residual: residual.is_some().into(),
                split,
                rest_row,
                relu_last: matches!(args.residual, Residual::ThenRelu(_)).into(),
                lanes_n,
            },
            args: &args_in_order,
            workgroups,
            flops: 2 * u64::from(m) * u64::from(n) * u64::from(k),
        },
    )?;
    debug_assert_ne!(weight.dtype(), DType::U32);
    Ok(y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_cover_the_product() {
        for (m, n, lanes) in [(50, 768, 8), (197, 3072, 8), (3136, 64, 4), (12544, 32, 2), (100, 96, 2), (1, 4, 8), (49, 2048, 8)] {
            let (lanes_n, [x, y, z]) = tiling(m, n);
            assert_eq!((lanes_n, z), (lanes, 1), "[{m}, {n}]");
            assert!(x * lanes_n * COLUMNS >= n && y * (LANES / lanes_n) * ROWS >= m, "[{m}, {n}]");
        }
    }
}
