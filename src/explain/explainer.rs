//! The explainer: a model, labels and a method, planned for an image size.

use crate::clip::preprocess::{Image, plan_pixels};
use crate::clip::{Clip, ImageInput, Labels, LogitMix, SourceKind};
use crate::error::{Error, Result};
use crate::explain::compare::plan_together;
use crate::explain::feedback::Feedback;
use crate::explain::method::{Maps, Method, Score};
use crate::explain::pipeline::Pipeline;
use crate::explain::scores::{ScoreSession, Scores};
use crate::explain::stream::{Explanation, LabelMap, Stream, StreamOptions};
use crate::gpu::{Memory, Plan, PlanBuilder, Tensor, Value};
use crate::ops::{self, Resize};
use crate::shape::DType;

/// Explains images with a model, a set of labels and a method.
#[derive(Debug)]
pub struct Explainer {
    clip: Clip,
    labels: Labels,
    method: Method,
    notice: Option<String>,
    /// Label embeddings on the GPU, `[L, D]`, or `[L + 1, D]` with the empty text last.
    table: Tensor,
    session: Option<Pipeline>,
    scoring: Option<ScoreSession>,
}

/// What [`Explainer::plan_scores`] leaves on the device.
#[derive(Clone, Debug)]
pub struct ScoreOutputs {
    /// Cosines of all tokens, class row first, `[B (1 + N), W]`; W = L, or L + 1 with the empty text last.
    pub cosines: Tensor,
    /// The method's scores, `[B (1 + N), L]`.
    pub scores: Tensor,
    /// Maps of the grid, `[B, L, N]`, each 0..1; on the scores' own scale if the method smooths them.
    pub maps: Tensor,
    /// The grid, (width, height).
    pub grid: [u32; 2],
}

/// What [`Explainer::plan`] leaves on the device.
#[derive(Clone, Debug)]
pub struct ExplainOutputs {
    /// The scores and the maps of the grid.
    pub scores: ScoreOutputs,
    /// Maps at output size, `[B L, H, W]`, f32, 0..1, image by image and label by label.
    pub heatmaps: Tensor,
    /// For one image: each label's overlay, rgba8unorm, ready to sample. Empty if not asked for.
    pub overlays: Vec<wgpu::TextureView>,
}

impl Explainer {
    /// Binds labels and method to a model.
    ///
    /// With one label, label-set surgery becomes its empty-text form; [`Explainer::notice`] says so.
    ///
    /// # Errors
    /// A method that contradicts itself or means nothing on this model, labels of another model's width.
    pub fn new(clip: &Clip, labels: &Labels, method: &Method) -> Result<Explainer> {
        method.check_for(clip.config())?;
        let (method, notice) = method.for_labels(labels.names().len());
        if matches!(method.score, Score::States { .. }) && labels.names().len() < 2 {
            let what = "one label: the probability of the only state is 1 everywhere; name two states or more".into();
            return Err(Error::Method { name: method.name.to_string(), what });
        }
        let width = clip.config().embed;
        if labels.width() != width as usize {
            return Err(Error::shape("explain", "labels", format!("embeddings of width {width}"), labels.width()));
        }
        let mut rows = labels.embeddings().to_vec();
        if method.score == Score::EmptyText {
            rows.extend(labels.empty());
        }
        let table = clip.gpu().upload("lancet.labels", &[(rows.len() / width as usize) as u32, width], DType::F32, &rows)?;
        Ok(Explainer { clip: clip.clone(), labels: labels.clone(), method, notice, table, session: None, scoring: None })
    }

    /// The method in effect.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// What was changed about the method, in words for the user.
    pub fn notice(&self) -> Option<&str> {
        self.notice.as_deref()
    }

    /// The model.
    pub fn clip(&self) -> &Clip {
        &self.clip
    }

    /// The labels.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    // ------------------------------------------------------------ plans

    /// Appends everything from pixels `[B, 3, H, W]` to maps; the values are kept as outputs.
    pub(super) fn plan_maps(&self, b: &mut PlanBuilder, pixels: Value) -> Result<(PlannedMaps, [u32; 2])> {
        let &[_, _, height, width] = pixels.shape().dims() else {
            return Err(Error::shape("explain", "pixels", "[B, 3, H, W]", pixels.shape()));
        };
        let grid = self.clip.config().grid([width, height]);
        let (path, rule) = (&self.method.vision, self.method.positions_for(grid));
        let pixels = match &self.method.views {
            Some(views) => b.scope("explain", |b| views.plan_pixels(b, pixels))?,
            None => pixels,
        };
        let related = match path.logit_mix {
            None => None,
            // What the first pass says of the picture goes into the second; all else is the same and done once.
            Some(LogitMix { threshold, path_rule, .. }) => {
                let first = self.clip.plan_tokens(b, pixels, path, rule)?;
                let cosines = b.scope("explain", |b| self.plan_cosines(b, first))?;
                let feedback = Feedback { threshold, path_rule, ..Feedback::RESCLIP };
                Some(feedback.plan(b, pixels, cosines, self.clip.config().patch)?.related)
            }
        };
        let features = self.clip.plan_mixed_tokens(b, pixels, path, rule, related)?;
        let tokens = 1 + grid[0] * grid[1];
        let planned = b.scope("explain", |b| {
            let cosines = self.plan_cosines(b, features)?;
            let cosines = match &self.method.views {
                Some(views) => views.plan_cosines(b, cosines, grid)?,
                None => cosines,
            };
            let scores = match (self.method.score, self.method.score.surgery()) {
                (Score::States { temperature }, _) => ops::state_scores(b, "state_scores", cosines, temperature)?,
                (_, Some(surgery)) => ops::feature_surgery(b, "feature_surgery", cosines, tokens, surgery)?,
                (_, None) => cosines,
            };
            let maps = match self.method.maps {
                Maps::Stretched | Maps::Resized => ops::minmax(b, "minmax", scores, tokens)?,
                Maps::Smoothed => ops::mean_filter(b, "mean_filter", scores, grid)?,
            };
            b.name(scores, "scores");
            b.name(maps, "maps");
            for value in [cosines, scores, maps] {
                b.keep(value);
            }
            Ok(PlannedMaps { cosines, scores, maps })
        })?;
        Ok((planned, grid))
    }

    /// Tokens `[B (1 + N), D]` -> their cosines with the labels.
    fn plan_cosines(&self, b: &mut PlanBuilder, features: Value) -> Result<Value> {
        let unit = ops::l2_normalize(b, "l2_normalize", features)?;
        ops::similarity(b, "similarity", unit, &self.table)
    }

    /// From images to scores and maps of the grid. The image's own size enters only through the resize.
    ///
    /// # Errors
    /// A size that does not fit the model or the device.
    pub fn plan_scores(&self, input: &ImageInput) -> Result<Plan<ScoreOutputs>> {
        let mut b = PlanBuilder::new(self.clip.gpu());
        let pixels = plan_pixels(&mut b, input, self.clip.config())?.pixels;
        let (planned, grid) = self.plan_maps(&mut b, pixels)?;
        b.finish(|r| planned.resolve(r, grid))
    }

    /// As [`Explainer::plan_scores`] from pixels that are normalised already, `[B, 3, H, W]` f32.
    pub(crate) fn plan_pixels_scores(&self, pixels: &Tensor) -> Result<Plan<ScoreOutputs>> {
        let mut b = PlanBuilder::new(self.clip.gpu());
        let pixels = b.import(pixels);
        let (planned, grid) = self.plan_maps(&mut b, pixels)?;
        b.finish(|r| planned.resolve(r, grid))
    }

    /// As [`Explainer::plan_scores`] from pixels that are normalised already, `[B, 3, H, W]` f32, keeping every named
    /// stage: (stage, tensor) pairs in order. For golden tests and inspection; costs memory.
    ///
    /// # Errors
    /// As [`Explainer::plan_scores`].
    pub fn plan_inspect(&self, pixels: &Tensor) -> Result<Plan<Vec<(String, Tensor)>>> {
        let mut b = PlanBuilder::new(self.clip.gpu()).inspect(true);
        let pixels = b.import(pixels);
        self.plan_maps(&mut b, pixels)?;
        b.finish(|r| r.named())
    }

    /// From images to heat maps of size `output` (width, height) and, for one image, textures with the overlays
    /// (then `output` must be the image's size). Everything stays on the device.
    ///
    /// # Errors
    /// A size that does not fit the model or the device; overlays for a batch or for another size.
    pub fn plan(&self, input: &ImageInput, output: [u32; 2], overlays: bool) -> Result<Plan<ExplainOutputs>> {
        let gpu = self.clip.gpu();
        let mut b = PlanBuilder::new(gpu);
        let planned_pixels = plan_pixels(&mut b, input, self.clip.config())?;
        let (planned, grid) = self.plan_maps(&mut b, planned_pixels.pixels)?;
        let resize = Resize { from: grid, to: output, align: self.method.maps.align() };
        let planes = input.images * self.labels.names().len() as u32;
        let heatmaps = b.scope("heatmaps", |b| {
            let maps = self.method.maps.plan_pixels(b, planned.maps, resize)?;
            ops::upsample_aligned(b, "upsample", maps, resize, 0..planes, 0..output[1])
        })?;
        b.keep(heatmaps);
        let mut views = Vec::new();
        if overlays {
            if input.images != 1 || output != input.size {
                return Err(Error::Input { what: "overlays are drawn for one image at its own size; use the heat maps for others".into() });
            }
            let side = output[0].max(output[1]);
            if side > gpu.caps.max_texture_side {
                return Err(Error::DeviceTooSmall {
                    what: "the overlay texture".into(),
                    limit: "max_texture_dimension_2d",
                    need: u64::from(side),
                    have: u64::from(gpu.caps.max_texture_side),
                    hint: "scale the image down".into(),
                });
            }
            for label in 0..self.labels.names().len() as u32 {
                let view = gpu.overlay_texture(output)?;
                ops::overlay_texture(&mut b, "overlay_texture", heatmaps, label, planned_pixels.source, &view)?;
                views.push(view);
            }
        }
        b.finish(|r| Ok(ExplainOutputs { scores: planned.resolve(r, grid)?, heatmaps: r.tensor(heatmaps)?, overlays: views }))
    }

    // ------------------------------------------------------------ simple tier: submits and waits

    /// Explains one image; `model_size` is what the model sees, (width, height). Plans and buffers are kept for the
    /// next image of the same size.
    ///
    /// # Errors
    /// A size that does not fit, the device fails, or the result is not finite.
    pub async fn explain(&mut self, image: &Image<'_>, model_size: [u32; 2]) -> Result<Explanation> {
        let mut labels = Vec::new();
        let (size, grid) = self
            .explain_each(image, model_size, |_, label| {
                labels.push(label);
                Ok(())
            })
            .await?;
        Ok(Explanation { size, grid, labels })
    }

    /// As [`Explainer::explain`], handing over one label at a time: memory stays flat however many labels there are.
    /// Returns the image's size and the grid, (width, height) each.
    ///
    /// # Errors
    /// As [`Explainer::explain`], or what `each` returns.
    pub async fn explain_each(
        &mut self,
        image: &Image<'_>,
        model_size: [u32; 2],
        mut each: impl FnMut(usize, LabelMap) -> Result<()>,
    ) -> Result<([u32; 2], [u32; 2])> {
        // An old session's buffers go before new ones come. An error drops the session with whatever it was doing.
        let kept = self.session.take().filter(|s| s.setup().model_size == model_size);
        let mut stream = match kept {
            Some(session) => Stream::resume(self, session),
            None => self.stream(StreamOptions { batch: Some(1), in_flight: 2, maps: true, ..StreamOptions::new(model_size) })?,
        };
        stream.push(image)?;
        let mut seen = (image.size(), [0, 0]);
        while let Some(piece) = stream.next().await? {
            seen = (piece.size, piece.grid);
            for (i, label) in piece.labels.into_iter().enumerate() {
                each(piece.first + i, label)?;
            }
        }
        let session = stream.into_pipeline();
        self.session = Some(session);
        Ok(seen)
    }

    /// Starts to explain many images, with several of them in flight.
    ///
    /// # Errors
    /// A size that does not fit the model or the device.
    pub fn stream(&self, options: StreamOptions) -> Result<Stream<'_>> {
        Stream::new(self, options)
    }

    /// Explains images of any sizes, several in one run of the model; the same results as [`Explainer::explain`] one
    /// by one. Everything is kept: for many images take a [`Explainer::stream`].
    ///
    /// # Errors
    /// As [`Explainer::explain`].
    pub async fn explain_batch(&self, images: &[Image<'_>], options: StreamOptions) -> Result<Vec<Explanation>> {
        let mut stream = self.stream(options)?;
        let mut images = images.iter();
        let mut all: Vec<Explanation> = Vec::with_capacity(images.len());
        loop {
            while stream.has_room()
                && let Some(image) = images.next()
            {
                stream.push(image)?;
            }
            let Some(piece) = stream.next().await? else { return Ok(all) };
            match all.last_mut().filter(|_| piece.first > 0) {
                Some(begun) => begun.labels.extend(piece.labels),
                None => all.push(Explanation { size: piece.size, grid: piece.grid, labels: piece.labels }),
            }
        }
    }

    /// Scores a batch of images of one size, patch by patch, without drawing anything; `model_size` is what the model
    /// sees, (width, height). The plan and its buffers are kept for the next batch of the same size and number.
    ///
    /// # Errors
    /// No image, images of different sizes, a size that does not fit, the device fails, or the result is not finite.
    pub async fn score(&mut self, images: &[Image<'_>], model_size: [u32; 2]) -> Result<Scores> {
        let size = images.first().map_or([0, 0], Image::size);
        let input = ImageInput { kind: SourceKind::Rgba8, images: images.len() as u32, size, model_size };
        let kept = self.scoring.take().filter(|s| s.input() == input);
        let mut session = match kept {
            Some(session) => session,
            None => ScoreSession::new(self.clip.gpu(), input, plan_together(&[self], &input)?)?,
        };
        let scores = session.run(images, self.labels.names().len()).await?.remove(0);
        self.scoring = Some(session);
        Ok(scores)
    }

    /// Memory of the plan in use by [`Explainer::explain`], if one ran.
    pub fn memory(&self) -> Option<Memory> {
        self.session.as_ref().map(Pipeline::memory)
    }
}

/// Values of the scoring part of a plan.
#[derive(Clone, Copy)]
pub(super) struct PlannedMaps {
    cosines: Value,
    scores: Value,
    maps: Value,
}

impl PlannedMaps {
    pub(super) fn resolve(self, r: &crate::gpu::Resolved, grid: [u32; 2]) -> Result<ScoreOutputs> {
        Ok(ScoreOutputs { cosines: r.tensor(self.cosines)?, scores: r.tensor(self.scores)?, maps: r.tensor(self.maps)?, grid })
    }
}
