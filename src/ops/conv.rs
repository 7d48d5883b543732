//! Convolutions and pools of CLIP's ResNets. Maps are channels-last, `[B H W, C]`, so that a 1x1 convolution is a
//! [`matmul`](super::matmul()) and the last map is the tokens of the attention pool.

use crate::error::{Error, Result};
use crate::gpu::builder::{Arg, Dispatch};
use crate::gpu::kernel::Kernel;
use crate::gpu::kernel::kernels::{
    avg_pool as pool_kernel, conv_stem as stem_kernel, conv3x3 as kernel, conv3x3_subgroup_50x8 as subgroup_kernel,
    pool_embed as embed_kernel,
};
use crate::gpu::{Caps, PlanBuilder, Tensor, Value};
use crate::ops::choice::{Kernels, able, check, preferred};
use crate::ops::matmul::{SUBGROUP_TILE, tiling};
use crate::ops::{expect_act, expect_dtype, expect_shape, fold_threads};
use crate::reference::Activation;
use crate::shape::DType;

/// A pixel's place in its map is packed into half a word each.
const MAX_SIDE: u32 = 65_535;

/// Channels-last maps of a batch, `[B H W, C]`.
#[derive(Clone, Copy, Debug)]
pub struct Map {
    /// `[B H W, C]`.
    pub value: Value,
    /// B.
    pub images: u32,
    /// (W, H), pixels of the map.
    pub size: [u32; 2],
}

impl Map {
    fn check(&self, op: &'static str) -> Result<()> {
        expect_act(op, "x", self.value)?;
        let [width, height] = self.size;
        let rows = [self.images, width, height].iter().map(|&n| u64::from(n)).product::<u64>();
        if width > MAX_SIDE || height > MAX_SIDE || rows != u64::from(self.value.shape().rows()) {
            let expected = format!("{} maps of {width}x{height}, a side at most {MAX_SIDE}", self.images);
            return Err(Error::shape(op, "x", expected, self.value.shape()));
        }
        Ok(())
    }
}

/// The kernels of [`conv3x3`].
static KERNELS: &Kernels = &[&kernel::KERNEL, &subgroup_kernel::KERNEL];

/// Those that a device can run on maps of C channels to maps of N.
pub fn conv3x3_kernels(caps: &Caps, channels: [u32; 2]) -> impl Iterator<Item = &'static Kernel> {
    able(KERNELS, caps, move |_| fits(channels))
}

/// What the second kernel takes.
fn fits([c, n]: [u32; 2]) -> bool {
    (c | n).is_multiple_of(8)
}

/// `activation(conv3x3(x) + bias)` with stride 1 and a border of one zero pixel; `weight` `[N, 9 C]` (row, column, channel),
/// f32 or f16, `bias` `[N]` f32 -> maps of N channels, stored as x is. C and N multiples of 4.
///
/// # Errors
/// Shapes that do not fit.
pub fn conv3x3(b: &mut PlanBuilder, name: &str, x: Map, weight: &Tensor, bias: &Tensor, activation: Activation) -> Result<Map> {
    let n = weight.shape()[0];
    // With fewer channels more than half of a workgroup would be idle.
    let by = preferred(KERNELS, &b.gpu().caps, |_| fits([x.value.shape().width(), n]) && n > SUBGROUP_TILE[1] / 2);
    conv3x3_by(b, name, x, weight, bias, activation, by)
}

/// As [`conv3x3()`], by one of [`conv3x3_kernels`].
///
/// # Errors
/// As [`conv3x3()`], or a kernel that the device cannot run.
pub fn conv3x3_by(
    b: &mut PlanBuilder,
    name: &str,
    x: Map,
    weight: &Tensor,
    bias: &Tensor,
    activation: Activation,
    by: &'static Kernel,
) -> Result<Map> {
    const OP: &str = "conv3x3";
    x.check(OP)?;
    let (rows, c) = (x.value.shape().rows(), x.value.shape().width());
    let &[n, k] = weight.shape() else { return Err(Error::shape(OP, "weight", "[N, 9 C]", format!("{:?}", weight.shape()))) };
    if k != 9 * c || n % 4 != 0 {
        return Err(Error::shape(OP, "weight", format!("[N, {}] with N a multiple of 4", 9 * c), format!("{:?}", weight.shape())));
    }
    expect_shape(OP, "bias", bias, &[n])?;
    let y = b.value(&[rows, n], x.value.dtype())?;
    check(KERNELS, b, |_| fits([c, n]), by, OP, || format!("{c} to {n} channels"))?;
    let (lanes_n, workgroups) = match *by == kernel::KERNEL {
        true => tiling(rows, n),
        false => (0, [n.div_ceil(SUBGROUP_TILE[1]), rows.div_ceil(SUBGROUP_TILE[0]), 1]),
    };
    b.dispatch(
        name,
        Dispatch {
            kernel: by,
            act: x.value.dtype(),
            weight: weight.dtype(),
            constants: &[],
            params: kernel::Params {
                rows,
                c4: c / 4,
                n4: n / 4,
                map_width: x.size[0],
                map_height: x.size[1],
                activation: activation as u32,
                lanes_n,
                ..Default::default()
            },
            args: &[Arg::Value(x.value), Arg::Tensor(weight), Arg::Tensor(bias), Arg::Value(y)],
            workgroups,
            flops: 2 * u64::from(rows) * u64::from(n) * u64::from(k),
        },
    )?;
    Ok(Map { value: y, ..x })
}

/// `ReLU(conv3x3(pixels) + bias)` with stride 2 and a border of one zero pixel: pixels `[B, 3, H, W]` f32, `weight`
/// `[27, C]` (channel, row, column) and `bias` `[C]`, f32 -> maps of ceil(W / 2) x ceil(H / 2), stored as `act`.
///
/// # Errors
/// Shapes that do not fit.
pub fn conv_stem(b: &mut PlanBuilder, name: &str, pixels: Value, weight: &Tensor, bias: &Tensor, act: DType) -> Result<Map> {
    const OP: &str = "conv_stem";
    expect_dtype(OP, "pixels", pixels.dtype(), DType::F32)?;
    let &[images, 3, height, width] = pixels.shape().dims() else {
        return Err(Error::shape(OP, "pixels", "[B, 3, H, W]", pixels.shape()));
    };
    let &[27, c] = weight.shape() else { return Err(Error::shape(OP, "weight", "[27, C]", format!("{:?}", weight.shape()))) };
    if c % 4 != 0 {
        return Err(Error::shape(OP, "weight", "[27, C] with C a multiple of 4", format!("{:?}", weight.shape())));
    }
    expect_dtype(OP, "weight", weight.dtype(), DType::F32)?;
    expect_shape(OP, "bias", bias, &[c])?;
    let size = [width.div_ceil(2), height.div_ceil(2)];
    let y = b.value(&[images * size[0] * size[1], c], act)?;
    let count = u64::from(y.shape().rows()) * u64::from((c / 4).div_ceil(2));
    let workgroups = fold_threads(b, count);
    b.dispatch(
        name,
        Dispatch {
            kernel: &stem_kernel::KERNEL,
            act,
            weight: DType::F32,
            constants: &[],
            params: stem_kernel::Params { count: count as u32, width4: c / 4, image_width: width, image_height: height },
            args: &[Arg::Value(pixels), Arg::Tensor(weight), Arg::Tensor(bias), Arg::Value(y)],
            workgroups,
            flops: 2 * 27 * y.shape().elements(),
        },
    )?;
    Ok(Map { value: y, images, size })
}

/// Means of 2 x 2 pixels, stored as x is; an odd last row or column is dropped.
///
/// # Errors
/// Shapes that do not fit, a map of one pixel's width or height.
pub fn avg_pool(b: &mut PlanBuilder, name: &str, x: Map) -> Result<Map> {
    const OP: &str = "avg_pool";
    x.check(OP)?;
    let size = x.size.map(|s| s / 2);
    if size.contains(&0) {
        return Err(Error::shape(OP, "x", "maps of two pixels or more each way", format!("{}x{}", x.size[0], x.size[1])));
    }
    let width = x.value.shape().width();
    let y = b.value(&[x.images * size[0] * size[1], width], x.value.dtype())?;
    let count4 = y.shape().elements() / 4;
    let workgroups = fold_threads(b, count4);
    b.dispatch(
        name,
        Dispatch {
            kernel: &pool_kernel::KERNEL,
            act: x.value.dtype(),
            weight: DType::F32,
            constants: &[],
            params: pool_kernel::Params { count4: count4 as u32, width4: width / 4, map_width: x.size[0], map_height: x.size[1] },
            args: &[Arg::Value(x.value), Arg::Value(y)],
            workgroups,
            flops: 4 * y.shape().elements(),
        },
    )?;
    Ok(Map { value: y, images: x.images, size })
}

/// Tokens of an attention pool: the mean of an image's N pixels, then the pixels, plus `positions` `[1 + N, C]` f32
/// -> `[B (1 + N), C]`, stored as x is.
///
/// # Errors
/// Shapes that do not fit.
pub fn pool_embed(b: &mut PlanBuilder, name: &str, x: Map, positions: &Tensor) -> Result<Value> {
    const OP: &str = "pool_embed";
    x.check(OP)?;
    let (width, tokens) = (x.value.shape().width(), 1 + x.size[0] * x.size[1]);
    expect_shape(OP, "positions", positions, &[tokens, width])?;
    expect_dtype(OP, "positions", positions.dtype(), DType::F32)?;
    let y = b.value(&[x.images * tokens, width], x.value.dtype())?;
    let count4 = y.shape().elements() / 4;
    let workgroups = fold_threads(b, count4);
    b.dispatch(
        name,
        Dispatch {
            kernel: &embed_kernel::KERNEL,
            act: x.value.dtype(),
            weight: DType::F32,
            constants: &[],
            params: embed_kernel::Params { count4: count4 as u32, width4: width / 4, tokens, ..Default::default() },
            args: &[Arg::Value(x.value), Arg::Tensor(positions), Arg::Value(y)],
            workgroups,
            flops: 2 * y.shape().elements(),
        },
    )?;
    Ok(y)
}
