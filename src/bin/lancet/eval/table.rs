//! Results as text.

use super::report::Results;

fn percent(value: impl Into<Option<f64>>) -> String {
    value.into().map_or("-".into(), |v| format!("{:.1}", 100.0 * v))
}

/// Columns as wide as their widest cell, the first `left` aligned to the left.
fn columns(out: &mut String, left: usize, rows: &[Vec<String>]) {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> =
        (0..count).map(|c| rows.iter().filter_map(|r| r.get(c)).map(|cell| cell.chars().count()).max().unwrap_or(0)).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate();
        let line: Vec<String> =
            cells.map(|(c, (cell, &width))| if c < left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }).collect();
        out.push_str(line.join("  ").trim_end());
        out.push('\n');
    }
}

fn header(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

/// For people. Percent.
pub fn table(results: &Results) -> String {
    let mut out = String::new();
    let whole = |group: &str| if group.is_empty() { "all".to_owned() } else { group.to_owned() };
    if !results.maps.is_empty() {
        let mut rows = vec![header(&["heat maps", "method", "labels", "mIoU", "at", "mSC", "pointing", "argmax", "AP"])];
        rows.extend(results.maps.iter().map(|r| {
            vec![
                whole(&r.group),
                r.method.clone(),
                r.labels.to_string(),
                percent(r.miou),
                format!("{:.2}", r.threshold),
                percent(r.msc),
                percent(r.pointing),
                percent(r.argmax),
                percent(r.average_precision),
            ]
        }));
        columns(&mut out, 2, &rows);
    }
    if !results.segmentation.is_empty() {
        let mut rows = vec![header(&["segmentation", "method", "images", "mIoU", "pixels right", "mean accuracy"])];
        rows.extend(results.segmentation.iter().map(|r| {
            let shares = [r.miou, r.pixel_accuracy, r.mean_accuracy].map(percent);
            [whole(&r.group), r.method.clone(), r.images.to_string()].into_iter().chain(shares).collect()
        }));
        gap(&mut out);
        columns(&mut out, 2, &rows);
    }
    if !results.zero_shot.is_empty() {
        let mut rows = vec![header(&["single objects", "images", "top-1", "top-5"])];
        rows.extend(results.zero_shot.iter().map(|r| vec![whole(&r.group), r.images.to_string(), percent(r.top1), percent(r.top5)]));
        gap(&mut out);
        columns(&mut out, 1, &rows);
    }
    if !results.multi_label.is_empty() {
        let mut rows = vec![header(&["labels of an image", "score", "images", "classes", "mAP"])];
        rows.extend(
            results
                .multi_label
                .iter()
                .map(|r| vec![whole(&r.group), r.score.to_owned(), r.images.to_string(), r.classes.to_string(), percent(r.map)]),
        );
        gap(&mut out);
        columns(&mut out, 2, &rows);
    }
    out
}

fn gap(out: &mut String) {
    if !out.is_empty() {
        out.push('\n');
    }
}
