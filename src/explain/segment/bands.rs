//! From joined scores to classes, a band of rows at a time, names in chunks: memory stays bounded for any image.
//!
//! Rows of a band plus the reach of refinement on either side are computed; only the band is kept. That is exact:
//! what a cut edge does wrong moves inwards by the largest dilation with each iteration, and stays outside the band.

use crate::clip::ClipConfig;
use crate::error::Result;
use crate::explain::segment::{Guide, SegmentOptions};
use crate::gpu::{Gpu, Plan, PlanBuilder, Tensor, Value};
use crate::ops::{self, Winner};
use crate::reference::Windows;
use std::ops::Range;
use std::sync::Arc;

/// Largest buffer that a band asks for, bytes; half of what every WebGPU device binds.
const BAND_BYTES: u64 = 64 << 20;
/// Maps of a chunk of names, bytes.
const CHUNK_BYTES: u64 = 32 << 20;

/// What every band of an image is made from.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// Joined scores of all windows, `[K (1 + N), L]`.
    pub scores: Tensor,
    /// Threshold, and the class of each name, `[1 + L]`.
    pub rules: Tensor,
    /// Patches of a window.
    pub grid: [u32; 2],
    /// Windows on the canvas that scores are stitched to: the input, or the grid itself.
    pub windows: Windows,
    /// The model's input, (width, height).
    pub input: [u32; 2],
    /// The image, (width, height).
    pub size: [u32; 2],
}

/// What a band leaves on the device.
#[derive(Clone, Debug)]
pub(super) struct BandOutputs {
    pub classes: Tensor,
    pub confidence: Tensor,
}

/// The bands of an image: each fits the device with what it needs around it.
pub(super) fn bands(size: [u32; 2], options: &SegmentOptions) -> Vec<Range<u32>> {
    let reach = options.pamr.as_ref().map_or(0, |p| p.reach());
    // Refinement keeps a weight per neighbour, the choice four numbers per pixel, or eight.
    let choice = if options.normalised { 32 } else { 16 };
    let per_pixel = options.pamr.as_ref().map_or(choice, |p| 32 * p.dilations.len() as u64);
    let fit = (BAND_BYTES / (u64::from(size[0]) * per_pixel)).min(u64::from(size[1])) as u32;
    // Below as many rows as it reaches, refinement would spend most of its time outside the band: rather a larger buffer.
    let rows = if fit == size[1] { fit } else { fit.saturating_sub(2 * reach).max(reach).max(1) };
    (0..size[1].div_ceil(rows)).map(|i| i * rows..((i + 1) * rows).min(size[1])).collect()
}

/// The rows that a band needs: its own and those within reach.
pub(super) fn around(band: &Range<u32>, height: u32, options: &SegmentOptions) -> Range<u32> {
    let reach = options.pamr.as_ref().map_or(0, |p| p.reach());
    band.start.saturating_sub(reach)..(band.end + reach).min(height)
}

/// Plans one band. Where refinement looks at colours, the plan's source is packed RGBA8: the rows of [`around`], or the
/// model's input.
///
/// # Errors
/// Too large for the device.
pub(super) fn plan_band(
    gpu: &Arc<Gpu>,
    job: &Job,
    config: &ClipConfig,
    options: &SegmentOptions,
    band: &Range<u32>,
) -> Result<Plan<BandOutputs>> {
    let mut b = PlanBuilder::new(gpu);
    let rows = around(band, job.size[1], options);
    let winner = b.scope("segment", |b| {
        let scores = b.import(&job.scores);
        let labels = scores.shape().width();
        let weights = plan_weights(b, job, config, options, &rows)?;
        let winner = Winner::new(b, 1, (band.end - band.start) * job.size[0], options.normalised)?;
        let skip = (band.start - rows.start) * job.size[0];
        let canvas = job.windows.canvas.map(|s| s as u32);
        let map_bytes = |[w, h]: [u32; 2]| u64::from(w) * u64::from(h) * 4;
        let largest = map_bytes([job.size[0], rows.end - rows.start]).max(map_bytes(canvas));
        let chunk = (CHUNK_BYTES / largest).clamp(1, u64::from(labels)) as u32;
        for first in (0..labels).step_by(chunk as usize) {
            let chosen = first..(first + chunk).min(labels);
            let joined = ops::stitch(b, "stitch", scores, job.grid, &job.windows, chosen)?;
            let mut maps = ops::upsample_rows(b, "upsample", joined, canvas, job.size, rows.clone())?;
            if let (Some(pamr), Some(weights)) = (&options.pamr, weights) {
                for _ in 0..pamr.iterations {
                    maps = ops::pamr(b, "pamr", maps, weights, &pamr.dilations)?;
                }
            }
            ops::segment(b, "segment", maps, first, skip, &job.rules, options.logit_scale, &winner)?;
        }
        Ok(winner)
    })?;
    b.keep(winner.classes);
    b.keep(winner.confidence);
    b.finish(|r| Ok(BandOutputs { classes: r.tensor(winner.classes)?, confidence: r.tensor(winner.confidence)? }))
}

fn plan_weights(b: &mut PlanBuilder, job: &Job, config: &ClipConfig, options: &SegmentOptions, rows: &Range<u32>) -> Result<Option<Value>> {
    let Some(pamr) = &options.pamr else { return Ok(None) };
    let source = match pamr.guide {
        Guide::Image => [1, rows.end - rows.start, job.size[0]],
        Guide::Input => [1, job.input[1], job.input[0]],
    };
    let source = b.source_rgba8(source)?;
    let mut colours = ops::normalize(b, "normalize", source, config.mean, config.std)?;
    if pamr.guide == Guide::Input {
        colours = ops::upsample_rows(b, "upsample", colours, job.input, job.size, rows.clone())?;
    }
    ops::pamr_weights(b, "pamr_weights", colours, &pamr.dilations).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::segment::{Pamr, View};

    fn options(pamr: Option<Pamr>) -> SegmentOptions {
        SegmentOptions {
            view: View::Aspect(224),
            logit_scale: 40.0,
            prob_thd: 0.0,
            area_thd: None,
            pamr,
            through_input: false,
            cluster_vote: None,
            closing: false,
            pad: false,
            class_row: false,
            presence: 0.0,
            normalised: false,
        }
    }

    #[test]
    fn bands_tile_every_image_and_fit() {
        for size in [[1, 1], [640, 480], [4000, 3000], [12_000, 9000], [3, 60_000], [20_000, 3]] {
            for pamr in [None, Some(Pamr::default()), Some(Pamr { iterations: 1, dilations: vec![1], ..Pamr::default() })] {
                let options = options(pamr);
                let all = bands(size, &options);
                assert_eq!((all[0].start, all[all.len() - 1].end), (0, size[1]), "{size:?}");
                assert!(all.windows(2).all(|w| w[0].end == w[1].start) && all.iter().all(|b| !b.is_empty()), "{size:?}");
                let neighbours = options.pamr.as_ref().map_or(0, |p| 8 * p.dilations.len() as u64);
                for band in &all {
                    let rows = around(band, size[1], &options);
                    let bytes = u64::from(rows.end - rows.start) * u64::from(size[0]) * 4 * neighbours.max(4);
                    assert!(size[0] > 4000 || bytes <= 128 << 20, "{size:?}: {bytes} bytes for {band:?} with {rows:?}");
                }
            }
        }
        assert_eq!(bands([640, 480], &options(Some(Pamr::default()))).len(), 1);
    }
    #[test]
    fn a_band_is_what_the_whole_image_says() {
        let (size, height) = ([9usize, 60usize], 60u32);
        let pamr = Pamr { iterations: 3, dilations: vec![1, 4], ..Pamr::default() };
        let values = |seed: usize, count: usize| (0..count).map(|i| ((i * 7919 + seed) % 101) as f32 / 101.0).collect::<Vec<_>>();
        let (image, map) = (values(1, 3 * 540), values(5, 540));
        let refine = |image: &[f32], map: &[f32], size: [usize; 2]| {
            let weights = crate::reference::pamr_weights(image, size, &[1, 4]);
            (0..3).fold(map.to_vec(), |map, _| crate::reference::pamr(&map, &weights, size, &[1, 4]))
        };
        let whole = refine(&image, &map, size);
        let options = options(Some(pamr));
        for band in [0..5u32, 5..31, 31..60] {
            let rows = around(&band, height, &options);
            let cut = |plane: &[f32]| plane[rows.start as usize * 9..rows.end as usize * 9].to_vec();
            let image: Vec<f32> = image.chunks_exact(540).flat_map(cut).collect();
            let part = refine(&image, &cut(&map), [9, (rows.end - rows.start) as usize]);
            let skip = (band.start - rows.start) as usize * 9;
            let kept = &part[skip..skip + (band.end - band.start) as usize * 9];
            assert_eq!(kept, &whole[band.start as usize * 9..band.end as usize * 9], "{band:?}");
        }
    }
}
