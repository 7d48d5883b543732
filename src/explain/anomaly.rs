//! How far an image is from normal, and where: AnoCLIP, zero-shot, between the two states of a named thing.

use crate::clip::{Clip, Image, Labels, VisionPath};
use crate::error::{Error, Result};
use crate::explain::explainer::Explainer;
use crate::explain::method::{Maps, Method, Score};
use crate::explain::stream::{LabelMap, Stream, StreamOptions};
use crate::reference::state_scores;
use std::borrow::Cow;

/// AnoCLIP: v-v attention on a second stream through all blocks, softmax over a normal and an abnormal state (see
/// [`crate::clip::States`]), maps that keep their scale.
pub const ANOCLIP: Method = Method {
    name: Cow::Borrowed("anoclip"),
    about: Cow::Borrowed("AnoCLIP: v-v second stream in all blocks, softmax over two states (arXiv 2308.15939)"),
    vision: VisionPath { blocks: u32::MAX, pool: None, ..Method::SURGERY.vision },
    score: Score::States { temperature: 1.0 },
    maps: Maps::Smoothed,
    ..Method::SURGERY
};

/// What was found in an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Anomaly {
    /// Image size, (width, height).
    pub size: [u32; 2],
    /// Patches, (width, height).
    pub grid: [u32; 2],
    /// The largest value of the map: what AnoVL ranks images by, together with `class_score`.
    pub score: f32,
    /// Probability of the abnormal state for the image as a whole: its class token's.
    pub class_score: f32,
    /// Where the map is largest, (x, y), pixels.
    pub peak: [u32; 2],
    /// Probability of the abnormal state, smoothed, at image size, `[H, W]`. On an absolute scale: 0.5 is neither state.
    pub map: Vec<f32>,
}

/// Looks for what is not normal about one kind of thing.
#[derive(Debug)]
pub struct AnomalyDetector {
    explainer: Explainer,
    temperature: f32,
}

impl AnomalyDetector {
    /// For `states` of [`Clip::states`] and [`ANOCLIP`] or a method like it.
    ///
    /// # Errors
    /// Other than two labels, a method that scores no states, or one that means nothing on this model.
    pub fn new(clip: &Clip, states: &Labels, method: &Method) -> Result<AnomalyDetector> {
        let Score::States { temperature } = method.score else {
            let what = "it does not score states; take anoclip, or another score of that kind".into();
            return Err(Error::Method { name: method.name.to_string(), what });
        };
        if states.names().len() != 2 {
            return Err(Error::shape("anomaly", "states", "a normal and an abnormal one", states.names().len()));
        }
        Ok(AnomalyDetector { explainer: Explainer::new(clip, states, method)?, temperature })
    }

    /// The explainer behind it.
    pub fn explainer(&self) -> &Explainer {
        &self.explainer
    }

    /// Looks at one image; `model_size` is what the model sees, (width, height). For many take [`AnomalyDetector::stream`].
    ///
    /// # Errors
    /// A size that does not fit, the device fails, or the result is not finite.
    pub async fn detect(&self, image: &Image<'_>, model_size: [u32; 2]) -> Result<Anomaly> {
        let mut stream = self.stream(model_size, Some(1))?;
        stream.push(image)?;
        let found = stream.next().await?;
        found.map(|(_, found)| found).ok_or_else(|| Error::Input { what: "the image came to no result".into() })
    }

    /// Starts to look at many images, `batch` of them in one run of the model; `None`: as many as are worth while.
    ///
    /// # Errors
    /// A size that does not fit the model or the device.
    pub fn stream(&self, model_size: [u32; 2], batch: Option<u32>) -> Result<AnomalyStream<'_>> {
        let options = StreamOptions { batch, maps: true, overlays: false, ..StreamOptions::new(model_size) };
        Ok(AnomalyStream { stream: self.explainer.stream(options)?, temperature: self.temperature, states: Vec::new() })
    }
}

/// Image after image, with several in flight: see [`Stream`].
#[derive(Debug)]
pub struct AnomalyStream<'a> {
    stream: Stream<'a>,
    temperature: f32,
    /// Of the image that is being read.
    states: Vec<LabelMap>,
}

impl AnomalyStream<'_> {
    /// As [`Stream::has_room`].
    pub fn has_room(&self) -> bool {
        self.stream.has_room()
    }

    /// As [`Stream::push`].
    ///
    /// # Errors
    /// As [`Stream::push`].
    pub fn push(&mut self, image: &Image<'_>) -> Result<u64> {
        self.stream.push(image)
    }

    /// The oldest image's number and result; `None` when all that was pushed is done.
    ///
    /// # Errors
    /// As [`Stream::next`].
    pub async fn next(&mut self) -> Result<Option<(u64, Anomaly)>> {
        loop {
            let Some(piece) = self.stream.next().await? else { return Ok(None) };
            if piece.first == 0 {
                self.states.clear();
            }
            self.states.extend(piece.labels);
            if !piece.last {
                continue;
            }
            let cosines: Vec<f32> = self.states.iter().map(|s| s.score).collect();
            let probabilities = state_scores(&cosines, cosines.len().max(1), self.temperature);
            let (Some(abnormal), [_, class_score]) = (self.states.pop(), probabilities.as_slice()) else {
                return Err(Error::shape("anomaly", "states", "a normal and an abnormal one", cosines.len()));
            };
            let score = abnormal.map.iter().copied().fold(f32::MIN, f32::max);
            let found =
                Anomaly { size: piece.size, grid: piece.grid, score, class_score: *class_score, peak: abnormal.peak, map: abnormal.map };
            return Ok(Some((piece.image, found)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_method_is_sound_and_shares_surgery_s_stream() {
        ANOCLIP.check().unwrap();
        let surgery = Method::SURGERY.vision;
        assert_eq!(ANOCLIP.vision, VisionPath { blocks: u32::MAX, pool: None, ..surgery });
        for temperature in [0.0, f32::NAN, f32::INFINITY] {
            let bad = Method { score: Score::States { temperature }, ..ANOCLIP };
            assert!(bad.check().unwrap_err().to_string().contains("temperature"));
        }
    }
}
