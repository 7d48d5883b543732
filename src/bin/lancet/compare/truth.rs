//! Maps against masks.

use super::draw::map;
use crate::eval::datasets::mask::{self, Lut};
use crate::output::file_label;
use anyhow::{Result, bail};
use image::{RgbaImage, imageops};
use lancet::eval::{IGNORED, MapCounts, MapSummary, UNLABELLED, map_counts, threshold};
use lancet::{Method, Scores};
use std::path::Path;

/// How much of the picture is left outside of a mask that is shown, of 10.
const OUTSIDE: u32 = 2;

/// Where each label is.
#[derive(Debug)]
pub struct Truth {
    /// (width, height), pixels.
    size: [u32; 2],
    /// Classes by pixel, `[H, W]`.
    masks: Vec<Vec<u16>>,
    /// The mask and the class of each label.
    labels: Vec<(usize, u16)>,
}

/// How well a method's maps lie on the masks.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Each label's; nothing for one that is not on the image.
    pub labels: Vec<Option<MapSummary>>,
    /// Means over the labels on the image, each at its own best threshold.
    pub miou: f64,
    /// The largest mean at one threshold for all of them, and that threshold.
    pub miou_one_threshold: [f64; 2],
    /// Mean score contrast; nothing if every label covers everything.
    pub msc: Option<f64>,
}

impl Truth {
    /// A PNG of numbers: `names` of 1, 2 and so on, or else the labels in their order.
    pub fn index(path: &Path, labels: &[String], names: Option<&[Vec<String>]>, size: [u32; 2]) -> Result<Truth> {
        let at = |label: &String| match names {
            None => labels.iter().position(|l| l == label),
            Some(names) => names.iter().position(|all| all.contains(label)),
        };
        let mut classes = Vec::new();
        for label in labels {
            match at(label).filter(|&n| n < 254) {
                Some(number) => classes.push((0, number as u16 + 1)),
                None if names.is_some() => bail!("label \"{label}\" is not among the names of --truth-names; write it as it stands there"),
                None => bail!("label \"{label}\": a mask of numbers has room for 254 labels; give --truth a folder"),
            }
        }
        let known = names.map_or(labels.len(), <[_]>::len) as u8;
        // A name that is listed twice is one class: two objects of a kind.
        let first = |n: u8| {
            let own = |names: &[Vec<String>]| names.iter().position(|all| all.first() == names[usize::from(n) - 1].first());
            names.and_then(own).map_or(u16::from(n), |at| at as u16 + 1)
        };
        let numbers = (1..=known).map(|n| (n, first(n)));
        let lut = Lut::new(numbers.chain([(0, UNLABELLED), (255, IGNORED)]));
        let pixels = mask::index(path, size, &lut).map_err(|e| match names {
            None => e.context(format!("--truth, where 1 to {known} are the labels in their order (see --truth-names)")),
            Some(_) => e.context(format!("--truth, where 1 to {known} are the names of --truth-names")),
        })?;
        if !classes.iter().any(|(_, class)| pixels.contains(class)) {
            bail!("mask {}: none of the labels is on it, so there is nothing to measure", path.display());
        }
        Ok(Truth { size, masks: vec![pixels], labels: classes })
    }

    /// A folder with a mask for each label.
    pub fn folder(path: &Path, labels: &[String], size: [u32; 2]) -> Result<Truth> {
        let lut = Lut::new((0..=255).map(|n| (n, if n == 0 { UNLABELLED } else { 1 })));
        let mut masks = Vec::new();
        for label in labels {
            let file = path.join(format!("{}.png", file_label(label)));
            if !file.is_file() {
                bail!("label \"{label}\" has no mask: {} is not there", file.display());
            }
            masks.push(mask::index(&file, size, &lut)?);
        }
        if !masks.iter().any(|mask| mask.contains(&1)) {
            bail!("masks in {}: all are empty, so there is nothing to measure", path.display());
        }
        Ok(Truth { size, labels: (0..masks.len()).map(|i| (i, 1)).collect(), masks })
    }

    fn mask(&self, label: usize) -> Option<(&[u16], u16)> {
        let &(mask, class) = self.labels.get(label)?;
        Some((self.masks.get(mask)?, class))
    }

    /// Compares all methods' maps with the masks, a few methods at a time: large images take a while, and memory.
    pub fn measure_all(&self, found: &[(&Method, &Scores)]) -> Result<Vec<Measured>> {
        let at_once = std::thread::available_parallelism().map_or(1, usize::from).min(4);
        let mut all = Vec::with_capacity(found.len());
        for few in found.chunks(at_once) {
            let measured: Vec<Result<Measured>> = std::thread::scope(|scope| {
                let running: Vec<_> = few.iter().map(|(method, scores)| scope.spawn(|| self.measure(method, scores))).collect();
                running.into_iter().map(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
            });
            all.extend(measured.into_iter().collect::<Result<Vec<_>>>()?);
        }
        Ok(all)
    }

    /// Compares every label's map with its mask.
    fn measure(&self, method: &Method, scores: &Scores) -> Result<Measured> {
        let counts: Vec<Option<MapCounts>> = (0..self.labels.len())
            .map(|label| {
                let (mask, class) = self.mask(label)?;
                map_counts(&map(method.maps, scores, label, self.size), mask, class)
            })
            .collect();
        let labels: Vec<Option<MapSummary>> = counts.iter().map(|c| MapSummary::of(c.as_slice())).collect();
        let Some(whole) = MapSummary::of(counts.iter().flatten()) else {
            bail!("--truth: none of the labels is on the image, so there is nothing to measure");
        };
        let best: Vec<f64> = labels.iter().flatten().map(|l| l.miou[l.best]).collect();
        Ok(Measured {
            miou: best.iter().sum::<f64>() / best.len().max(1) as f64,
            miou_one_threshold: [whole.miou[whole.best], threshold(whole.best)],
            msc: whole.contrast,
            labels,
        })
    }

    /// The picture, scaled to `tile`, with what is outside of a label's mask faded.
    pub fn shown(&self, label: usize, tile: &RgbaImage) -> Option<RgbaImage> {
        let (mask, class) = self.mask(label)?;
        let inside = mask.iter().map(|&pixel| if pixel == class { 255 } else { 0 }).collect();
        let whole = image::GrayImage::from_raw(self.size[0], self.size[1], inside)?;
        let small = imageops::resize(&whole, tile.width(), tile.height(), imageops::FilterType::Triangle);
        let mut shown = tile.clone();
        for (pixel, share) in shown.pixels_mut().zip(small.pixels()) {
            let inside = u32::from(share.0[0]);
            for channel in &mut pixel.0[..3] {
                let faded = (u32::from(*channel) * OUTSIDE + 255 * (10 - OUTSIDE)) / 10;
                *channel = ((u32::from(*channel) * inside + faded * (255 - inside)) / 255) as u8;
            }
        }
        Some(shown)
    }
}

impl Measured {
    /// For the sheet.
    pub fn note(&self) -> String {
        let contrast = self.msc.map_or(String::new(), |msc| format!("  mSC {:+.1}", 100.0 * msc));
        format!("mIoU {:.1}{contrast}", 100.0 * self.miou)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(patches: Vec<f32>) -> Scores {
        Scores { images: 1, labels: 2, grid: [2, 1], class_cosines: vec![0.0; 2], class_scores: vec![0.0; 2], patches }
    }

    #[test]
    fn each_label_has_its_own_threshold() {
        let truth = Truth { size: [2, 1], masks: vec![vec![1, UNLABELLED], vec![2, 2]], labels: vec![(0, 1), (1, 2)] };
        // The first label's map is right; the second one's finds half of it above 0, at any threshold.
        let found = scores(vec![0.9, 0.1, 0.0, 1.0]);
        let all = truth.measure_all(&[(&Method::CLIP, &found); 6]).unwrap();
        let measured = truth.measure(&Method::CLIP, &found).unwrap();
        assert_eq!(all, vec![measured.clone(); 6]);
        assert_eq!((measured.miou, measured.msc), (0.75, Some(1.0)));
        assert_eq!(measured.miou_one_threshold, [0.75, 0.05]);
        assert_eq!(measured.note(), "mIoU 75.0  mSC +100.0");
    }

    #[test]
    fn labels_that_are_not_there_do_not_count() {
        let truth = Truth { size: [2, 1], masks: vec![vec![1, UNLABELLED]], labels: vec![(0, 1), (0, 2)] };
        let measured = truth.measure(&Method::CLIP, &scores(vec![0.9, 0.1, 0.0, 1.0])).unwrap();
        assert_eq!((measured.miou, measured.labels[1].is_none()), (1.0, true));
        let absent = Truth { labels: vec![(0, 3), (0, 2)], ..truth };
        assert!(absent.measure(&Method::CLIP, &scores(vec![0.0; 4])).is_err());
    }
}
