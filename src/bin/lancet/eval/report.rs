//! From records to results: the same records give the same digits, however they were made.

use super::record::{Record, Settings, Task};
use super::rows::knows_labels;
use anyhow::{Result, bail};
use lancet::eval::{Confusion, MapSummary, mean_average_precision, threshold};
use lancet::reference::{feature_surgery_labels, softmax};
use serde::Serialize;
use std::collections::BTreeMap;

/// The whole set, when there is more than one group.
const ALL: &str = "all";
/// CLIP's factor before the softmax over labels (arXiv 2103.00020).
const LOGIT_SCALE: f32 = 100.0;
/// CLIP Surgery's factor in feature surgery.
const SHARPNESS: f32 = 2.0;

/// `result.json`. Shares are 0..1; nothing in it depends on when and where it was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Results {
    pub settings: Settings,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub maps: Vec<MapsRow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub zero_shot: Vec<ZeroShotRow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub multi_label: Vec<MultiLabelRow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub segmentation: Vec<SegmentationRow>,
}

/// Heat maps of one group by one method.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MapsRow {
    pub group: String,
    pub method: String,
    pub images: usize,
    /// (image, label) pairs.
    pub labels: usize,
    /// At the best threshold.
    pub miou: f64,
    pub threshold: f64,
    pub miou_by_threshold: Vec<f64>,
    pub msc: Option<f64>,
    pub pointing: Option<f64>,
    pub argmax: Option<f64>,
    pub average_precision: f64,
}

/// Single objects of one group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ZeroShotRow {
    pub group: String,
    pub images: usize,
    pub top1: f64,
    pub top5: f64,
}

/// Recognition in one group by one score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MultiLabelRow {
    pub group: String,
    pub score: &'static str,
    pub images: usize,
    /// Classes that occur.
    pub classes: usize,
    pub map: f64,
    pub average_precision: BTreeMap<String, f64>,
}

/// Segmentation of the set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SegmentationRow {
    pub group: String,
    pub method: String,
    pub images: usize,
    pub miou: f64,
    pub pixel_accuracy: f64,
    pub mean_accuracy: f64,
    pub iou: BTreeMap<String, f64>,
}

impl Results {
    /// Of a whole evaluation, `records` in any order.
    ///
    /// # Errors
    /// An image is missing, or a record does not fit the settings.
    pub fn of(settings: &Settings, mut records: Vec<Record>) -> Result<Results> {
        records.sort_by_key(|r| r.index);
        if let Some(absent) = (0..settings.images).find(|&i| records.get(i).is_none_or(|r| r.index != i)) {
            bail!("image {absent} of {} has no record", settings.images);
        }
        check(settings, &records)?;
        let mut results =
            Results { settings: settings.clone(), maps: vec![], zero_shot: vec![], multi_label: vec![], segmentation: vec![] };
        for group in groups(&records) {
            let of_group: Vec<&Record> = records.iter().filter(|r| belongs(r, &group)).collect();
            for task in &settings.tasks {
                match task {
                    Task::Maps => results.maps.extend(maps(settings, &group, &of_group)),
                    Task::ZeroShot => results.zero_shot.extend(zero_shot(&group, &of_group)),
                    Task::MultiLabel => results.multi_label.extend(multi_label(settings, &group, &of_group)),
                    Task::Segmentation => results.segmentation.extend(segmentation(settings, &group, &of_group)?),
                }
            }
        }
        Ok(results)
    }
}

/// Records are read from files: nothing in them may be out of range.
fn check(settings: &Settings, records: &[Record]) -> Result<()> {
    let classes = settings.objects().len();
    for record in records {
        let maps = record.maps.is_empty() || record.maps.len() == settings.rows.len();
        let multi_label =
            record.multi_label.as_ref().is_none_or(|m| m.cosines.len() == classes && m.present.iter().all(|&c| usize::from(c) < classes));
        if !maps || !multi_label {
            bail!("the record of image {} ({}) does not fit the settings", record.index, record.id);
        }
    }
    Ok(())
}

/// Groups as they are named; those with a common first part (`unseen:x`, `unseen:y`) together; everything.
fn groups(records: &[Record]) -> Vec<String> {
    let mut named: Vec<String> = Vec::new();
    for record in records {
        if !named.contains(&record.group) {
            named.push(record.group.clone());
        }
    }
    named.sort();
    if named.len() == 1 {
        return named;
    }
    let first_part = |name: &str| name.split_once(':').map(|(first, _)| first.to_owned());
    let mut together: Vec<String> = named.iter().filter_map(|n| first_part(n)).collect();
    together.dedup();
    together.retain(|first| named.iter().filter(|n| first_part(n).as_ref() == Some(first)).count() > 1);
    named.into_iter().chain(together).chain([ALL.to_owned()]).collect()
}

fn belongs(record: &Record, group: &str) -> bool {
    group == ALL || record.group == group || record.group.strip_prefix(group).is_some_and(|rest| rest.starts_with(':'))
}

fn maps(settings: &Settings, group: &str, records: &[&Record]) -> Vec<MapsRow> {
    let with: Vec<&&Record> = records.iter().filter(|r| !r.maps.is_empty()).collect();
    let row = |(at, method): (usize, &String)| {
        let pairs = with.iter().flat_map(|r| r.maps[at].labels.iter().map(|l| &l.counts));
        let all = MapSummary::of(pairs)?;
        let asked = with.iter().filter_map(|r| r.maps[at].argmax).fold([0, 0], |sum, [right, all]| [sum[0] + right, sum[1] + all]);
        let knows = knows_labels(settings, at);
        Some(MapsRow {
            group: group.to_owned(),
            method: method.clone(),
            images: with.len(),
            labels: all.labels,
            miou: all.miou[all.best],
            threshold: threshold(all.best),
            miou_by_threshold: all.miou.to_vec(),
            msc: all.contrast,
            // A flat map has no highest pixel.
            pointing: knows.then_some(all.pointing),
            argmax: (asked[1] > 0).then(|| asked[0] as f64 / asked[1] as f64),
            average_precision: all.average_precision,
        })
    };
    settings.rows.iter().enumerate().filter_map(row).collect()
}

fn zero_shot(group: &str, records: &[&Record]) -> Option<ZeroShotRow> {
    let ranks: Vec<usize> = records.iter().filter_map(|r| Some(r.zero_shot?.rank)).collect();
    let below = |n: usize| ranks.iter().filter(|&&r| r < n).count() as f64 / ranks.len() as f64;
    (!ranks.is_empty()).then(|| ZeroShotRow { group: group.to_owned(), images: ranks.len(), top1: below(1), top5: below(5) })
}

/// The class row's softmax, which is CLIP's way, and its feature surgery over all labels.
fn multi_label(settings: &Settings, group: &str, records: &[&Record]) -> Vec<MultiLabelRow> {
    let labels = settings.objects().len();
    let found: Vec<_> = records.iter().filter_map(|r| r.multi_label.as_ref()).collect();
    let present: Vec<Vec<u16>> = found.iter().map(|f| f.present.clone()).collect();
    let clip = |cosines: &[f32]| softmax(&cosines.iter().map(|c| LOGIT_SCALE * c).collect::<Vec<f32>>(), labels);
    // A table of the class row alone.
    let surgery = |cosines: &[f32]| feature_surgery_labels(cosines, 1, labels, SHARPNESS, true);
    let scores: [(&'static str, Vec<f32>); 2] = [
        ("softmax", found.iter().flat_map(|f| clip(&f.cosines)).collect()),
        ("feature surgery", found.iter().flat_map(|f| surgery(&f.cosines)).collect()),
    ];
    let row = |(score, values): (&'static str, Vec<f32>)| {
        let (each, mean) = mean_average_precision(&values, &present, labels);
        let named = settings.objects().iter().cloned().zip(each);
        let average_precision: BTreeMap<String, f64> = named.filter_map(|(name, ap)| Some((name, ap?))).collect();
        let (images, classes) = (found.len(), average_precision.len());
        Some(MultiLabelRow { group: group.to_owned(), score, images, classes, map: mean?, average_precision })
    };
    scores.into_iter().filter_map(row).collect()
}

fn segmentation(settings: &Settings, group: &str, records: &[&Record]) -> Result<Vec<SegmentationRow>> {
    let with: Vec<&&Record> = records.iter().filter(|r| !r.segmentation.is_empty()).collect();
    let mut rows = Vec::new();
    for (at, method) in settings.segmenters.iter().enumerate() {
        let mut all = Confusion::new(settings.classes.len());
        for record in &with {
            if !record.segmentation.get(at).is_some_and(|cells| all.add(cells)) {
                bail!("the record of image {} ({}) does not fit the settings", record.index, record.id);
            }
        }
        let (Some(miou), Some(pixel_accuracy), Some(mean_accuracy)) = (all.mean_iou(), all.pixel_accuracy(), all.mean_accuracy()) else {
            continue;
        };
        let iou = settings.classes.iter().cloned().zip(all.iou()).filter_map(|(name, iou)| Some((name, iou?))).collect();
        rows.push(SegmentationRow {
            group: group.to_owned(),
            method: method.clone(),
            images: with.len(),
            miou,
            pixel_accuracy,
            mean_accuracy,
            iou,
        });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(index: usize, group: &str) -> Record {
        let id = index.to_string();
        Record { index, id, group: group.into(), maps: vec![], segmentation: vec![], multi_label: None, zero_shot: None }
    }

    #[test]
    fn groups_and_their_unions() {
        let names = |list: &[&str]| groups(&list.iter().enumerate().map(|(i, g)| record(i, g)).collect::<Vec<_>>());
        assert_eq!(names(&["", ""]), [""]);
        assert_eq!(names(&["unseen:a", "train"]), ["train", "unseen:a", "all"]);
        assert_eq!(names(&["unseen:a", "train", "unseen:b"]), ["train", "unseen:a", "unseen:b", "unseen", "all"]);
        assert!(belongs(&record(0, "unseen:a"), "unseen") && !belongs(&record(0, "unseen:a"), "unseen:b"));
        assert!(belongs(&record(0, "train"), "all") && !belongs(&record(0, "train"), "unseen"));
    }
}
