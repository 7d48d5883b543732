//! The segmenter: a model, classes and a method, image after image.

use crate::clip::model::check_finite;
use crate::clip::{Clip, Image, Labels};
use crate::error::{Error, Result};
use crate::explain::explainer::Explainer;
use crate::explain::method::Method;
use crate::explain::segment::bands::{BandOutputs, Job, around, bands, plan_band};
use crate::explain::segment::closing::closing;
use crate::explain::segment::scoring::WindowOutputs;
use crate::explain::segment::view::Layout;
use crate::explain::segment::{Classes, Guide, SegmentOptions, Segmentation, View, too_small};
use crate::gpu::{Plan, Source, Tensor};
use crate::ops::segment_rules;
use crate::reference::Windows;
use crate::shape::{DType, Shape};
use std::ops::Range;

/// Tokens in one run of the vision tower, about: windows go through it several at a time.
const BATCH_TOKENS: u32 = 4096;

/// Gives every pixel of an image a class.
///
/// ```no_run
/// # use lancet::explain::segment::{Classes, SegmentOptions, Segmenter};
/// # use lancet::{Clip, Image, Method, Templates};
/// # async fn run(clip: &Clip, image: &Image<'_>) -> lancet::Result<()> {
/// let classes = Classes::parse("background = sky, wall, grass\nperson, man, woman\ndog")?;
/// let labels = clip.labels(&classes.names(), &Templates::ensemble()).await?;
/// let options = SegmentOptions::new(clip.config());
/// let mut segmenter = Segmenter::new(clip, classes, &labels, &Method::SURGERY_ARCHITECTURE, options)?;
/// let found = segmenter.segment(image).await?;
/// println!("{} pixels of dog", found.areas[2]);
/// # Ok(())
/// # }
/// ```
///
/// Plans and buffers are kept for the next image of the same size. Maps go through in bands of rows of
/// at most 64 MiB a buffer (more for refined images wider than some 4,000 pixels) and in chunks of names of 32 MiB.
#[derive(Debug)]
pub struct Segmenter {
    pub(super) explainer: Explainer,
    pub(super) clip: Clip,
    classes: Classes,
    pub(super) options: SegmentOptions,
    rules: Tensor,
    prepared: Option<Prepared>,
}

/// Everything for images of one size.
#[derive(Debug)]
pub(super) struct Prepared {
    size: [u32; 2],
    pub layout: Layout,
    /// For `batch` windows at a time.
    pub scoring: Plan<WindowOutputs>,
    pub batch: usize,
    pub source: wgpu::Buffer,
    pub job: Job,
    bands: Vec<Range<u32>>,
    /// Kept if there is but one band.
    whole: Option<Plan<BandOutputs>>,
    /// Colours for refinement.
    guide: Option<wgpu::Buffer>,
}

impl Segmenter {
    /// Binds classes to a model; `labels` are the embeddings of [`Classes::names`], in that order.
    ///
    /// # Errors
    /// Labels that are not the names, options that mean nothing, a threshold without a background to fall back to.
    pub fn new(clip: &Clip, classes: Classes, labels: &Labels, method: &Method, options: SegmentOptions) -> Result<Segmenter> {
        options.check()?;
        if labels.names() != classes.names() {
            return Err(Error::shape(
                "segment",
                "labels",
                format!("the {} names of the classes", classes.names().len()),
                format!("{} others", labels.names().len()),
            ));
        }
        if options.prob_thd > 0.0 && !classes.has_background() {
            return Err(Error::Input {
                what: "a probability threshold needs a background as the first class, for the pixels below it".into(),
            });
        }
        if options.area_thd.is_some() && !classes.has_background() {
            return Err(Error::Input { what: "the area rule needs a background as the first class, which it spares".into() });
        }
        let explainer = Explainer::new(clip, labels, method)?;
        let table = segment_rules(&classes.class_of_name(), &[], options.prob_thd);
        let rules = clip.gpu().upload("lancet.rules", &[table.len() as u32], DType::U32, &table)?;
        Ok(Segmenter { explainer, clip: clip.clone(), classes, options, rules, prepared: None })
    }

    /// The classes; results hold indices into them.
    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// The method in effect.
    pub fn method(&self) -> &Method {
        self.explainer.method()
    }

    /// What was changed about the method, in words for the user.
    pub fn notice(&self) -> Option<&str> {
        self.explainer.notice()
    }

    /// How scores become classes.
    pub fn options(&self) -> &SegmentOptions {
        &self.options
    }

    /// Segments one image. Submits and waits.
    ///
    /// # Errors
    /// A size that does not fit the model or the device, the device fails, or the result is not finite.
    pub async fn segment(&mut self, image: &Image<'_>) -> Result<Segmentation> {
        // Old buffers go before new ones come.
        let kept = self.prepared.take().filter(|p| p.size == image.size());
        let mut prepared = match kept {
            Some(prepared) => prepared,
            None => self.prepare(image.size())?,
        };
        let pixels = self.options.view.pixels(image, &prepared.layout);
        self.score(&mut prepared, &pixels)?;
        self.rescore(&prepared.job).await?;
        let mut removed = Vec::new();
        if let Some(share) = self.options.area_thd {
            // The rule counts what wins, whatever the threshold says of it.
            let (classes, _) = self.choose(&mut prepared, image, &pixels, &[], 0.0).await?;
            let mut areas = vec![0; self.classes.list().len()];
            classes.iter().for_each(|&class| areas[class as usize] += 1);
            removed = too_small(&areas, share);
        }
        let (classes, confidence) = self.choose(&mut prepared, image, &pixels, &removed, self.options.prob_thd).await?;
        let mut classes: Vec<u16> = classes.into_iter().map(|class| class as u16).collect();
        self.vote(&prepared, image.size(), &mut classes).await?;
        if self.options.closing {
            closing(&mut classes, image.size());
        }
        let (layout, grid) = (&prepared.layout, prepared.job.grid);
        let windows = layout.windows.columns.len() * layout.windows.rows.len();
        let found = self.summarize(image.size(), (classes, confidence), (grid, layout.input, windows))?;
        self.prepared = Some(prepared);
        Ok(found)
    }

    fn prepare(&self, size: [u32; 2]) -> Result<Prepared> {
        let gpu = self.clip.gpu();
        let layout = self.options.view.layout(size, self.clip.config(), self.options.pad);
        let [columns, rows] = self.clip.config().grid(layout.model);
        let tokens = 1 + u64::from(columns) * u64::from(rows);
        let windows = layout.windows.columns.len() as u64 * layout.windows.rows.len() as u64;
        let too_many = || Error::Input { what: format!("{windows} windows of {tokens} tokens are too many; use a larger stride") };
        let all_rows = u32::try_from(windows * tokens).map_err(|_| too_many())?;
        let windows = u32::try_from(windows).map_err(|_| too_many())?;
        let most = (u64::from(BATCH_TOKENS) / tokens).clamp(1, u64::from(windows)) as u32;
        // Batches of one size, as full as can be.
        let batch = windows.div_ceil(windows.div_ceil(most));
        let (scoring, source) = self.plan_windows(&layout, batch)?;
        let grid = scoring.outputs().scores.grid;
        let shape = Shape::new(&[all_rows, self.rules.shape()[0] - 1])?;
        let scores = Tensor::new(gpu.buffer("the windows' scores", shape.elements() * 4)?, shape, DType::F32);
        let straight = !matches!(self.options.view, View::Windows { .. }) && !self.options.through_input;
        let job = Job {
            scores,
            rules: self.rules.clone(),
            grid,
            windows: if straight { one_window(grid) } else { layout.windows.clone() },
            input: layout.input,
            size,
        };
        let bands = bands(size, &self.options);
        let whole = match bands.as_slice() {
            [band] => Some(plan_band(gpu, &job, self.clip.config(), &self.options, band)?),
            _ => None,
        };
        let guide = match &self.options.pamr {
            None => None,
            Some(pamr) => {
                let pixels = match pamr.guide {
                    Guide::Input => u64::from(layout.input[0]) * u64::from(layout.input[1]),
                    Guide::Image => {
                        let rows = bands.iter().map(|b| around(b, size[1], &self.options)).map(|r| r.end - r.start).max();
                        u64::from(rows.unwrap_or(0)) * u64::from(size[0])
                    }
                };
                Some(gpu.buffer("colours for refinement", pixels * 4)?)
            }
        };
        Ok(Prepared { size, layout, scoring, batch: batch as usize, source, job, bands, whole, guide })
    }

    /// Class and confidence of every pixel, with some classes out of the race.
    async fn choose(
        &self,
        p: &mut Prepared,
        image: &Image<'_>,
        pixels: &[u8],
        removed: &[usize],
        threshold: f32,
    ) -> Result<(Vec<u32>, Vec<f32>)> {
        let gpu = self.clip.gpu();
        let rules = segment_rules(&self.classes.class_of_name(), removed, threshold);
        gpu.queue.write_buffer(self.rules.buffer(), 0, bytemuck::cast_slice(&rules));
        let count = image.size()[0] as usize * image.size()[1] as usize;
        let (mut classes, mut confidence) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for band in p.bands.clone() {
            let mut made;
            let plan = match &mut p.whole {
                Some(plan) => plan,
                None => {
                    made = plan_band(gpu, &p.job, self.clip.config(), &self.options, &band)?;
                    &mut made
                }
            };
            let source = match (&p.guide, &self.options.pamr) {
                (Some(buffer), Some(pamr)) => {
                    let stride = image.size()[0] as usize * 4;
                    let rows = around(&band, image.size()[1], &self.options);
                    let colours = match pamr.guide {
                        Guide::Input => pixels,
                        Guide::Image => &image.rgba()[rows.start as usize * stride..rows.end as usize * stride],
                    };
                    gpu.queue.write_buffer(buffer, 0, colours);
                    Source::Rgba8(buffer)
                }
                _ => Source::None,
            };
            let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("lancet.segment") });
            let outputs = plan.record(&mut encoder, source)?.clone();
            let (read_classes, read_confidence) = (outputs.classes.read(gpu, &mut encoder)?, outputs.confidence.read(gpu, &mut encoder)?);
            gpu.submit(encoder)?;
            classes.extend(bytemuck::pod_collect_to_vec::<u8, u32>(&read_classes.bytes().await?));
            confidence.extend(read_confidence.floats().await?);
        }
        Ok((classes, confidence))
    }

    fn summarize(
        &self,
        size: [u32; 2],
        (classes, confidence): (Vec<u16>, Vec<f32>),
        (grid, input, windows): ([u32; 2], [u32; 2], usize),
    ) -> Result<Segmentation> {
        check_finite("the segmentation", &confidence)?;
        let count = self.classes.list().len();
        let (mut areas, mut sums) = (vec![0u64; count], vec![0.0f64; count]);
        for (&class, &sure) in classes.iter().zip(&confidence) {
            areas[class as usize] += 1;
            sums[class as usize] += f64::from(sure);
        }
        let mean_confidence = areas.iter().zip(&sums).map(|(&n, sum)| (sum / n.max(1) as f64) as f32).collect();
        Ok(Segmentation { size, class_of_pixel: classes, confidence, areas, mean_confidence, grid, input, windows })
    }
}

/// The grid as its own canvas: scores go straight to the image's size.
fn one_window(grid: [u32; 2]) -> Windows {
    let size = grid.map(|s| s as usize);
    Windows { canvas: size, size, columns: vec![0], rows: vec![0], before: [0; 2], after: [0; 2] }
}
