//! Matrix product with fused bias, activation and residual: one op, several kernels. `variant` lists them, `table` chooses.

mod split;
mod table;
mod variant;

pub use table::{Choice, choose, shipped};
pub(super) use variant::{SUBGROUP_TILE, tiling};
pub use variant::{Variant, unit as unit_of, variants};

use crate::error::{Error, Result};
use crate::gpu::builder::{Arg, Dispatch};
use crate::gpu::kernel::kernels::matmul as kernel;
use crate::gpu::{PlanBuilder, Tensor, Value};
use crate::ops::{expect_act, expect_shape};
use crate::reference::Activation;
use crate::shape::DType;

const OP: &str = "matmul";

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
    /// `[N, K]`, f32, f16 or int8, as linear layers store it.
    pub weight: &'a Tensor,
    /// `[N]`, f32. With int8 weights `[2, N]`: below the bias what each row of the weight is multiplied by.
    pub bias: Option<&'a Tensor>,
    /// Behind the bias.
    pub activation: Activation,
    /// Behind the activation.
    pub residual: Residual,
}

/// `activation(x w^T + bias) + residual` -> `[M, N]`, stored as x is. K and N multiples of 4. The kernel is the one that the
/// device's table names for this shape.
///
/// # Errors
/// Shapes that do not fit.
pub fn matmul(b: &mut PlanBuilder, name: &str, args: MatmulArgs<'_>) -> Result<Value> {
    let [m, n, k] = check(args)?;
    let choice = table::choose(b.gpu(), [m, n, k], args.x.dtype(), args.weight.dtype(), unit(args));
    matmul_by(b, name, args, choice)
}

/// As [`matmul`], by the kernel of the caller's choice.
///
/// # Errors
/// Shapes that do not fit, or a kernel that the device cannot run.
pub fn matmul_by(b: &mut PlanBuilder, name: &str, args: MatmulArgs<'_>, choice: Choice) -> Result<Value> {
    let [m, n, k] = check(args)?;
    let MatmulArgs { x, x_offset, weight, bias, activation, residual } = args;
    let variant = Variant::of(choice.kernel).filter(|v| v.runs(&b.gpu().caps, x.dtype(), weight.dtype(), unit(args))).ok_or_else(|| {
        let need = choice.kernel.need.map_or("operands of matmul".to_owned(), |need| format!("{need:?}"));
        Error::shape(
            OP,
            "kernel",
            format!("one that this device runs on {} x {}, sides in multiples of {}", x.dtype(), weight.dtype(), unit(args)),
            format!("{} ({need})", choice.kernel.name),
        )
    })?;
    let (slices, slice4) = split::cut(k / 4, choice.slices);
    let y = b.value(&[m, n], x.dtype())?;
    let (residual, rest, split, rest_row, relu_last) = match residual {
        Residual::None => (None, None, m, 0, false),
        Residual::Whole(r) => (Some(r), None, m, 0, false),
        Residual::ThenRelu(r) => (Some(r), None, m, 0, true),
        Residual::Split { first, rows, rest, rest_row } => (Some(first), Some(rest), rows, rest_row, false),
    };
    // Slices leave raw sums; whoever adds them up finishes.
    let sums = if slices > 1 { b.value(&[slices * m, n], DType::F32)? } else { y };
    // A binding may not stay empty, nor hold less than one element of what the kernel expects there: unused activations
    // are bound to x, an unused bias (four f32) to the weight, because x may be four halves.
    let spare = Arg::Value(x);
    let args_in_order = [
        Arg::Value(x),
        Arg::Tensor(weight),
        Arg::Tensor(bias.unwrap_or(weight)),
        residual.map_or(spare, Arg::Value),
        rest.or(residual).map_or(spare, Arg::Value),
        Arg::Value(sums),
    ];
    let (lanes_n, workgroups) = variant.grid(m, n, slices);
    b.dispatch(
        name,
        Dispatch {
            kernel: variant.kernel,
            act: x.dtype(),
            weight: weight.dtype(),
            constants: &[],
            params: kernel::Params {
                m,
                k4: k / 4,
                n4: n / 4,
                x_stride4: x.shape().width() / 4,
                x_offset4: x_offset / 4,
                activation: activation as u32,
                has_bias: has_bias(bias),
                has_residual: residual.is_some().into(),
                split,
                rest_row,
                relu_last: relu_last.into(),
                lanes_n,
                slices,
                slice4,
                ..Default::default()
            },
            args: &args_in_order,
            workgroups,
            flops: 2 * u64::from(m) * u64::from(n) * u64::from(k),
        },
    )?;
    if slices > 1 {
        let finish = split::Finish { bias, activation, residual, rest, split, rest_row, relu_last };
        split::reduce(b, name, sums, slices, &finish, y)?;
    }
    Ok(y)
}

/// As the kernels are told of it: 0 none, 1 `[N]`, 2 with scales.
fn has_bias(bias: Option<&Tensor>) -> u32 {
    bias.map_or(0, |b| b.shape().len() as u32)
}

/// The power of two that N, K, the row length of x and its first column are multiples of.
fn unit(MatmulArgs { x, x_offset, weight, .. }: MatmulArgs<'_>) -> u32 {
    unit_of(weight.shape().iter().copied().chain([x_offset, x.shape().width()]))
}

/// M, N and K of operands that fit.
fn check(args: MatmulArgs<'_>) -> Result<[u32; 3]> {
    let MatmulArgs { x, x_offset, weight, bias, residual, .. } = args;
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
    debug_assert_ne!(weight.dtype(), DType::U32);
    match (bias, weight.dtype()) {
        (Some(bias), DType::I8) => expect_shape(OP, "bias and scales", bias, &[2, n])?,
        (None, DType::I8) => return Err(Error::shape(OP, "bias and scales", format!("[2, {n}] beside int8 weights"), "none")),
        (Some(bias), _) => expect_shape(OP, "bias", bias, &[n])?,
        (None, _) => {}
    }
    let fits = |r: Value, rows: u32| r.shape().rows() >= rows && r.shape().width() == n && r.dtype() == x.dtype();
    let (enough, got) = match residual {
        Residual::None => (true, String::new()),
        Residual::Whole(r) | Residual::ThenRelu(r) => (fits(r, m), r.shape().to_string()),
        Residual::Split { first, rows, rest, rest_row } => {
            (fits(first, rows.min(m)) && fits(rest, (m + rest_row).saturating_sub(rows)), format!("{} and {}", first.shape(), rest.shape()))
        }
    };
    if !enough {
        return Err(Error::shape(OP, "residual", format!("[{m}, {n}] in {}", x.dtype()), got));
    }
    Ok([m, n, k])
}
