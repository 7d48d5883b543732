//! Rows of the table of maps: methods, and which labels their feature surgery sees.

use super::record::Settings;
use crate::args;
use anyhow::{Context, Result, bail};
use lancet::explain::stretched;
use lancet::reference::{feature_surgery_labels, feature_surgery_reference};
use lancet::{Clip, Explainer, Image, Labels, Method, Score, Scores};
use std::borrow::Cow;

/// Maps that know nothing: for comparison.
pub const BASELINES: [&str; 2] = ["whole image", "all objects"];

/// The set of labels for feature surgery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LabelSet {
    /// All classes of the data set
    All,
    /// Those on the image: an oracle
    Present,
}

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub name: String,
    pub method: Method,
    /// The number of last blocks that was asked for with `@`.
    pub last: Option<u32>,
    pub set: LabelSet,
}

/// Rows for methods and label sets; a method without feature surgery over labels has one row.
pub fn rows(methods: &[String], sets: &[LabelSet]) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for name in methods {
        let (method, last) = method(name)?;
        let sets = if matches!(method.score, Score::LabelSet { .. }) { sets } else { &[LabelSet::All] };
        for &set in sets {
            let name = if set == LabelSet::Present { format!("{}, present labels", method.name) } else { method.name.to_string() };
            if rows.iter().any(|r| r.name == name) {
                bail!("method {name} is given twice");
            }
            rows.push(Row { name, method: method.clone(), last, set });
        }
    }
    Ok(rows)
}

/// A preset or a file, or `NAME@K`: the same on the last K blocks.
fn method(name: &str) -> Result<(Method, Option<u32>)> {
    let Some((preset, blocks)) = name.rsplit_once('@').filter(|_| !args::is_method_file(name)) else {
        return Ok((args::method(name)?, None));
    };
    let mut method = args::method(preset)?;
    let blocks: Option<u32> = blocks.parse().ok().filter(|b| (1..=1000).contains(b));
    method.vision.blocks = blocks.with_context(|| format!("method {name}: expected a number of blocks behind @, e.g. surgery@4"))?;
    method.name = Cow::Owned(format!("{}@{}", method.name, method.vision.blocks));
    method.check()?;
    Ok((method, blocks))
}

/// A row that runs.
pub struct Scorer {
    row: Row,
    explainer: Explainer,
    classes: usize,
}

impl Scorer {
    pub fn new(clip: &Clip, labels: &Labels, row: Row) -> Result<Scorer> {
        let classes = labels.names().len();
        let layers = clip.config().vision.layers();
        if row.last.is_some_and(|last| last > layers) {
            bail!("method {}: the model has {layers} blocks", row.name);
        }
        let explainer = match row.set {
            LabelSet::All => Explainer::new(clip, labels, &row.method)?,
            // Cosines of everything and of the empty text; what surgery takes out is computed from those per image.
            LabelSet::Present => {
                let names = labels.names().iter().cloned().chain([String::new()]).collect();
                let rows = [labels.embeddings(), labels.empty()].concat();
                let with_empty = Labels::new(names, rows, labels.empty().to_vec(), labels.width())?;
                Explainer::new(clip, &with_empty, &Method { score: Score::Cosine, ..row.method.clone() })?
            }
        };
        if let Some(notice) = explainer.notice() {
            eprintln!("note: {notice}");
        }
        Ok(Scorer { row, explainer, classes })
    }

    /// The class row of this method is plain CLIP's.
    pub fn has_plain_class_row(&self) -> bool {
        let vision = &self.row.method.vision;
        *vision == Method::CLIP.vision || vision.ordinary_class_row
    }

    /// Scores of a batch.
    pub fn score(&mut self, images: &[Image<'_>], size: [u32; 2]) -> Result<Scores> {
        Ok(pollster::block_on(self.explainer.score(images, size))?)
    }

    /// Cosines of an image's class row with all classes, `[L]`.
    pub fn class_cosines<'a>(&self, scores: &'a Scores, image: usize) -> &'a [f32] {
        &scores.class_cosines[image * scores.labels..][..self.classes]
    }

    /// Maps of the present classes of an image, `[P, N]`, each 0..1.
    pub fn maps(&self, scores: &Scores, image: usize, present: &[u16]) -> Vec<f32> {
        match (self.row.set, self.row.method.score) {
            (LabelSet::Present, Score::LabelSet { sharpness, weight_minuend }) => {
                let maps = self.present_surgery(scores, image, present, sharpness, weight_minuend);
                maps.iter().flat_map(|map| stretched(map)).collect()
            }
            _ => present.iter().flat_map(|&class| stretched(scores.map(image, usize::from(class)))).collect(),
        }
    }

    /// Feature surgery over the present classes alone; of one class the empty text is taken out, as [`Explainer`] does.
    fn present_surgery(&self, scores: &Scores, image: usize, present: &[u16], sharpness: f32, weight_minuend: bool) -> Vec<Vec<f32>> {
        let class_row = self.class_cosines(scores, image);
        let columns: Vec<&[f32]> = present.iter().map(|&c| scores.map(image, usize::from(c))).collect();
        let empty = scores.map(image, self.classes);
        let n = scores.cells();
        let labels = present.len();
        let table = match labels {
            1 => {
                let pairs: Vec<f32> = columns[0].iter().zip(empty).flat_map(|(&c, &e)| [c, e]).collect();
                feature_surgery_reference(&pairs, n, 1)
            }
            _ => {
                let class_row = present.iter().map(|&c| class_row[usize::from(c)]);
                let patches = (0..n).flat_map(|i| columns.iter().map(move |column| column[i]));
                let table: Vec<f32> = class_row.chain(patches).collect();
                feature_surgery_labels(&table, 1, labels, sharpness, weight_minuend).split_off(labels)
            }
        };
        (0..labels).map(|l| table.iter().skip(l).step_by(labels).copied().collect()).collect()
    }
}

/// Names of all rows, for the settings.
pub fn names(rows: &[Row]) -> Vec<String> {
    BASELINES.iter().map(|&b| b.to_owned()).chain(rows.iter().map(|r| r.name.clone())).collect()
}

/// True if row `at` knows labels apart.
pub fn knows_labels(settings: &Settings, at: usize) -> bool {
    !BASELINES.contains(&settings.rows[at].as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_and_label_sets() {
        let given = ["clip", "surgery@4"].map(String::from);
        let rows = rows(&given, &[LabelSet::All, LabelSet::Present]).unwrap();
        assert_eq!(rows.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["clip", "surgery@4", "surgery@4, present labels"]);
        assert_eq!(rows[1].method.vision.blocks, 4);
        for bad in ["surgery@", "surgery@0", "surgery@x", "nothing@3"] {
            assert!(method(bad).is_err(), "{bad}");
        }
        assert!(super::rows(&["clip".into(), "clip".into()], &[LabelSet::All]).unwrap_err().to_string().contains("twice"));
    }
}
