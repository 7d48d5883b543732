//! What looks at images: methods with their labels.

use super::datasets::Dataset;
use super::rows::Row;
use super::scorers::Scorers;
use crate::args::embed;
use crate::progress::Stages;
use anyhow::Result;
use lancet::explain::segment::{Classes, SegmentOptions};
use lancet::{Clip, Labels, Segmenter, Templates};

/// What texts become embeddings with.
pub struct Texts<'a> {
    pub clip: &'a Clip,
    pub templates: &'a Templates,
    /// Keep embeddings on disk.
    pub cache: bool,
}

impl Texts<'_> {
    fn embed(&self, names: &[String], stages: &mut Stages) -> Result<Labels> {
        embed(self.clip, names, self.templates, self.cache, stages)
    }

    /// One embedding per class but the background: of its title, or with synonyms the unit mean of its names.
    fn objects(&self, dataset: &Dataset, synonyms: bool, stages: &mut Stages) -> Result<Labels> {
        let objects = &dataset.classes[usize::from(dataset.background.is_some())..];
        let titles: Vec<String> = objects.iter().map(|c| c.title.clone()).collect();
        if !synonyms {
            return self.embed(&titles, stages);
        }
        let all: Vec<String> = objects.iter().flat_map(|c| c.names.iter().cloned()).collect();
        let embedded = self.embed(&all, stages)?;
        let width = embedded.width();
        let mut rows = embedded.embeddings().chunks_exact(width);
        let mut means = Vec::with_capacity(titles.len() * width);
        for class in objects {
            let mut mean = vec![0.0f64; width];
            for row in rows.by_ref().take(class.names.len()) {
                mean.iter_mut().zip(row).for_each(|(sum, &v)| *sum += f64::from(v));
            }
            let length = mean.iter().map(|v| v * v).sum::<f64>().sqrt();
            means.extend(mean.iter().map(|v| (v / length) as f32));
        }
        Ok(Labels::new(titles, means, embedded.empty().to_vec(), width)?)
    }
}

/// Everything that looks at images.
pub struct Models {
    /// The rows of the table of maps.
    pub scorers: Scorers,
    pub segmenters: Vec<Segmenter>,
}

impl Models {
    pub fn new(
        texts: &Texts<'_>,
        dataset: &Dataset,
        rows: &[Row],
        segmenting: &[(Row, SegmentOptions)],
        synonyms: bool,
        stages: &mut Stages,
    ) -> Result<Models> {
        let labels = texts.objects(dataset, synonyms, stages)?;
        let scorers = Scorers::new(texts.clip, &labels, rows)?;
        let mut segmenters = Vec::new();
        if !segmenting.is_empty() {
            let classes = Classes::new(dataset.classes.clone())?;
            let labels = texts.embed(&classes.names(), stages)?;
            for (row, options) in segmenting {
                segmenters.push(Segmenter::new(texts.clip, classes.clone(), &labels, &row.method, options.clone())?);
            }
        }
        Ok(Models { scorers, segmenters })
    }
}
