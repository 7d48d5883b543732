//! What the comparison costs, beside plain CLIP and beside each method on its own.

use anyhow::Result;
use lancet::explain::{Comparison, Costs};
use lancet::{Explainer, Image, Method};
use serde::Serialize;

/// Device times, medians, milliseconds.
#[derive(Debug, Serialize)]
pub struct Times {
    /// All steps of the comparison, each once.
    pub together_ms: f64,
    /// The same steps if no method shared any: the sum of what each one runs.
    pub separately_ms: f64,
    /// All steps of plain CLIP alone.
    pub clip_ms: f64,
    /// Wall time of one whole run of the comparison.
    pub wall_ms: f64,
    pub runs: usize,
    #[serde(skip)]
    pub costs: Costs,
}

impl Times {
    /// Times the comparison, and plain CLIP on its own.
    pub fn measure(
        explainer: &Explainer,
        comparison: &mut Comparison,
        images: &[Image<'_>],
        model_size: [u32; 2],
        runs: usize,
    ) -> Result<Times> {
        let costs = comparison.costs(images, model_size, runs)?;
        let clip_ms = explainer.compare(&[Method::CLIP])?.costs(images, model_size, runs)?.all_ms;
        Ok(Times {
            together_ms: costs.all_ms,
            separately_ms: costs.methods.iter().map(|c| c.own_ms + c.shared_ms).sum(),
            clip_ms,
            wall_ms: costs.run_ms,
            runs,
            costs,
        })
    }
}
