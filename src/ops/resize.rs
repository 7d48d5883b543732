//! Resizing: images to the model's input, maps to the image's size.

use crate::error::{Error, Result};
use crate::gpu::builder::{Arg, Dispatch};
use crate::gpu::kernel::kernels::{
    normalize as normalize_kernel, resize_u8 as resize_kernel, stretch_pixels as stretch_kernel, upsample as upsample_kernel,
};
use crate::gpu::{PlanBuilder, Value};
use crate::ops::{expect_dtype, fold, fold_threads};
use crate::reference::{Align, Taps};
use crate::shape::DType;
use std::ops::Range;

/// Packed RGBA8 `[B, H, W]` to `[B, h, w]`, Pillow's antialiased bicubic, exact; an axis that keeps its size is skipped.
/// `to` is (width, height).
///
/// # Errors
/// Shapes that do not fit, or filter tables too large for the device.
pub fn resize_u8(b: &mut PlanBuilder, name: &str, rgba: Value, to: [u32; 2]) -> Result<Value> {
    expect_dtype("resize_u8", "rgba", rgba.dtype(), DType::U32)?;
    let &[images, height, width] = rgba.shape().dims() else { return Err(Error::shape("resize_u8", "rgba", "[B, H, W]", rgba.shape())) };
    let mut x = rgba;
    if to[0] != width {
        let y = b.value(&[images, height, to[0]], DType::U32)?;
        axis(b, &format!("{name}.horizontal"), x, y, [width, to[0]], 1)?;
        x = y;
    }
    if to[1] != height {
        let y = b.value(&[images, to[1], to[0]], DType::U32)?;
        axis(b, &format!("{name}.vertical"), x, y, [height, to[1]], to[0])?;
        x = y;
    }
    Ok(x)
}

fn axis(b: &mut PlanBuilder, name: &str, src: Value, dst: Value, [input, output]: [u32; 2], inner: u32) -> Result<()> {
    let taps = Taps::bicubic(input as usize, output as usize);
    let gpu = b.gpu().clone();
    let first = gpu.upload("lancet.taps.first", &[output], DType::U32, &taps.first)?;
    let weights = gpu.upload("lancet.taps.weights", &[output, taps.size as u32], DType::U32, &taps.weights)?;
    let pixels = dst.shape().elements();
    let outer = pixels / (u64::from(output) * u64::from(inner));
    // Threads, each of eight rows or of eight columns.
    let total = match inner {
        1 => outer.div_ceil(8) * u64::from(output),
        _ => outer * u64::from(output) * u64::from(inner.div_ceil(8)),
    };
    let workgroups = fold_threads(b, total);
    b.dispatch(
        name,
        Dispatch {
            kernel: &resize_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: resize_kernel::Params {
                total: total as u32,
                input,
                output,
                inner,
                outer: outer as u32,
                taps: taps.size as u32,
                ..Default::default()
            },
            args: &[Arg::Value(src), Arg::Tensor(&first), Arg::Tensor(&weights), Arg::Value(dst)],
            workgroups,
            flops: 8 * pixels * taps.size as u64,
        },
    )
}

/// Packed RGBA8 `[B, H, W]` to the model's input `[B, 3, H, W]`, f32: `(x / 255 - mean) / std` per channel.
///
/// # Errors
/// Shapes that do not fit.
pub fn normalize(b: &mut PlanBuilder, name: &str, rgba: Value, mean: [f32; 3], std: [f32; 3]) -> Result<Value> {
    expect_dtype("normalize", "rgba", rgba.dtype(), DType::U32)?;
    let &[images, height, width] = rgba.shape().dims() else { return Err(Error::shape("normalize", "rgba", "[B, H, W]", rgba.shape())) };
    let pixels = b.value(&[images, 3, height, width], DType::F32)?;
    let total = rgba.shape().elements();
    let workgroups = fold_threads(b, total);
    let four = |v: [f32; 3]| [v[0], v[1], v[2], 1.0];
    b.dispatch(
        name,
        Dispatch {
            kernel: &normalize_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: normalize_kernel::Params {
                mean: four(mean),
                deviation: four(std),
                total: total as u32,
                plane: height * width,
                ..Default::default()
            },
            args: &[Arg::Value(rgba), Arg::Value(pixels)],
            workgroups,
            flops: 9 * total,
        },
    )?;
    Ok(pixels)
}

/// Maps `[P, h w]` of a grid `from` (width, height), f32, to `[P, H, W]` of size `to`: bilinear, half-pixel centres, no antialias.
///
/// # Errors
/// Shapes that do not fit.
pub fn upsample(b: &mut PlanBuilder, name: &str, maps: Value, from: [u32; 2], to: [u32; 2]) -> Result<Value> {
    upsample_rows(b, name, maps, from, to, 0..to[1])
}

/// As [`upsample`], of all maps and some rows: `[P, R, W]`, R the length of `rows`.
///
/// # Errors
/// Shapes that do not fit, rows that are not there.
pub fn upsample_rows(b: &mut PlanBuilder, name: &str, maps: Value, from: [u32; 2], to: [u32; 2], rows: Range<u32>) -> Result<Value> {
    let cells = u64::from(from[0]) * u64::from(from[1]);
    if cells == 0 || !maps.shape().elements().is_multiple_of(cells) {
        return Err(Error::shape("upsample", "maps", format!("planes of {}x{}", from[0], from[1]), maps.shape()));
    }
    let planes = (maps.shape().elements() / cells) as u32;
    upsample_part(b, name, maps, from, to, 0..planes, rows)
}

/// As [`upsample`], of some maps and some rows: `[Q, R, W]`, Q the length of `planes`, R that of `rows`.
///
/// # Errors
/// Shapes that do not fit, planes or rows that are not there.
pub fn upsample_part(
    b: &mut PlanBuilder,
    name: &str,
    maps: Value,
    from: [u32; 2],
    to: [u32; 2],
    planes: Range<u32>,
    rows: Range<u32>,
) -> Result<Value> {
    upsample_aligned(b, name, maps, Resize { from, to, align: Align::Centres }, planes, rows)
}

/// From which size to which, (width, height) each, and what both have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resize {
    /// The grid of the maps.
    pub from: [u32; 2],
    /// The size they get.
    pub to: [u32; 2],
    /// Half-pixel centres or corners.
    pub align: Align,
}

impl Align {
    /// As the shaders' override constant has it.
    pub(super) fn constants(self) -> &'static [(&'static str, u32)] {
        match self {
            Align::Centres => &[("CORNERS", 0)],
            Align::Corners => &[("CORNERS", 1)],
        }
    }
}

/// As [`upsample_part`], aligned as told.
///
/// # Errors
/// As [`upsample_part`].
pub fn upsample_aligned(
    b: &mut PlanBuilder,
    name: &str,
    maps: Value,
    resize: Resize,
    planes: Range<u32>,
    rows: Range<u32>,
) -> Result<Value> {
    let Resize { from, to, align } = resize;
    let count = check_planes("upsample", maps, &planes, from)?;
    if rows.is_empty() || rows.end > to[1] {
        return Err(Error::shape("upsample", "rows", format!("some of 0..{}", to[1]), format!("{rows:?}")));
    }
    let y = b.value(&[count, rows.end - rows.start, to[0]], DType::F32)?;
    let total = y.shape().elements();
    let workgroups = fold_threads(b, total);
    b.dispatch(
        name,
        Dispatch {
            kernel: &upsample_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: align.constants(),
            params: upsample_kernel::Params {
                total: total as u32,
                from_width: from[0],
                from_height: from[1],
                to_width: to[0],
                to_height: to[1],
                first: planes.start,
                first_row: rows.start,
                rows: rows.end - rows.start,
            },
            args: &[Arg::Value(maps), Arg::Value(y)],
            workgroups,
            flops: 8 * total,
        },
    )?;
    Ok(y)
}

/// Maps `[P, h w]` of a grid, f32, stretched so that each is 0..1 once it is resized; cells themselves may lie a little beyond.
///
/// # Errors
/// Shapes that do not fit.
pub fn stretch_pixels(b: &mut PlanBuilder, name: &str, maps: Value, resize: Resize) -> Result<Value> {
    let Resize { from, to, align } = resize;
    let cells = from[0] * from[1];
    let planes = (maps.shape().elements() / u64::from(cells.max(1))) as u32;
    let planes = check_planes("stretch_pixels", maps, &(0..planes), from)?;
    if align != Align::Centres || to.contains(&0) {
        return Err(Error::shape("stretch_pixels", "to", "some pixels, half-pixel centres", format!("{to:?}, {align:?}")));
    }
    let y = b.value(maps.shape().dims(), DType::F32)?;
    let workgroups = fold(b, u64::from(planes));
    b.dispatch(
        name,
        Dispatch {
            kernel: &stretch_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: align.constants(),
            params: stretch_kernel::Params {
                maps: planes,
                from_width: from[0],
                from_height: from[1],
                to_width: to[0],
                to_height: to[1],
                ..Default::default()
            },
            args: &[Arg::Value(maps), Arg::Value(y)],
            workgroups,
            flops: 50 * maps.shape().elements(),
        },
    )?;
    Ok(y)
}

/// How many of the `[P, h w]` maps of a grid `from` are meant by `planes`.
pub(super) fn check_planes(op: &'static str, maps: Value, planes: &Range<u32>, from: [u32; 2]) -> Result<u32> {
    expect_dtype(op, "maps", maps.dtype(), DType::F32)?;
    let cells = u64::from(from[0]) * u64::from(from[1]);
    let needed = u64::from(planes.end) * cells;
    if planes.is_empty() || cells == 0 || maps.shape().elements() < needed || !maps.shape().elements().is_multiple_of(cells) {
        return Err(Error::shape(op, "maps", format!("planes of {}x{}, {planes:?} among them", from[0], from[1]), maps.shape()));
    }
    Ok(planes.end - planes.start)
}
