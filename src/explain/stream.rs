//! Explaining many images: a stream with several of them in flight, and what comes out of it.

use crate::clip::Image;
use crate::error::Result;
use crate::explain::explainer::Explainer;
use crate::explain::frame::Wanted;
use crate::explain::pipeline::{Drawn, Pipeline, Setup};
use crate::gpu::{BusyClock, Memory};
use std::time::Duration;

/// One label's result.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelMap {
    /// The label.
    pub label: String,
    /// Cosine of the class row of the method's features with the label. For CLIP, and for CLIP Surgery on a ViT, that row is
    /// plain CLIP's class embedding.
    pub score: f32,
    /// Where the map is largest, (x, y), pixels.
    pub peak: [u32; 2],
    /// Method's score at the strongest patch, before the map was stretched to 0..1.
    pub peak_score: f32,
    /// The map at image size, `[H, W]`, 0..1. Empty if a stream was not asked for it.
    pub map: Vec<f32>,
    /// The map over the image, RGBA, opaque, `[H, W, 4]`. Empty if a stream was not asked for it.
    pub overlay: Vec<u8>,
}

/// One image's result.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Image size, (width, height).
    pub size: [u32; 2],
    /// Patches, (width, height).
    pub grid: [u32; 2],
    /// One per label, in order.
    pub labels: Vec<LabelMap>,
}

/// Some labels of one image of a [`Stream`].
#[derive(Clone, Debug)]
pub struct Piece {
    /// Which image: what [`Stream::push`] returned for it.
    pub image: u64,
    /// Image size, (width, height).
    pub size: [u32; 2],
    /// Patches, (width, height).
    pub grid: [u32; 2],
    /// Place of the first of `labels` in the explainer's list.
    pub first: usize,
    /// Results, in order.
    pub labels: Vec<LabelMap>,
    /// True if the image is complete with this piece.
    pub last: bool,
}

/// How a [`Stream`] works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// What the model sees, (width, height), pixels.
    pub model_size: [u32; 2],
    /// Images scored in one run of the model, B; they may differ in size. `None`: as many as the model makes worth while.
    pub batch: Option<u32>,
    /// Pieces, of some 8 MiB each, that the device may be ahead of the reader. Two are enough to keep it busy while one is read.
    pub in_flight: u32,
    /// Read the maps back.
    pub maps: bool,
    /// Read the overlays back.
    pub overlays: bool,
}

impl StreamOptions {
    /// Overlays only, the batch chosen, four pieces in flight.
    pub fn new(model_size: [u32; 2]) -> StreamOptions {
        StreamOptions { model_size, batch: None, in_flight: 4, maps: false, overlays: true }
    }
}

/// How busy a stream kept its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceTime {
    /// Time in which the device worked on what the stream submitted and has handed out; overlaps count once.
    pub busy: Duration,
    /// What measured it.
    pub clock: BusyClock,
}

/// Explains image after image without waiting between them: the device works on some while the caller reads those before
/// and decodes those behind. Results come in the order of the images, and are those of [`Explainer::explain`] to the last bit.
///
/// ```no_run
/// # use lancet::{Explainer, Image, explain::StreamOptions};
/// # async fn run(explainer: &Explainer, frames: &mut dyn Iterator<Item = ([u32; 2], Vec<u8>)>) -> lancet::Result<()> {
/// let mut stream = explainer.stream(StreamOptions::new([224, 224]))?;
/// loop {
///     // Fill up, then take one piece: the device always has the next work queued.
///     while stream.has_room() && let Some((size, rgba)) = frames.next() {
///         stream.push(&Image::new(size, &rgba)?)?;
///     }
///     let Some(piece) = stream.next().await? else { break };
///     for label in piece.labels {
///         println!("image {}: {} at {:?}", piece.image, label.label, label.peak);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Stream<'a> {
    explainer: &'a Explainer,
    pipeline: Pipeline,
}

impl<'a> Stream<'a> {
    pub(super) fn new(explainer: &'a Explainer, options: StreamOptions) -> Result<Stream<'a>> {
        let batch = options.batch.unwrap_or_else(|| worth_while(explainer, options.model_size));
        let wanted = Wanted { maps: options.maps, overlays: options.overlays };
        let setup = Setup { model_size: options.model_size, batch, in_flight: options.in_flight, wanted };
        Ok(Stream { explainer, pipeline: Pipeline::new(explainer, setup)? })
    }

    /// True if [`Stream::push`] takes another image now. False while two batches are on their way: take results then.
    pub fn has_room(&self) -> bool {
        self.pipeline.has_room()
    }

    /// Uploads an image and submits what can be submitted; waits for nothing. Returns its number, counted from 0.
    ///
    /// # Errors
    /// No room, a picture that does not fit the device, or the device fails. Images pushed before are not affected by the
    /// first two.
    pub fn push(&mut self, image: &Image<'_>) -> Result<u64> {
        self.pipeline.push(self.explainer, image)
    }

    /// The next piece of the oldest image; natively waits until it is drawn. `None` when all that was pushed is done.
    ///
    /// # Errors
    /// [`crate::Error::ResultNotFinite`] concerns the oldest image that is not complete: the stream drops it and goes on with the
    /// next one. After any other error the stream is of no use.
    pub async fn next(&mut self) -> Result<Option<Piece>> {
        let names = self.explainer.labels().names();
        let piece = |drawn: Drawn<'_>| {
            let range = drawn.labels.start as usize..drawn.labels.end as usize;
            let each = |bytes: usize| bytes / range.len().max(1);
            let (overlay, map) = (each(drawn.overlays.len()), each(drawn.maps.len()));
            let labels = range.clone().zip(drawn.numbers).enumerate().map(|(i, (l, numbers))| LabelMap {
                label: names[l].clone(),
                score: numbers.score,
                peak: numbers.peak,
                peak_score: numbers.peak_score,
                map: bytemuck::pod_collect_to_vec(&drawn.maps[i * map..(i + 1) * map]),
                overlay: drawn.overlays[i * overlay..(i + 1) * overlay].to_vec(),
            });
            let labels = labels.collect();
            Piece { image: drawn.image, size: drawn.size, grid: drawn.grid, first: range.start, labels, last: drawn.last }
        };
        self.pipeline.next(self.explainer, piece).await
    }

    /// How long the device worked on everything that was handed out.
    pub fn device_time(&self) -> DeviceTime {
        DeviceTime { busy: self.pipeline.busy().total(), clock: self.pipeline.busy().clock() }
    }

    /// Images scored in one run of the model.
    pub fn batch(&self) -> u32 {
        self.pipeline.setup().batch
    }

    /// Bytes that the stream's plans hold on the device.
    pub fn memory(&self) -> Memory {
        self.pipeline.memory()
    }

    pub(super) fn resume(explainer: &'a Explainer, pipeline: Pipeline) -> Stream<'a> {
        Stream { explainer, pipeline }
    }

    pub(super) fn into_pipeline(self) -> Pipeline {
        self.pipeline
    }
}

/// As many images as give a GPU some thousand rows to work on at once; small models need more of them.
fn worth_while(explainer: &Explainer, model_size: [u32; 2]) -> u32 {
    const ROWS: u64 = 1024;
    let [columns, rows] = explainer.clip().config().grid(model_size).map(u64::from);
    (ROWS / (1 + columns * rows)).clamp(1, 8) as u32
}
