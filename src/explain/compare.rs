//! Several methods over one image: one plan, in which what they share is computed once.
//!
//! Each method is planned as if it were alone; the plan recognises steps that are there already. So the backbone, equal
//! attentions of equal blocks, projections and labels are shared by whichever methods have them in common, and a method
//! with a size, position rule or activation of its own pays for its own.

use crate::clip::preprocess::{Image, plan_pixels};
use crate::clip::{ImageInput, SourceKind};
use crate::error::{Error, Result};
use crate::explain::explainer::{Explainer, ScoreOutputs};
use crate::explain::method::Method;
use crate::explain::scores::{ScoreSession, Scores};
use crate::gpu::{EVERYBODY, Plan, PlanBuilder};

/// Methods that score the same images with the same labels.
#[derive(Debug)]
pub struct Comparison {
    explainers: Vec<Explainer>,
    session: Option<ScoreSession>,
}

/// What a method costs within a comparison, device time in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Steps that it alone needs.
    pub own_ms: f64,
    /// Steps that others need too.
    pub shared_ms: f64,
}

/// Times of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Costs {
    /// One for each method.
    pub methods: Vec<Cost>,
    /// All steps, each once, milliseconds.
    pub all_ms: f64,
    /// Median wall time of a whole run, milliseconds.
    pub run_ms: f64,
}

impl Explainer {
    /// Several methods over this explainer's model and labels.
    ///
    /// # Errors
    /// No method, or what [`Explainer::new`] refuses.
    pub fn compare(&self, methods: &[Method]) -> Result<Comparison> {
        if methods.is_empty() || methods.len() > usize::from(u16::MAX) {
            return Err(Error::Input { what: format!("{} methods to compare; expected at least one", methods.len()) });
        }
        let explainers = methods.iter().map(|method| Explainer::new(self.clip(), self.labels(), method)).collect::<Result<_>>()?;
        Ok(Comparison { explainers, session: None })
    }
}

impl Comparison {
    /// The methods in effect, in order.
    pub fn methods(&self) -> impl Iterator<Item = &Method> {
        self.explainers.iter().map(Explainer::method)
    }

    /// What was changed about methods, in words for the user.
    pub fn notices(&self) -> impl Iterator<Item = &str> {
        self.explainers.iter().filter_map(Explainer::notice)
    }

    /// From images to scores and maps of every method, in one plan.
    ///
    /// # Errors
    /// A size that does not fit the model or the device.
    pub fn plan_scores(&self, input: &ImageInput) -> Result<Plan<Vec<ScoreOutputs>>> {
        plan_together(&self.explainers.iter().collect::<Vec<_>>(), input)
    }

    /// Scores a batch of images of one size by every method; `model_size` is what the model sees, (width, height). The plan
    /// and its buffers are kept for the next batch of the same size and number.
    ///
    /// # Errors
    /// As [`Explainer::score`].
    pub async fn score(&mut self, images: &[Image<'_>], model_size: [u32; 2]) -> Result<Vec<Scores>> {
        let mut session = self.session_for(images, model_size)?;
        let labels = self.explainers.first().map_or(0, |e| e.labels().names().len());
        let scores = session.run(images, labels).await?;
        self.session = Some(session);
        Ok(scores)
    }

    /// Times every method's steps over a batch; medians of `runs`. Blocks: not for the web.
    ///
    /// # Errors
    /// As [`Explainer::score`].
    pub fn costs(&mut self, images: &[Image<'_>], model_size: [u32; 2], runs: usize) -> Result<Costs> {
        let mut session = self.session_for(images, model_size)?;
        let (profile, owners) = session.profile(images, runs)?;
        self.session = Some(session);
        let mut methods = vec![Cost { own_ms: 0.0, shared_ms: 0.0 }; self.explainers.len()];
        for (step, owners) in profile.steps.iter().zip(&owners) {
            match owners[..] {
                [EVERYBODY] => methods.iter_mut().for_each(|cost| cost.shared_ms += step.ms),
                [owner] => methods[usize::from(owner)].own_ms += step.ms,
                _ => owners.iter().for_each(|&owner| methods[usize::from(owner)].shared_ms += step.ms),
            }
        }
        Ok(Costs { methods, all_ms: profile.steps.iter().map(|s| s.ms).sum(), run_ms: profile.median_ms() })
    }

    fn session_for(&mut self, images: &[Image<'_>], model_size: [u32; 2]) -> Result<ScoreSession> {
        let size = images.first().map_or([0, 0], Image::size);
        let input = ImageInput { kind: SourceKind::Rgba8, images: images.len() as u32, size, model_size };
        let kept = self.session.take().filter(|session| session.input() == input);
        match (kept, self.explainers.first()) {
            (Some(session), _) => Ok(session),
            (None, Some(first)) => ScoreSession::new(first.clip().gpu(), input, self.plan_scores(&input)?),
            (None, None) => Err(Error::Input { what: "no method to compare".into() }),
        }
    }
}

/// One plan for several explainers of the same model; a step that several need is planned once, and says whose it is.
pub(crate) fn plan_together(explainers: &[&Explainer], input: &ImageInput) -> Result<Plan<Vec<ScoreOutputs>>> {
    let Some(first) = explainers.first() else { return Err(Error::Input { what: "no method to plan".into() }) };
    let mut b = PlanBuilder::new(first.clip().gpu()).keep_apart(explainers.len() > 1);
    let pixels = plan_pixels(&mut b, input, first.clip().config())?.pixels;
    let mut planned = Vec::with_capacity(explainers.len());
    for (i, explainer) in explainers.iter().enumerate() {
        b.set_owner(i as u16);
        planned.push(explainer.plan_maps(&mut b, pixels)?);
    }
    b.finish(|r| planned.iter().map(|(maps, grid)| maps.resolve(r, *grid)).collect())
}
