//! A finished plan: a flat list of steps that any host replays in its own encoder.

use crate::error::Result;
use crate::gpu::binding::{Operand, Source, SourceIdentity, SourceKind, bind};
use crate::gpu::context::Gpu;
use crate::gpu::kernel::Pipeline;
use std::sync::Arc;

/// Bytes a plan holds on the device, weights not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Slot buffers: activations and results.
    pub activations: u64,
    /// The same values without reuse of slots.
    pub activations_unshared: u64,
    /// Uniform parameters.
    pub parameters: u64,
    /// Number of slot buffers.
    pub slots: usize,
}

/// The owner of steps that belong to a whole plan.
pub const EVERYBODY: u16 = u16::MAX;

/// One dispatch of a plan.
#[derive(Debug)]
pub struct Step {
    /// Where it stands: `vision.block.7.attention`.
    pub label: String,
    /// Its kernel.
    pub kernel: &'static str,
    /// Workgroups in x, y, z.
    pub workgroups: [u32; 3],
    /// Floating-point operations (a multiply-add is two).
    pub flops: u64,
    /// Bytes of its operands, each counted once.
    pub bytes: u64,
    /// How many times it was asked for while the plan was built: more than once if several methods share it.
    pub uses: u32,
    /// Whose it is: several methods of a plan may share a step. All are [`EVERYBODY`]'s unless [`PlanBuilder::set_owner`] said else.
    ///
    /// [`PlanBuilder::set_owner`]: crate::gpu::PlanBuilder::set_owner
    pub owners: Vec<u16>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) bound: Bound,
    pub(super) params_offset: u64,
    pub(super) params_bytes: u64,
}

#[derive(Debug)]
pub(super) enum Bound {
    /// Made when the plan was built.
    Fixed(wgpu::BindGroup),
    /// Reads the host's image: one group for each source of [`Sources`], made when it first comes.
    PerSource { operands: Vec<Operand>, made: Vec<wgpu::BindGroup> },
}

/// Sources that bind groups are kept for: those used last. Their buffers and textures stay alive with them.
#[derive(Debug)]
pub(super) struct Sources {
    known: Vec<Vec<SourceIdentity>>,
    current: usize,
    most: usize,
}

impl Default for Sources {
    fn default() -> Sources {
        Sources { known: Vec::new(), current: 0, most: 1 }
    }
}

/// A finished plan and its outputs. `record` never submits, waits, or writes through a queue.
#[derive(Debug)]
pub struct Plan<O> {
    pub(super) gpu: Arc<Gpu>,
    pub(super) steps: Vec<Step>,
    pub(super) params: wgpu::Buffer,
    pub(super) memory: Memory,
    pub(super) source: SourceKind,
    pub(super) sources: Sources,
    pub(super) outputs: O,
}

impl<O> Plan<O> {
    /// What the plan leaves on the device after each run. The next run overwrites it.
    pub fn outputs(&self) -> &O {
        &self.outputs
    }

    /// The steps in order, for tables and for [`Plan::record_range`].
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Bytes held on the device.
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// The device this plan runs on.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// Records all steps into the host's encoder and returns the outputs, valid after the host's submit.
    ///
    /// # Errors
    /// A source of another kind or size than planned.
    pub fn record(&mut self, encoder: &mut wgpu::CommandEncoder, source: Source<'_>) -> Result<&O> {
        self.record_range(encoder, source, 0..self.steps.len())?;
        Ok(&self.outputs)
    }

    /// Records some of the steps: a host with a frame to keep can spread a plan over several submits.
    ///
    /// # Errors
    /// As [`Plan::record`].
    pub fn record_range(&mut self, encoder: &mut wgpu::CommandEncoder, source: Source<'_>, steps: std::ops::Range<usize>) -> Result<()> {
        self.bind_source(source)?;
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("lancet"), timestamp_writes: None });
        for step in self.steps.get(steps).unwrap_or_default() {
            step.dispatch(&mut pass, self.sources.current);
        }
        Ok(())
    }

    /// As [`Plan::record`], each step in a pass of its own with a timestamp at either end.
    pub(crate) fn record_timed(&mut self, encoder: &mut wgpu::CommandEncoder, source: Source<'_>, queries: &wgpu::QuerySet) -> Result<()> {
        self.bind_source(source)?;
        for (i, step) in self.steps.iter().enumerate() {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some(&step.label),
                timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                    query_set: queries,
                    beginning_of_pass_write_index: Some(2 * i as u32),
                    end_of_pass_write_index: Some(2 * i as u32 + 1),
                }),
            });
            step.dispatch(&mut pass, self.sources.current);
        }
        Ok(())
    }

    fn bind_source(&mut self, source: Source<'_>) -> Result<()> {
        let identity = self.source.check(source)?;
        if identity.is_empty() {
            return Ok(());
        }
        if let Some(at) = self.sources.known.iter().position(|known| *known == identity) {
            self.sources.current = at;
            return Ok(());
        }
        // A place at the end, or that of the source that came first.
        let at = if self.sources.known.len() < self.sources.most {
            self.sources.known.len()
        } else {
            (self.sources.current + 1) % self.sources.most
        };
        // Should a group fail, the steps before it hold the new source already: nobody may take this place for the old one.
        if let Some(known) = self.sources.known.get_mut(at) {
            known.clear();
        }
        for step in &mut self.steps {
            if let Bound::PerSource { operands, made } = &mut step.bound {
                let group = bind(
                    &self.gpu,
                    &step.label,
                    &step.pipeline,
                    (&self.params, step.params_offset, step.params_bytes),
                    operands,
                    &identity,
                )?;
                match made.get_mut(at) {
                    Some(old) => *old = group,
                    None => made.push(group),
                }
            }
        }
        match self.sources.known.get_mut(at) {
            Some(known) => *known = identity,
            None => self.sources.known.push(identity),
        }
        self.sources.current = at;
        Ok(())
    }

    /// Keeps the bind groups of so many sources instead of the last one's, for a host that takes turns with several.
    pub(crate) fn keep_sources(&mut self, most: usize) {
        self.forget_sources();
        self.sources.most = most.max(1);
    }

    /// Lets go of all sources, so that the host's buffers can be freed.
    pub(crate) fn forget_sources(&mut self) {
        self.sources = Sources { most: self.sources.most, ..Sources::default() };
        for step in &mut self.steps {
            if let Bound::PerSource { made, .. } = &mut step.bound {
                made.clear();
            }
        }
    }
}

impl Step {
    fn dispatch(&self, pass: &mut wgpu::ComputePass<'_>, source: usize) {
        let group = match &self.bound {
            Bound::Fixed(group) => group,
            Bound::PerSource { made, .. } => made.get(source).unwrap_or_else(|| unreachable!("bind_source ran before")),
        };
        pass.set_pipeline(self.pipeline.compiled());
        pass.set_bind_group(0, group, &[]);
        let [x, y, z] = self.workgroups;
        pass.dispatch_workgroups(x, y, z);
    }
}
