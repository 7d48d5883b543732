//! From scores and a mask to a record: the part that needs no GPU and runs on several threads.

use super::record::{LabelMaps, MultiLabel, Record, RowMaps, ZeroShot};
use lancet::eval::{Cell, IGNORED, UNLABELLED, argmax_counts, map_counts};
use lancet::explain::{Maps, stretched};
use lancet::reference::upsample;

/// Everything about an image that a record is made of.
pub struct Job {
    pub index: usize,
    pub id: String,
    pub group: String,
    /// The image, (width, height).
    pub size: [u32; 2],
    /// Classes by pixel, `[H, W]`; empty for single objects.
    pub truth: Vec<u16>,
    /// Objects on it, without the background.
    pub present: Vec<u16>,
    /// Per method: grid (width, height), maps of the present classes, `[P, N]`, 0..1, and how they are resized. Empty if maps are
    /// not asked for.
    pub maps: Vec<([u32; 2], Vec<f32>, Maps)>,
    pub segmentation: Vec<Vec<Cell>>,
    pub multi_label: Option<MultiLabel>,
    pub zero_shot: Option<ZeroShot>,
}

/// Classes of a mask in order, without the background.
pub fn present(truth: &[u16], background: Option<u16>) -> Vec<u16> {
    let mut seen: Vec<u16> = truth.chunk_by(|a, b| a == b).map(|run| run[0]).collect();
    seen.sort_unstable();
    seen.dedup();
    seen.retain(|&class| ![UNLABELLED, IGNORED].contains(&class) && Some(class) != background);
    seen
}

/// Measures everything.
pub fn record(job: Job) -> Record {
    let maps = if job.maps.is_empty() || job.present.is_empty() { Vec::new() } else { maps(&job) };
    Record {
        index: job.index,
        id: job.id,
        group: job.group,
        maps,
        segmentation: job.segmentation,
        multi_label: job.multi_label,
        zero_shot: job.zero_shot,
    }
}

/// The rows in order: baselines, then methods.
fn maps(job: &Job) -> Vec<RowMaps> {
    let objects = job.truth.iter().map(|c| if job.present.contains(c) { 1.0 } else { 0.0 }).collect();
    let baselines: [Vec<f32>; 2] = [vec![1.0; job.truth.len()], objects];
    let blind = baselines.iter().map(|map| {
        let labels = job.present.iter().filter_map(|&class| Some(LabelMaps { class, counts: map_counts(map, &job.truth, class)? }));
        RowMaps { labels: labels.collect(), argmax: None }
    });
    let methods = job.maps.iter().map(|(grid, maps, how)| {
        let mut large = upsample(maps, job.present.len(), grid.map(|s| s as usize), job.size.map(|s| s as usize));
        if *how == Maps::Resized {
            large = large.chunks_exact(job.truth.len()).flat_map(stretched).collect();
        }
        let each = job.present.iter().zip(large.chunks_exact(job.truth.len()));
        let labels = each.filter_map(|(&class, map)| Some(LabelMaps { class, counts: map_counts(map, &job.truth, class)? }));
        // With one label there is nothing to choose between.
        let argmax = (job.present.len() > 1).then(|| argmax_counts(&large, &job.present, &job.truth));
        RowMaps { labels: labels.collect(), argmax }
    });
    blind.chain(methods).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn baselines_and_a_perfect_map() {
        let truth = vec![0, 0, 4, UNLABELLED, 2, IGNORED];
        assert_eq!(present(&truth, Some(0)), [2, 4]);
        let perfect: Vec<f32> = [2, 4].iter().flat_map(|c| truth.iter().map(move |t| f32::from(t == c))).collect();
        let job = Job {
            index: 3,
            id: "x".into(),
            group: String::new(),
            size: [3, 2],
            present: present(&truth, Some(0)),
            truth,
            maps: vec![([3, 2], perfect, Maps::Stretched)],
            segmentation: Vec::new(),
            multi_label: None,
            zero_shot: None,
        };
        let rows = record(job).maps;
        let iou = |row: usize, label: usize| {
            let counts = &rows[row].labels[label].counts;
            (counts.intersection[9], counts.union[9])
        };
        assert_eq!([iou(0, 0), iou(1, 0), iou(2, 0)], [(1, 5), (1, 2), (1, 1)]);
        assert_eq!((rows[0].argmax, rows[2].argmax), (None, Some([2, 2])));
        assert_eq!((rows[2].labels[1].class, rows[2].labels[1].counts.hit), (4, true));
    }
}
