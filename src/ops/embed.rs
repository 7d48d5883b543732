//! From pixels and token ids to rows of channels.

use crate::error::{Error, Result};
use crate::gpu::builder::{Arg, Dispatch};
use crate::gpu::kernel::Kernel;
use crate::gpu::kernel::kernels::{patch_embed as patch_kernel, patch_embed_subgroup_50x8 as subgroup_kernel, token_embed as token_kernel};
use crate::gpu::{Caps, PlanBuilder, Tensor, Value};
use crate::ops::choice::{Kernels, able, check, preferred};
use crate::ops::matmul::SUBGROUP_TILE;
use crate::ops::{expect_dtype, expect_shape, fold_threads};
use crate::shape::DType;

/// The kernels of [`patch_embed`].
static KERNELS: &Kernels = &[&patch_kernel::KERNEL, &subgroup_kernel::KERNEL];

/// Those that a device can run: patches of `patch` pixels, images so many pixels wide, C channels.
pub fn patch_embed_kernels(caps: &Caps, sizes: [u32; 3]) -> impl Iterator<Item = &'static Kernel> {
    able(KERNELS, caps, move |_| fits(sizes))
}

/// What the second kernel takes.
fn fits([patch, image_width, channels]: [u32; 3]) -> bool {
    (patch | image_width | channels).is_multiple_of(8)
}

/// Patch convolution of pixels `[B, 3, H, W]` (f32) with `weight` `[C, 3 p p]`; with a prefix (class token `[C]`,
/// positions `[1 + N, C]`, f32) -> `[B (1 + N), C]`, without -> `[B N, C]`, stored as `act`.
///
/// # Errors
/// Shapes that do not fit, an odd patch size, an image smaller than one patch.
pub fn patch_embed(
    b: &mut PlanBuilder,
    name: &str,
    pixels: Value,
    patch: u32,
    weight: &Tensor,
    prefix: Option<(&Tensor, &Tensor)>,
    act: DType,
) -> Result<Value> {
    let by = preferred(KERNELS, &b.gpu().caps, |_| fits([patch, pixels.shape().width(), weight.shape()[0]]));
    patch_embed_by(b, name, pixels, patch, weight, prefix, act, by)
}

/// As [`patch_embed`], by one of [`patch_embed_kernels`].
///
/// # Errors
/// As [`patch_embed`], or a kernel that the device cannot run.
#[expect(clippy::too_many_arguments, reason = "the operands of the kernel, and the kernel")]
pub fn patch_embed_by(
    b: &mut PlanBuilder,
    name: &str,
    pixels: Value,
    patch: u32,
    weight: &Tensor,
    prefix: Option<(&Tensor, &Tensor)>,
    act: DType,
    by: &'static Kernel,
) -> Result<Value> {
    const OP: &str = "patch_embed";
    expect_dtype(OP, "pixels", pixels.dtype(), DType::F32)?;
    let &[images, 3, height, width_px] = pixels.shape().dims() else {
        return Err(Error::shape(OP, "pixels", "[B, 3, H, W]", pixels.shape()));
    };
    if patch == 0 || !patch.is_multiple_of(2) || height < patch || width_px < patch {
        return Err(Error::shape(OP, "patch", "even and no larger than the image", format!("{patch} for {width_px}x{height} pixels")));
    }
    let k = 3 * patch * patch;
    let &[width, got_k] = weight.shape() else { return Err(Error::shape(OP, "weight", "[C, 3 p p]", format!("{:?}", weight.shape()))) };
    if got_k != k || width % 4 != 0 {
        return Err(Error::shape(OP, "weight", format!("[C, {k}] with C a multiple of 4"), format!("{:?}", weight.shape())));
    }
    let grid = [width_px / patch, height / patch];
    let patches = grid[0] * grid[1];
    let tokens = patches + u32::from(prefix.is_some());
    if let Some((class_token, positions)) = prefix {
        expect_shape(OP, "class token", class_token, &[width])?;
        expect_shape(OP, "positions", positions, &[tokens, width])?;
    }
    let rows = images * tokens;
    check(
        KERNELS,
        b,
        |_| fits([patch, width_px, width]),
        by,
        OP,
        || format!("patches of {patch} and {width_px} pixels, {width} channels"),
    )?;
    let workgroups = match *by == patch_kernel::KERNEL {
        true => [width.div_ceil(16 * 8), rows.div_ceil(8), 1],
        false => [width.div_ceil(SUBGROUP_TILE[1]), rows.div_ceil(SUBGROUP_TILE[0]), 1],
    };
    let y = b.value(&[rows, width], act)?;
    let spare = Arg::Value(pixels);
    b.dispatch(
        name,
        Dispatch {
            kernel: by,
            act,
            weight: weight.dtype(),
            constants: &[],
            params: patch_kernel::Params {
                rows,
                tokens,
                prefix: prefix.is_some().into(),
                grid_width: grid[0],
                patch_size: patch,
                image_width: width_px,
                image_height: height,
                k4: k / 4,
                width4: width / 4,
                ..Default::default()
            },
            args: &[
                Arg::Value(pixels),
                Arg::Tensor(weight),
                prefix.map_or(spare, |p| Arg::Tensor(p.0)),
                prefix.map_or(spare, |p| Arg::Tensor(p.1)),
                Arg::Value(y),
            ],
            workgroups,
            flops: 2 * u64::from(images * patches) * u64::from(width) * u64::from(k),
        },
    )?;
    Ok(y)
}

/// Token rows plus positions for packed texts: `tokens` `[T, 2]` (row of `table`, position), `table` `[U, C]`,
/// `positions` `[context, C]`, f32 -> `[T, C]` stored as `act`. The caller vouches for the indices.
///
/// # Errors
/// Shapes that do not fit.
pub fn token_embed(b: &mut PlanBuilder, name: &str, tokens: &Tensor, table: &Tensor, positions: &Tensor, act: DType) -> Result<Value> {
    const OP: &str = "token_embed";
    expect_dtype(OP, "tokens", tokens.dtype(), DType::U32)?;
    let &[count, 2] = tokens.shape() else { return Err(Error::shape(OP, "tokens", "[T, 2]", format!("{:?}", tokens.shape()))) };
    let (&[_, width], &[_, same]) = (table.shape(), positions.shape()) else {
        return Err(Error::shape(OP, "table", "[U, C]", format!("{:?}", table.shape())));
    };
    if width != same || width % 4 != 0 {
        return Err(Error::shape(OP, "positions", format!("[context, {width}], a multiple of 4"), format!("{:?}", positions.shape())));
    }
    let y = b.value(&[count, width], act)?;
    let count4 = y.shape().elements() / 4;
    let workgroups = fold_threads(b, count4);
    b.dispatch(
        name,
        Dispatch {
            kernel: &token_kernel::KERNEL,
            act,
            weight: DType::F32,
            constants: &[],
            params: token_kernel::Params { count4: count4 as u32, width4: width / 4, ..Default::default() },
            args: &[Arg::Tensor(tokens), Arg::Tensor(table), Arg::Tensor(positions), Arg::Value(y)],
            workgroups,
            flops: y.shape().elements(),
        },
    )?;
    Ok(y)
}
