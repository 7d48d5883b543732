//! All rows of the table of maps in one pass of the model: what methods have in common is computed once.

use super::rows::{LabelSet, Row};
use anyhow::{Context, Result};
use lancet::clip::{ClipConfig, VisionConfig};
use lancet::explain::{Comparison, Maps, stretched};
use lancet::reference::feature_surgery_labels;
use lancet::{Clip, Explainer, Image, Labels, Method, Score, Scores};

/// Rows that run.
pub struct Scorers {
    rows: Vec<Scorer>,
    /// Every different method that a row needs, and plain CLIP's class row.
    together: Comparison,
    /// Which of them gives plain CLIP's class row.
    plain: usize,
    /// That one alone.
    alone: Explainer,
}

/// A row, and where in the comparison its scores are.
struct Scorer {
    row: Row,
    at: usize,
    /// Minus the empty text, for images with one present label.
    empty: Option<usize>,
}

impl Scorers {
    pub fn new(clip: &Clip, labels: &Labels, rows: &[Row]) -> Result<Scorers> {
        let mut methods: Vec<Method> = Vec::new();
        let mut need = |method: Method| match methods.iter().position(|known| same(known, &method)) {
            Some(at) => at,
            None => {
                methods.push(method);
                methods.len() - 1
            }
        };
        let place = |row: &Row| match row.set {
            LabelSet::All => Scorer { row: row.clone(), at: need(row.method.clone()), empty: None },
            // Cosines, and the empty text taken out; what surgery takes out is computed from the former per image.
            LabelSet::Present => Scorer {
                row: row.clone(),
                at: need(Method { score: Score::Cosine, ..row.method.clone() }),
                empty: Some(need(Method { score: Score::EmptyText, ..row.method.clone() })),
            },
        };
        let rows: Vec<Scorer> = rows.iter().map(place).collect();
        let plain = match methods.iter().position(|method| has_plain_class_row(method, clip.config())) {
            Some(plain) => plain,
            None => {
                methods.push(Method::CLIP);
                methods.len() - 1
            }
        };
        let alone = Explainer::new(clip, labels, &methods[plain])?;
        let together = alone.compare(&methods)?;
        together.notices().for_each(|notice| eprintln!("note: {notice}"));
        Ok(Scorers { rows, together, plain, alone })
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Scores of a batch by everything that rows need.
    pub fn score(&mut self, images: &[Image<'_>], size: [u32; 2]) -> Result<Vec<Scores>> {
        Ok(pollster::block_on(self.together.score(images, size))?)
    }

    /// Scores of a batch by plain CLIP's class row alone.
    pub fn score_plain(&mut self, images: &[Image<'_>], size: [u32; 2]) -> Result<Vec<Scores>> {
        Ok(vec![pollster::block_on(self.alone.score(images, size))?])
    }

    /// Of the scores of a batch, by either, those with plain CLIP's class row.
    pub fn plain<'a>(&self, scores: &'a [Scores]) -> Result<&'a Scores> {
        scores.get(if scores.len() == 1 { 0 } else { self.plain }).context("no scores of plain CLIP")
    }

    /// Maps of the present classes of an image by each row: grid, maps `[P, N]`, each 0..1, and how they are resized.
    pub fn maps(&self, scores: &[Scores], image: usize, present: &[u16]) -> Vec<([u32; 2], Vec<f32>, Maps)> {
        self.rows.iter().map(|row| (scores[row.at].grid, row.maps(scores, image, present), row.row.method.maps)).collect()
    }
}

impl Scorer {
    fn maps(&self, scores: &[Scores], image: usize, present: &[u16]) -> Vec<f32> {
        let of = |at: usize| present.iter().map(move |&class| scores[at].map(image, usize::from(class)));
        match (self.empty, self.row.method.score, present) {
            (Some(empty), _, [_]) => of(empty).flat_map(stretched).collect(),
            (Some(_), Score::LabelSet { sharpness, weight_minuend }, _) => {
                let columns: Vec<&[f32]> = of(self.at).collect();
                let cosines = class_cosines(&scores[self.at], image);
                let class_row: Vec<f32> = present.iter().map(|&class| cosines[usize::from(class)]).collect();
                present_surgery(&columns, &class_row, sharpness, weight_minuend).iter().flat_map(|map| stretched(map)).collect()
            }
            _ => of(self.at).flat_map(stretched).collect(),
        }
    }
}

/// Feature surgery over some labels alone, two or more: their maps `[N]` and their class row -> maps.
fn present_surgery(columns: &[&[f32]], class_row: &[f32], sharpness: f32, weight_minuend: bool) -> Vec<Vec<f32>> {
    let labels = columns.len();
    let cells = columns.first().map_or(0, |column| column.len());
    let patches = (0..cells).flat_map(|i| columns.iter().map(move |column| column[i]));
    let table: Vec<f32> = class_row.iter().copied().chain(patches).collect();
    let table = feature_surgery_labels(&table, 1, labels, sharpness, weight_minuend).split_off(labels);
    (0..labels).map(|l| table.iter().skip(l).step_by(labels).copied().collect()).collect()
}

/// Cosines of an image's class row with all classes, `[L]`.
pub fn class_cosines(scores: &Scores, image: usize) -> &[f32] {
    &scores.class_cosines[image * scores.labels..][..scores.labels]
}

/// True if two methods have the same scores, whatever they are called and how their maps are drawn.
fn same(a: &Method, b: &Method) -> bool {
    let plain = |m: &Method| Method { name: "".into(), about: "".into(), maps: Maps::Stretched, protocol: None, ..m.clone() };
    plain(a) == plain(b)
}

/// The class row of this method is plain CLIP's.
fn has_plain_class_row(method: &Method, config: &ClipConfig) -> bool {
    let vision = &method.vision;
    let alike = match config.vision {
        VisionConfig::Transformer(_) => vision.ordinary_class_row && vision.activation.is_none() && vision.eps.is_none(),
        VisionConfig::ResNet(_) => vision.pool.is_some_and(|pool| pool.ordinary_class_row),
    };
    method.views.is_none() && method.positions == Method::CLIP.positions && (alike || *vision == Method::CLIP.vision)
}
