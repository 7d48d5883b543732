//! From scores of windows to a class per pixel: joining windows, refining along colours, choosing.

use crate::error::{Error, Result};
use crate::gpu::builder::{Arg, Dispatch};
use crate::gpu::kernel::kernels::{
    pamr as pamr_kernel, pamr_weights as weights_kernel, segment as segment_kernel, stitch as stitch_kernel,
};
use crate::gpu::{PlanBuilder, Tensor, Value};
use crate::ops::{expect_dtype, fold_threads};
use crate::reference::Windows;
use crate::shape::DType;
use std::ops::Range;

/// Scores of windows `[B K (1 + N), L]`, class row first, to maps `[B Q, H, W]` over the canvas for some labels; f32. `grid`
/// is a window's patches, (width, height); all B images have the same K windows.
///
/// # Errors
/// Shapes that do not fit, windows that leave a pixel uncovered.
pub fn stitch(b: &mut PlanBuilder, name: &str, scores: Value, grid: [u32; 2], windows: &Windows, labels: Range<u32>) -> Result<Value> {
    const OP: &str = "stitch";
    expect_dtype(OP, "scores", scores.dtype(), DType::F32)?;
    let (rows, width) = (scores.shape().rows(), scores.shape().width());
    let count = windows.columns.len() * windows.rows.len();
    let tokens = 1 + u64::from(grid[0]) * u64::from(grid[1]);
    if grid.contains(&0) || windows.size.contains(&0) || !u64::from(rows).is_multiple_of(count as u64 * tokens) {
        return Err(Error::shape(OP, "scores", format!("[B x {count} x {tokens}, L]"), scores.shape()));
    }
    if labels.is_empty() || labels.end > width {
        return Err(Error::shape(OP, "labels", format!("some of 0..{width}"), format!("{labels:?}")));
    }
    for (starts, axis) in [(&windows.columns, 0), (&windows.rows, 1)] {
        check_cover(starts, windows.size[axis], windows.canvas[axis])?;
    }
    let starts: Vec<u32> = windows.columns.iter().chain(&windows.rows).map(|&s| s as u32).collect();
    let starts = b.gpu().clone().upload("lancet.windows", &[starts.len() as u32], DType::U32, &starts)?;
    let canvas = windows.canvas.map(|s| s as u32);
    let chosen = labels.end - labels.start;
    let images = (u64::from(rows) / (count as u64 * tokens)) as u32;
    let padded = |axis: usize| (windows.before[axis] + windows.size[axis] + windows.after[axis]) as u32;
    let y = b.value(&[images * chosen, canvas[1], canvas[0]], DType::F32)?;
    let total = y.shape().elements();
    let workgroups = fold_threads(b, total);
    b.dispatch(
        name,
        Dispatch {
            kernel: &stitch_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: stitch_kernel::Params {
                total: total as u32,
                width: canvas[0],
                height: canvas[1],
                window_width: windows.size[0] as u32,
                window_height: windows.size[1] as u32,
                grid_width: grid[0],
                grid_height: grid[1],
                columns: windows.columns.len() as u32,
                rows: windows.rows.len() as u32,
                labels: width,
                first: labels.start,
                count: chosen,
                before_x: windows.before[0] as u32,
                before_y: windows.before[1] as u32,
                padded_width: padded(0),
                padded_height: padded(1),
            },
            args: &[Arg::Value(scores), Arg::Tensor(&starts), Arg::Value(y)],
            workgroups,
            flops: 10 * total,
        },
    )?;
    Ok(y)
}

/// Windows in order, inside the canvas, without a gap.
fn check_cover(starts: &[usize], size: usize, canvas: usize) -> Result<()> {
    let mut covered = 0;
    for &start in starts {
        if start > covered || start + size > canvas {
            covered = 0;
            break;
        }
        covered = start + size;
    }
    if covered == canvas {
        return Ok(());
    }
    Err(Error::shape("stitch", "windows", format!("in order, covering {canvas} pixels"), format!("{size} pixels from {starts:?}")))
}

/// Distances as the shaders take them.
fn four(op: &'static str, dilations: &[u32]) -> Result<[u32; 4]> {
    let mut all = [1; 4];
    // Half of u32 keeps a coordinate plus a distance inside i32.
    if dilations.is_empty() || dilations.len() > 4 || dilations.iter().any(|&d| d == 0 || d > u32::MAX / 4) {
        return Err(Error::shape(op, "dilations", "1 to 4 positive distances", format!("{dilations:?}")));
    }
    all[..dilations.len()].copy_from_slice(dilations);
    Ok(all)
}

/// Weights of pictures' pixels for [`pamr`]: image `[3, H, W]` or `[B, 3, H, W]` f32 -> `[B 8 D, H, W]`; 1 to 4 dilations, pixels.
///
/// # Errors
/// Another shape, or dilations that the kernel does not take.
pub fn pamr_weights(b: &mut PlanBuilder, name: &str, image: Value, dilations: &[u32]) -> Result<Value> {
    const OP: &str = "pamr_weights";
    expect_dtype(OP, "image", image.dtype(), DType::F32)?;
    let (images, height, width) = match *image.shape().dims() {
        [images, 3, height, width] => (images, height, width),
        [3, height, width] => (1, height, width),
        _ => return Err(Error::shape(OP, "image", "[3, H, W] or [B, 3, H, W]", image.shape())),
    };
    let table = four(OP, dilations)?;
    let y = b.value(&[images.saturating_mul(8 * dilations.len() as u32), height, width], DType::F32)?;
    let total = images * height * width;
    let workgroups = fold_threads(b, u64::from(total));
    b.dispatch(
        name,
        Dispatch {
            kernel: &weights_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: weights_kernel::Params { dilations: table, count: dilations.len() as u32, width, height, total },
            args: &[Arg::Value(image), Arg::Value(y)],
            workgroups,
            flops: 30 * y.shape().elements(),
        },
    )?;
    Ok(y)
}

/// One iteration of pixel-adaptive refinement: maps `[B Q, H, W]`, weights `[B 8 D, H, W]` of [`pamr_weights`] with the same
/// dilations -> `[B Q, H, W]`.
///
/// # Errors
/// Shapes that do not fit.
pub fn pamr(b: &mut PlanBuilder, name: &str, maps: Value, weights: Value, dilations: &[u32]) -> Result<Value> {
    const OP: &str = "pamr";
    expect_dtype(OP, "maps", maps.dtype(), DType::F32)?;
    expect_dtype(OP, "weights", weights.dtype(), DType::F32)?;
    let &[count, height, width] = maps.shape().dims() else { return Err(Error::shape(OP, "maps", "[B Q, H, W]", maps.shape())) };
    let table = four(OP, dilations)?;
    let around = 8 * dilations.len() as u32;
    let images = match weights.shape().dims() {
        &[all, h, w] if [h, w] == [height, width] && all.is_multiple_of(around) && count.is_multiple_of(all / around) => all / around,
        _ => return Err(Error::shape(OP, "weights", format!("[B x {around}, {height}, {width}], B dividing {count}"), weights.shape())),
    };
    let y = b.value(&[count, height, width], DType::F32)?;
    let maps_each = count / images;
    let workgroups = fold_threads(b, u64::from(images * maps_each.div_ceil(4)) * u64::from(height) * u64::from(width));
    b.dispatch(
        name,
        Dispatch {
            kernel: &pamr_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: pamr_kernel::Params {
                dilations: table,
                count: dilations.len() as u32,
                width,
                height,
                maps: maps_each,
                images,
                ..Default::default()
            },
            args: &[Arg::Value(maps), Arg::Value(weights), Arg::Value(y)],
            workgroups,
            flops: 16 * dilations.len() as u64 * y.shape().elements(),
        },
    )?;
    Ok(y)
}

/// What [`segment`] goes by, as data of a `[1 + L]` u32 tensor, so that one plan serves several rules: pixels less likely
/// than `threshold` become class 0; `class_of_name` `[L]`; classes that are `removed` do not win.
pub fn segment_rules(class_of_name: &[u32], removed: &[usize], threshold: f32) -> Vec<u32> {
    const REMOVED: u32 = 1 << 31;
    let mark = |&class: &u32| if removed.contains(&(class as usize)) { class | REMOVED } else { class };
    std::iter::once(threshold.to_bits()).chain(class_of_name.iter().map(mark)).collect()
}

/// What [`segment`] fills, chunk of names by chunk.
#[derive(Clone, Copy, Debug)]
pub struct Winner {
    state: Value,
    normalised: bool,
    /// Class of each pixel, `[B, P]`, u32.
    pub classes: Value,
    /// Its probability, `[B, P]`, f32.
    pub confidence: Value,
}

impl Winner {
    /// For B images of P pixels each. `normalised`: confidence is a share of the classes' probabilities, each that of its best name,
    /// so that those of all classes sum to 1; names of a class must then stand beside each other.
    ///
    /// # Errors
    /// Too large for the device.
    pub fn new(b: &mut PlanBuilder, images: u32, pixels: u32, normalised: bool) -> Result<Winner> {
        Ok(Winner {
            state: b.state(&[images, pixels, if normalised { 8 } else { 4 }], DType::F32)?,
            normalised,
            classes: b.state(&[images, pixels], DType::U32)?,
            confidence: b.state(&[images, pixels], DType::F32)?,
        })
    }
}

/// Adds logits `[B Q, H, W]` of names `first .. first + Q`, to be multiplied by `scale`, to the choice; of each plane the
/// pixels from `skip` on. The result stands in `winner` once all names were added, in order and from 0. `rules` are
/// [`segment_rules`].
///
/// # Errors
/// Shapes that do not fit.
#[expect(clippy::too_many_arguments, reason = "the logits with their place among names and pixels, and the rules")]
pub fn segment(
    b: &mut PlanBuilder,
    name: &str,
    logits: Value,
    first: u32,
    skip: u32,
    rules: &Tensor,
    scale: f32,
    winner: &Winner,
) -> Result<()> {
    const OP: &str = "segment";
    expect_dtype(OP, "logits", logits.dtype(), DType::F32)?;
    expect_dtype(OP, "rules", rules.dtype(), DType::U32)?;
    let &[maps, height, width] = logits.shape().dims() else { return Err(Error::shape(OP, "logits", "[B Q, H, W]", logits.shape())) };
    let (images, pixels) = (winner.classes.shape().rows(), winner.classes.shape().width());
    if !maps.is_multiple_of(images) {
        return Err(Error::shape(OP, "logits", format!("[{images} x Q, H, W]"), logits.shape()));
    }
    let count = maps / images;
    let plane = height * width;
    if u64::from(skip) + u64::from(pixels) > u64::from(plane) {
        return Err(Error::shape(OP, "logits", format!("planes of at least {skip} + {pixels} pixels"), logits.shape()));
    }
    let table = rules.shape().iter().product::<u32>();
    if u64::from(first) + u64::from(count) >= u64::from(table) {
        return Err(Error::shape(OP, "rules", format!("a threshold and at least {} names", first + count), table));
    }
    let total = images * pixels;
    let workgroups = fold_threads(b, u64::from(total));
    b.dispatch(
        name,
        Dispatch {
            kernel: &segment_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: segment_kernel::Params { total, pixels, plane, skip, count, first, scale, normalised: winner.normalised.into() },
            args: &[
                Arg::Value(logits),
                Arg::Tensor(rules),
                Arg::Value(winner.state),
                Arg::Value(winner.classes),
                Arg::Value(winner.confidence),
            ],
            workgroups,
            flops: 4 * u64::from(count) * u64::from(total),
        },
    )
}
