//! From a first pass's classes to a bias for the attention of a second: which patches show one thing.

use crate::error::{Error, Result};
use crate::gpu::builder::{Arg, Dispatch};
use crate::gpu::kernel::kernels::{
    blur_rows as blur_kernel, logit_bias as bias_kernel, patch_modes as modes_kernel, same_entity as same_kernel,
    window_bias as window_kernel,
};
use crate::gpu::{PlanBuilder, Tensor, Value};
use crate::ops::{expect_act, expect_dtype, expect_shape, fold, fold_threads};
use crate::reference::{Heads, gaussian_taps};
use crate::shape::DType;

/// Largest patch that a workgroup holds, pixels a side.
const MAX_SIDE: u32 = 32;

/// The most frequent class of each patch, of equal ones the lowest: classes `[B, H W]`, u32 below 2^24, of pictures of
/// `size` (width, height) -> `[B, N]`, u32. `side` pixels of a patch, 1 to 32; what lies beyond the last whole patch is
/// left out.
///
/// # Errors
/// Shapes that do not fit.
pub fn patch_modes(b: &mut PlanBuilder, name: &str, classes: Value, size: [u32; 2], side: u32) -> Result<Value> {
    const OP: &str = "patch_modes";
    expect_dtype(OP, "classes", classes.dtype(), DType::U32)?;
    if !(1..=MAX_SIDE).contains(&side) || size.iter().any(|&s| s < side) {
        return Err(Error::shape(OP, "side", format!("1 to {MAX_SIDE} pixels that fit into {}x{}", size[0], size[1]), side));
    }
    let (pixels, all) = (u64::from(size[0]) * u64::from(size[1]), classes.shape().elements());
    if !all.is_multiple_of(pixels) {
        return Err(Error::shape(OP, "classes", format!("[B, {} x {}]", size[1], size[0]), classes.shape()));
    }
    let grid = size.map(|s| s / side);
    let y = b.value(&[(all / pixels) as u32, grid[0] * grid[1]], DType::U32)?;
    let patches = y.shape().elements();
    let workgroups = fold(b, patches);
    b.dispatch(
        name,
        Dispatch {
            kernel: &modes_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: modes_kernel::Params {
                patches: patches as u32,
                width: size[0],
                height: size[1],
                grid_width: grid[0],
                grid_height: grid[1],
                side,
                ..Default::default()
            },
            args: &[Arg::Value(classes), Arg::Value(y)],
            workgroups,
            flops: 0,
        },
    )?;
    Ok(y)
}

/// Which patches show one thing: labels `[B, N]` u32 of a `grid` (width, height) -> `[B, N, N]` f32: 1 where two patches
/// share their label, else 0; with the path rule less than 1 where another label lies between. The rule walks
/// O(N^2 max(width, height)) samples, of pairs with the same label only.
///
/// # Errors
/// Shapes that do not fit.
pub fn same_entity(b: &mut PlanBuilder, name: &str, labels: Value, grid: [u32; 2], path_rule: bool) -> Result<Value> {
    const OP: &str = "same_entity";
    expect_dtype(OP, "labels", labels.dtype(), DType::U32)?;
    let cells = u64::from(grid[0]) * u64::from(grid[1]);
    if cells != u64::from(labels.shape().width()) {
        return Err(Error::shape(OP, "labels", format!("[B, {} x {}]", grid[1], grid[0]), labels.shape()));
    }
    let cells = cells as u32;
    let y = b.value(&[labels.shape().rows(), cells, cells], DType::F32)?;
    let side = grid[0].max(grid[1]);
    // Without the rule nothing of it is read.
    let steps = path_steps(if path_rule { side } else { 1 });
    let steps = b.gpu().clone().upload("lancet.path_steps", &[steps.len() as u32], DType::F32, &steps)?;
    let total = y.shape().elements();
    let workgroups = fold_threads(b, total);
    b.dispatch(
        name,
        Dispatch {
            kernel: &same_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: same_kernel::Params {
                total: total as u32,
                width: grid[0],
                height: grid[1],
                side,
                path_rule: path_rule.into(),
                ..Default::default()
            },
            args: &[Arg::Value(labels), Arg::Tensor(&steps), Arg::Value(y)],
            workgroups,
            // At most; pairs of different labels walk no way.
            flops: if path_rule { 4 * total * u64::from(side) } else { total },
        },
    )?;
    Ok(y)
}

/// `[D + 1, S]` pairs `(a (1 - k / D), a k / D)`, each product rounded to f32: all that samples between patches are summed from.
fn path_steps(side: u32) -> Vec<f32> {
    let farthest = side - 1;
    let t = |k: u32| if farthest == 0 { 0.0 } else { k as f32 / farthest as f32 };
    (0..side).flat_map(|k| (0..side).flat_map(move |a| [a as f32 * (1.0 - t(k)), a as f32 * t(k)])).collect()
}

/// What [`blur_rows`] makes.
#[derive(Clone, Copy, Debug)]
pub struct Related {
    /// How much each token has to do with each other one, `[B, 1 + N, 1 + N]`, f32: rows of patches sum to 1; the class
    /// token's row and column are 0.
    pub matrix: Value,
    /// The largest value of each row, `[B, 1 + N]`, f32.
    peaks: Value,
}

/// Pairs `[B, N, N]` of [`same_entity`], each row blurred along its length by a Gaussian of `sigma` patches, and divided by
/// its sum.
///
/// # Errors
/// Another shape, a `sigma` that is no width.
pub fn blur_rows(b: &mut PlanBuilder, name: &str, same: Value, sigma: f32) -> Result<Related> {
    const OP: &str = "blur_rows";
    expect_dtype(OP, "same", same.dtype(), DType::F32)?;
    let &[images, patches, columns] = same.shape().dims() else { return Err(Error::shape(OP, "same", "[B, N, N]", same.shape())) };
    if patches != columns {
        return Err(Error::shape(OP, "same", "[B, N, N]", same.shape()));
    }
    if !(sigma > 0.0 && sigma <= 1e6) {
        return Err(Error::shape(OP, "sigma", "a positive number of patches", sigma));
    }
    let taps = gaussian_taps(patches as usize, sigma);
    let count = taps.len() as u32;
    let taps = b.gpu().clone().upload("lancet.gaussian_taps", &[count], DType::F32, &taps)?;
    let tokens = 1 + patches;
    let related = Related { matrix: b.value(&[images, tokens, tokens], DType::F32)?, peaks: b.value(&[images, tokens], DType::F32)? };
    let rows = images * tokens;
    let workgroups = fold(b, u64::from(rows));
    b.dispatch(
        name,
        Dispatch {
            kernel: &blur_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: blur_kernel::Params { rows, patches, taps: count, ..Default::default() },
            args: &[Arg::Value(same), Arg::Tensor(&taps), Arg::Value(related.matrix), Arg::Value(related.peaks)],
            workgroups,
            flops: 2 * u64::from(count) * same.shape().elements(),
        },
    )?;
    Ok(related)
}

/// A bias for attention's scores, `gain M / max(M) + window`, the maximum an image's own -> `[B, 1 + N, R]` f32, R being
/// 1 + N rounded up to a multiple of 4, padding -1e30. `window` `[1 + N, R]` is of [`gaussian_window`].
///
/// [`gaussian_window`]: crate::reference::gaussian_window
///
/// # Errors
/// A window of another shape.
pub fn logit_bias(b: &mut PlanBuilder, name: &str, related: Related, gain: f32, window: Option<&Tensor>) -> Result<Value> {
    const OP: &str = "logit_bias";
    let &[images, tokens, _] = related.matrix.shape().dims() else {
        return Err(Error::shape(OP, "related", "[B, 1 + N, 1 + N]", related.matrix.shape()));
    };
    let wide = tokens.next_multiple_of(4);
    if let Some(window) = window {
        expect_dtype(OP, "window", window.dtype(), DType::F32)?;
        expect_shape(OP, "window", window, &[tokens, wide])?;
    }
    let y = b.value(&[images, tokens, wide], DType::F32)?;
    let rows = images * tokens;
    let workgroups = fold(b, u64::from(rows));
    b.dispatch(
        name,
        Dispatch {
            kernel: &bias_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: bias_kernel::Params { rows, tokens, wide, gain, windowed: window.is_some().into(), ..Default::default() },
            args: &[
                Arg::Value(related.matrix),
                Arg::Value(related.peaks),
                window.map_or(Arg::Value(related.matrix), Arg::Tensor),
                Arg::Value(y),
            ],
            workgroups,
            flops: 3 * y.shape().elements(),
        },
    )?;
    Ok(y)
}

/// A bias of places alone: `window` `[tokens, R]` times `scale` times the mean of |p| |q| over all heads and pairs of an image's
/// tokens, P and Q being `columns` of C in `qkv` `[B tokens, k C]` -> f32 `[B, tokens, R]`; padding stays.
///
/// # Errors
/// Shapes that do not fit.
#[expect(clippy::too_many_arguments, reason = "the operands of the kernel")]
pub fn window_bias(
    b: &mut PlanBuilder,
    name: &str,
    qkv: Value,
    columns: (u32, u32),
    heads: Heads,
    tokens: u32,
    window: &Tensor,
    scale: f32,
) -> Result<Value> {
    const OP: &str = "window_bias";
    expect_act(OP, "qkv", qkv)?;
    expect_dtype(OP, "window", window.dtype(), DType::F32)?;
    let width = (heads.heads * heads.size) as u32;
    let (rows, stride) = (qkv.shape().rows(), qkv.shape().width());
    if heads.size == 0 || !heads.size.is_multiple_of(4) || (columns.0.max(columns.1) + 1).saturating_mul(width) > stride {
        return Err(Error::shape(OP, "qkv", format!("columns {columns:?} of {} heads of a multiple of 4", heads.heads), qkv.shape()));
    }
    let &[of, row] = window.shape() else { return Err(Error::shape(OP, "window", "[tokens, R]", window.layout())) };
    if tokens == 0 || of != tokens || !rows.is_multiple_of(tokens) {
        return Err(Error::shape(OP, "window", format!("[{tokens}, R], {tokens} dividing {rows} rows"), window.layout()));
    }
    let images = rows / tokens;
    let y = b.value(&[images, tokens, row], DType::F32)?;
    let workgroups = fold(b, u64::from(images));
    let head4 = heads.size as u32 / 4;
    b.dispatch(
        name,
        Dispatch {
            kernel: &window_kernel::KERNEL,
            act: qkv.dtype(),
            weight: DType::F32,
            constants: &[],
            params: window_kernel::Params {
                images,
                tokens,
                heads: heads.heads as u32,
                head4,
                stride4: stride / 4,
                p_at4: columns.0 * width / 4,
                q_at4: columns.1 * width / 4,
                row,
                scale,
                ..Default::default()
            },
            args: &[Arg::Value(qkv), Arg::Tensor(window), Arg::Value(y)],
            workgroups,
            flops: 4 * u64::from(rows) * u64::from(width) + y.shape().elements(),
        },
    )?;
    Ok(y)
}
