//! Colours over images, and textures in and out.

use crate::error::{Error, Result};
use crate::gpu::builder::{Arg, Dispatch};
use crate::gpu::kernel::kernels::{load_texture as load_kernel, overlay_maps as overlay_kernel, overlay_texture as texture_kernel};
use crate::gpu::{PlanBuilder, Value};
use crate::ops::resize::check_planes;
use crate::ops::{expect_dtype, fold_threads};
use crate::reference::Align;
use crate::shape::DType;
use std::ops::Range;

/// Maps `planes` of `[P, h w]` in 0..1, a grid `from` (width, height), as JET colours over their image, packed RGBA8
/// `[1, H, W]` -> packed RGBA8 `[Q, H, W]`, opaque. Resized as [`crate::ops::upsample`] does.
///
/// # Errors
/// Shapes that do not fit, planes that are not there.
pub fn overlay_maps(b: &mut PlanBuilder, name: &str, maps: Value, planes: Range<u32>, from: [u32; 2], image: Value) -> Result<Value> {
    overlay_maps_aligned(b, name, maps, planes, from, image, Align::Centres)
}

/// As [`overlay_maps`], resized as [`crate::ops::upsample_aligned`] does.
///
/// # Errors
/// As [`overlay_maps`].
pub fn overlay_maps_aligned(
    b: &mut PlanBuilder,
    name: &str,
    maps: Value,
    planes: Range<u32>,
    from: [u32; 2],
    image: Value,
    align: Align,
) -> Result<Value> {
    const OP: &str = "overlay_maps";
    expect_dtype(OP, "image", image.dtype(), DType::U32)?;
    let &[1, height, width] = image.shape().dims() else { return Err(Error::shape(OP, "image", "[1, H, W]", image.shape())) };
    let count = check_planes(OP, maps, &planes, from)?;
    let out = b.value(&[count, height, width], DType::U32)?;
    let pixels = image.shape().elements();
    let workgroups = fold_threads(b, pixels);
    b.dispatch(
        name,
        Dispatch {
            kernel: &overlay_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: align.constants(),
            params: overlay_kernel::Params {
                from_width: from[0],
                from_height: from[1],
                width,
                height,
                first: planes.start,
                planes: count,
                ..Default::default()
            },
            args: &[Arg::Value(maps), Arg::Value(image), Arg::Value(out)],
            workgroups,
            flops: 28 * out.shape().elements(),
        },
    )?;
    Ok(out)
}

/// Map `plane` of `[P, H, W]` over its image `[H, W]`, straight into a texture (rgba8unorm, usage `STORAGE_BINDING`, W x H).
///
/// # Errors
/// Sizes that differ.
pub fn overlay_texture(b: &mut PlanBuilder, name: &str, maps: Value, plane: u32, image: Value, target: &wgpu::TextureView) -> Result<()> {
    const OP: &str = "overlay_texture";
    expect_dtype(OP, "maps", maps.dtype(), DType::F32)?;
    let &[planes, height, width] = maps.shape().dims() else { return Err(Error::shape(OP, "maps", "[P, H, W]", maps.shape())) };
    let pixels = u64::from(height) * u64::from(width);
    if plane >= planes || image.shape().elements() != pixels {
        return Err(Error::shape(OP, "image", format!("{width}x{height}, plane {plane} below {planes}"), image.shape()));
    }
    if [target.texture().width(), target.texture().height()] != [width, height] {
        return Err(Error::shape(
            OP,
            "target",
            format!("{width}x{height}"),
            format!("{}x{}", target.texture().width(), target.texture().height()),
        ));
    }
    let workgroups = fold_threads(b, pixels);
    b.dispatch(
        name,
        Dispatch {
            kernel: &texture_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: texture_kernel::Params { width, pixels: pixels as u32, plane, ..Default::default() },
            args: &[Arg::Value(maps), Arg::Value(image), Arg::Target(target)],
            workgroups,
            flops: 20 * pixels,
        },
    )
}

/// The host's textures as packed RGBA8 `[B, H, W]`; declares them as the plan's source. `size` is (width, height).
///
/// # Errors
/// Too large for the device.
pub fn load_texture(b: &mut PlanBuilder, name: &str, images: u32, size: [u32; 2]) -> Result<Value> {
    b.source_textures(images as usize, size)?;
    let pixels = b.state(&[images, size[1], size[0]], DType::U32)?;
    let count = size[0] * size[1];
    for i in 0..images {
        let workgroups = fold_threads(b, u64::from(count));
        b.dispatch(
            name,
            Dispatch {
                kernel: &load_kernel::KERNEL,
                act: DType::F32,
                weight: DType::F32,
                constants: &[],
                params: load_kernel::Params { width: size[0], pixels: count, offset: i * count, ..Default::default() },
                args: &[Arg::SourceTexture(i as usize), Arg::Value(pixels)],
                workgroups,
                flops: 0,
            },
        )?;
    }
    Ok(pixels)
}
