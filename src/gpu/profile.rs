//! Time per step: timestamps around passes, medians over runs.

use crate::error::{Error, Result};
use crate::gpu::binding::Source;
use crate::gpu::context::checked;
use crate::gpu::plan::Plan;
use std::time::Instant;

/// What measured the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// GPU timestamps at the ends of each step's own pass.
    Timestamps,
    /// The device has none: each step was submitted and waited for alone, so a submit's cost is in every figure.
    SubmitAndWait,
}

/// One step of a profile.
#[derive(Clone, Debug)]
pub struct Timing {
    /// The step's label.
    pub label: String,
    /// Its kernel.
    pub kernel: &'static str,
    /// Median over the runs, milliseconds.
    pub ms: f64,
    /// The shortest of them.
    pub best_ms: f64,
    /// Floating-point operations.
    pub flops: u64,
    /// Operand bytes.
    pub bytes: u64,
}

/// Times of a plan.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Wall time of whole warm runs, submit to done, milliseconds, in the order they ran.
    pub runs_ms: Vec<f64>,
    /// Per step, in plan order.
    pub steps: Vec<Timing>,
    /// What measured the steps.
    pub clock: Clock,
}

impl Profile {
    /// Median wall time of a warm run, milliseconds.
    pub fn median_ms(&self) -> f64 {
        median(&self.runs_ms)
    }

    /// The shortest warm run, milliseconds: what a busy machine disturbs least.
    pub fn best_ms(&self) -> f64 {
        best(&self.runs_ms)
    }
}

/// Median; 0 for an empty list.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    if n == 0 { 0.0 } else { (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0 }
}

/// The least; 0 for an empty list.
pub fn best(values: &[f64]) -> f64 {
    values.iter().copied().reduce(f64::min).unwrap_or(0.0)
}

impl<O> Plan<O> {
    /// One whole run, submitted and waited for; milliseconds. Blocks: not for the web.
    ///
    /// # Errors
    /// A wrong source, or the device fails.
    pub fn run_timed(&mut self, source: Source<'_>) -> Result<f64> {
        let gpu = self.gpu().clone();
        let start = Instant::now();
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("lancet.run") });
        self.record(&mut encoder, source)?;
        gpu.queue.submit([encoder.finish()]);
        gpu.wait("a run")?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }

    /// One run by the device's own clock, the steps' times added up; where it has none, submitted and waited for. In
    /// milliseconds. Blocks: not for the web.
    ///
    /// # Errors
    /// A wrong source, or the device fails.
    pub fn run_on_device(&mut self, source: Source<'_>) -> Result<f64> {
        match self.gpu().caps.timestamps {
            true => Ok(self.step_times(source)?.iter().sum()),
            false => self.run_timed(source),
        }
    }

    /// Times `runs` warm runs whole, then the steps one by one. Owns its submits and blocks: not for the web.
    ///
    /// # Errors
    /// A wrong source, or the device fails.
    pub fn profile(&mut self, source: Source<'_>, runs: usize) -> Result<Profile> {
        self.profile_between(source, runs, || Ok(()))
    }

    /// As [`Plan::profile`], with something else done before each whole run: measured in turns, two things can be compared on a
    /// machine whose speed changes.
    ///
    /// # Errors
    /// A wrong source, the device fails, or what is done in between.
    pub fn profile_between(&mut self, source: Source<'_>, runs: usize, mut before: impl FnMut() -> Result<()>) -> Result<Profile> {
        self.run_timed(source)?;
        let mut turn = || before().and_then(|()| self.run_timed(source));
        let runs_ms = (0..runs.max(1)).map(|_| turn()).collect::<Result<Vec<_>>>()?;
        let (clock, samples) = match self.gpu().caps.timestamps {
            true => (Clock::Timestamps, (0..runs.max(1)).map(|_| self.step_times(source)).collect::<Result<Vec<_>>>()?),
            false => (Clock::SubmitAndWait, (0..runs.max(1)).map(|_| self.step_times_waiting(source)).collect::<Result<Vec<_>>>()?),
        };
        let steps = self
            .steps()
            .iter()
            .enumerate()
            .map(|(i, step)| {
                let ms: Vec<f64> = samples.iter().map(|run| run[i]).collect();
                Timing {
                    label: step.label.clone(),
                    kernel: step.kernel,
                    ms: median(&ms),
                    best_ms: best(&ms),
                    flops: step.flops,
                    bytes: step.bytes,
                }
            })
            .collect();
        Ok(Profile { runs_ms, steps, clock })
    }

    fn step_times(&mut self, source: Source<'_>) -> Result<Vec<f64>> {
        let gpu = self.gpu().clone();
        let count = 2 * self.steps().len() as u32;
        let bytes = u64::from(count) * 8;
        let (queries, resolved, staging) = checked(
            &gpu.device,
            || "making timestamp queries".to_owned(),
            || {
                let buffer = |label, usage| {
                    let descriptor = wgpu::BufferDescriptor { label: Some(label), size: bytes, usage, mapped_at_creation: false };
                    gpu.made.buffers.count(gpu.device.create_buffer(&descriptor))
                };
                (
                    gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
                        label: Some("lancet.profile"),
                        ty: wgpu::QueryType::Timestamp,
                        count,
                    }),
                    buffer("lancet.profile.resolve", wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
                    buffer("lancet.profile.read", wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
                )
            },
        )?;
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("lancet.profile") });
        self.record_timed(&mut encoder, source, &queries)?;
        encoder.resolve_query_set(&queries, 0..count, &resolved, 0);
        encoder.copy_buffer_to_buffer(&resolved, 0, &staging, 0, bytes);
        gpu.queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |_| {});
        gpu.wait("a profile")?;
        let lost = |e: wgpu::MapRangeError| Error::Gpu { what: "reading timestamps".into(), message: e.to_string() };
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&staging.get_mapped_range(..).map_err(lost)?);
        let period = f64::from(gpu.queue.get_timestamp_period());
        Ok(ticks.chunks_exact(2).map(|t| t[1].saturating_sub(t[0]) as f64 * period / 1e6).collect())
    }

    fn step_times_waiting(&mut self, source: Source<'_>) -> Result<Vec<f64>> {
        let gpu = self.gpu().clone();
        (0..self.steps().len())
            .map(|i| {
                let start = Instant::now();
                let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("lancet.profile") });
                self.record_range(&mut encoder, source, i..i + 1)?;
                gpu.queue.submit([encoder.finish()]);
                gpu.wait("a profile")?;
                Ok(start.elapsed().as_secs_f64() * 1e3)
            })
            .collect()
    }
}
