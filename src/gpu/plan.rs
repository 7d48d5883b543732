//! Plan once, record many: a flat list of steps, their buffers, bind groups and parameters made ahead.

use crate::error::{Error, Result};
use crate::gpu::arena::{self, Lifetime};
use crate::gpu::context::{Gpu, checked};
use crate::gpu::kernel::{Binding, Kernel, Pipeline};
use crate::gpu::tensor::Tensor;
use crate::shape::{DType, Shape};
use std::sync::Arc;

/// A value inside a plan that is being built: shape, element type, and an identity.
#[derive(Clone, Copy, Debug)]
pub struct Value {
    id: usize,
    shape: Shape,
    dtype: DType,
}

impl Value {
    /// Dimensions, slowest first.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Element type in memory.
    pub fn dtype(&self) -> DType {
        self.dtype
    }
}

/// What the host hands to [`Plan::record`].
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// The plan reads nothing from the host.
    None,
    /// Packed RGBA8 pixels `[B, H, W]`, red in the low byte, at the start of a buffer with usage `STORAGE`.
    Rgba8(&'a wgpu::Buffer),
    /// One texture view per image, usage `TEXTURE_BINDING`, of a texture whose format is not sRGB: CLIP wants the encoded
    /// values. The host's own views of it may be sRGB.
    Textures(&'a [wgpu::TextureView]),
}

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
    pipeline: Arc<Pipeline>,
    bound: Bound,
    params_offset: u64,
    params_bytes: u64,
}

#[derive(Debug)]
enum Bound {
    /// Made when the plan was built.
    Fixed(wgpu::BindGroup),
    /// Reads the host's image: made when the source changes.
    PerSource { operands: Vec<Operand>, made: Option<wgpu::BindGroup> },
}

/// What a binding after the parameters holds.
#[derive(Clone, Debug)]
enum Operand {
    Buffer(Tensor),
    Target(wgpu::TextureView),
    /// The image at the start of the host's buffer: its bytes.
    SourceBuffer(u64),
    SourceTexture(usize),
}

/// A finished plan and its outputs. `record` never submits, waits, or writes through a queue.
#[derive(Debug)]
pub struct Plan<O> {
    gpu: Arc<Gpu>,
    steps: Vec<Step>,
    params: wgpu::Buffer,
    memory: Memory,
    source: SourceKind,
    last_source: Vec<SourceIdentity>,
    outputs: O,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum SourceKind {
    None,
    Rgba8 { bytes: u64 },
    Textures { count: usize, size: [u32; 2] },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum SourceIdentity {
    Buffer(wgpu::Buffer),
    Texture(wgpu::TextureView),
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
            step.dispatch(&mut pass);
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
            step.dispatch(&mut pass);
        }
        Ok(())
    }

    fn bind_source(&mut self, source: Source<'_>) -> Result<()> {
        let identity = self.source.check(source)?;
        if identity == self.last_source {
            return Ok(());
        }
        // Should one of these fail, the steps before it hold the new source already: the next call binds all again.
        self.last_source.clear();
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
                *made = Some(group);
            }
        }
        self.last_source = identity;
        Ok(())
    }
}

impl Step {
    fn dispatch(&self, pass: &mut wgpu::ComputePass<'_>) {
        let group = match &self.bound {
            Bound::Fixed(group) => group,
            Bound::PerSource { made: Some(group), .. } => group,
            Bound::PerSource { made: None, .. } => unreachable!("bind_source ran before"),
        };
        pass.set_pipeline(&self.pipeline.pipeline);
        pass.set_bind_group(0, group, &[]);
        let [x, y, z] = self.workgroups;
        pass.dispatch_workgroups(x, y, z);
    }
}

impl SourceKind {
    fn check(&self, source: Source<'_>) -> Result<Vec<SourceIdentity>> {
        let wrong = |got: String| Error::shape("record", "source", self.describe(), got);
        match (self, source) {
            (SourceKind::None, Source::None) => Ok(Vec::new()),
            (SourceKind::Rgba8 { bytes }, Source::Rgba8(buffer)) if buffer.size() >= *bytes => {
                Ok(vec![SourceIdentity::Buffer(buffer.clone())])
            }
            // A view does not tell its format, so its texture's counts.
            (SourceKind::Textures { .. }, Source::Textures(views)) if views.iter().any(|v| v.texture().format().is_srgb()) => {
                let formats: Vec<_> = views.iter().map(|v| v.texture().format()).collect();
                Err(wrong(format!(
                    "textures of format {formats:?}, whose sRGB decoding would change the pixels; use a format without Srgb"
                )))
            }
            (SourceKind::Textures { count, size }, Source::Textures(views))
                if views.len() == *count && views.iter().all(|v| [v.texture().width(), v.texture().height()] == *size) =>
            {
                Ok(views.iter().map(|v| SourceIdentity::Texture(v.clone())).collect())
            }
            (_, Source::None) => Err(wrong("nothing".into())),
            (_, Source::Rgba8(buffer)) => Err(wrong(format!("a buffer of {} bytes", buffer.size()))),
            (_, Source::Textures(views)) => {
                let sizes: Vec<_> = views.iter().map(|v| format!("{}x{}", v.texture().width(), v.texture().height())).collect();
                Err(wrong(format!("textures of {sizes:?}")))
            }
        }
    }

    fn describe(&self) -> String {
        match self {
            SourceKind::None => "nothing".into(),
            SourceKind::Rgba8 { bytes } => format!("an RGBA8 buffer of at least {bytes} bytes"),
            SourceKind::Textures { count, size: [w, h] } => format!("{count} texture(s) of {w}x{h}"),
        }
    }
}

fn bind(
    gpu: &Gpu,
    label: &str,
    pipeline: &Pipeline,
    (params, offset, bytes): (&wgpu::Buffer, u64, u64),
    operands: &[Operand],
    source: &[SourceIdentity],
) -> Result<wgpu::BindGroup> {
    let mut entries = vec![wgpu::BindGroupEntry {
        binding: 0,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: params, offset, size: wgpu::BufferSize::new(bytes) }),
    }];
    for (i, operand) in operands.iter().enumerate() {
        let resource = match (operand, source) {
            (Operand::Buffer(tensor), _) => wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: tensor.buffer(),
                offset: 0,
                size: wgpu::BufferSize::new(tensor.bytes()),
            }),
            (Operand::Target(view), _) => wgpu::BindingResource::TextureView(view),
            (Operand::SourceBuffer(bytes), [SourceIdentity::Buffer(buffer)]) => {
                wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset: 0, size: wgpu::BufferSize::new(*bytes) })
            }
            (Operand::SourceTexture(n), all) => match all.get(*n) {
                Some(SourceIdentity::Texture(view)) => wgpu::BindingResource::TextureView(view),
                _ => return Err(Error::shape("record", "source", "a texture", "none")),
            },
            (Operand::SourceBuffer(_), _) => return Err(Error::shape("record", "source", "a buffer", "none")),
        };
        entries.push(wgpu::BindGroupEntry { binding: i as u32 + 1, resource });
    }
    checked(
        &gpu.device,
        || format!("binding {label}"),
        || gpu.device.create_bind_group(&wgpu::BindGroupDescriptor { label: Some(label), layout: &pipeline.layout, entries: &entries }),
    )
}

// ---------------------------------------------------------------- building

/// An operand of a step that is being built.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arg<'a> {
    /// A value of this plan.
    Value(Value),
    /// Weights or other data that outlive the plan.
    Tensor(&'a Tensor),
    /// Texture `n` of the host's source.
    SourceTexture(usize),
    /// A texture that the step draws into.
    Target(&'a wgpu::TextureView),
}

/// A step as an op describes it; bindings in WGSL order.
pub(crate) struct Dispatch<'a, P> {
    pub kernel: &'static Kernel,
    /// Storage of activations and of weights, to choose the variant.
    pub act: DType,
    pub weight: DType,
    pub constants: &'a [(&'static str, u32)],
    pub params: P,
    pub args: &'a [Arg<'a>],
    pub workgroups: [u32; 3],
    pub flops: u64,
}

enum Origin {
    Temp,
    Source,
    External(Tensor),
}

struct ValueInfo {
    value: Value,
    origin: Origin,
    first: Option<usize>,
    last: usize,
    kept: bool,
}

struct Draft {
    label: String,
    kernel: &'static Kernel,
    pipeline: Arc<Pipeline>,
    params: Vec<u8>,
    operands: Vec<DraftOperand>,
    workgroups: [u32; 3],
    flops: u64,
    bytes: u64,
}

enum DraftOperand {
    Value(usize),
    Ready(Operand),
}

/// Builds a plan: ops push steps, `finish` assigns slots and makes buffers and bind groups.
pub struct PlanBuilder {
    gpu: Arc<Gpu>,
    scope: Vec<String>,
    values: Vec<ValueInfo>,
    steps: Vec<Draft>,
    source: SourceKind,
    names: Vec<(String, Value)>,
    inspect: bool,
}

impl PlanBuilder {
    /// An empty plan on a device.
    pub fn new(gpu: &Arc<Gpu>) -> PlanBuilder {
        PlanBuilder {
            gpu: gpu.clone(),
            scope: Vec::new(),
            values: Vec::new(),
            steps: Vec::new(),
            source: SourceKind::None,
            names: Vec::new(),
            inspect: false,
        }
    }

    /// Keeps every value that is [named](PlanBuilder::name), for inspection and golden tests. Costs memory.
    pub fn inspect(mut self, on: bool) -> PlanBuilder {
        self.inspect = on;
        self
    }

    /// True if named values are kept: stages then may also compute what only an inspector reads.
    pub fn inspecting(&self) -> bool {
        self.inspect
    }

    /// The device.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// Runs `build` with `name.` in front of every label.
    pub fn scope<T>(&mut self, name: impl std::fmt::Display, build: impl FnOnce(&mut PlanBuilder) -> Result<T>) -> Result<T> {
        self.scope.push(name.to_string());
        let result = build(self);
        self.scope.pop();
        result
    }

    /// Gives a value its stage name (scope included), by which an inspecting plan keeps it.
    pub fn name(&mut self, value: Value, name: &str) {
        if self.inspect {
            let full = self.label(name);
            self.keep(value);
            self.names.push((full, value));
        }
    }

    /// Protects a value until the end of the plan: an output.
    pub fn keep(&mut self, value: Value) {
        self.values[value.id].kept = true;
    }

    /// A value to be written by a later step.
    ///
    /// # Errors
    /// Too large for the device.
    pub fn value(&mut self, dims: &[u32], dtype: DType) -> Result<Value> {
        let shape = Shape::new(dims)?;
        self.gpu.caps.check_binding(&self.label(&format!("value {shape}")), shape.elements() * dtype.bytes())?;
        Ok(self.add_value(shape, dtype, Origin::Temp))
    }

    /// A tensor that outlives the plan, as a value: read it, or let a step write into it.
    pub fn import(&mut self, tensor: &Tensor) -> Value {
        self.add_value(tensor.layout(), tensor.dtype(), Origin::External(tensor.clone()))
    }

    /// The host's image as packed RGBA8 `[B, H, W]`, from a buffer given to `record`.
    ///
    /// # Errors
    /// A second source, or one too large for the device.
    pub fn source_rgba8(&mut self, dims: [u32; 3]) -> Result<Value> {
        let shape = Shape::new(&dims)?;
        self.gpu.caps.check_binding("the source image", shape.elements() * 4)?;
        self.set_source(SourceKind::Rgba8 { bytes: shape.elements() * 4 })?;
        Ok(self.add_value(shape, DType::U32, Origin::Source))
    }

    /// Declares that `record` gets `count` textures of this size (width, height).
    ///
    /// # Errors
    /// A second source.
    pub fn source_textures(&mut self, count: usize, size: [u32; 2]) -> Result<()> {
        self.set_source(SourceKind::Textures { count, size })
    }

    fn set_source(&mut self, source: SourceKind) -> Result<()> {
        if self.source != SourceKind::None {
            return Err(Error::shape("plan", "source", "one", "two"));
        }
        self.source = source;
        Ok(())
    }

    fn add_value(&mut self, shape: Shape, dtype: DType, origin: Origin) -> Value {
        let value = Value { id: self.values.len(), shape, dtype };
        self.values.push(ValueInfo { value, origin, first: None, last: 0, kept: false });
        value
    }

    fn label(&self, name: &str) -> String {
        let mut label = self.scope.join(".");
        if !label.is_empty() {
            label.push('.');
        }
        label + name
    }

    /// Appends a step.
    pub(crate) fn dispatch<P: bytemuck::Pod>(&mut self, name: &str, d: Dispatch<'_, P>) -> Result<()> {
        let label = self.label(name);
        let fail = |message: String| Error::Gpu { what: label.clone(), message };
        if d.args.len() + 1 != d.kernel.bindings.len() {
            return Err(fail(format!("{} operands for {} bindings", d.args.len(), d.kernel.bindings.len())));
        }
        if let Some(&large) = d.workgroups.iter().find(|&&n| n > self.gpu.caps.max_workgroups || n == 0) {
            return Err(Error::DeviceTooSmall {
                what: label,
                limit: "max_compute_workgroups_per_dimension",
                need: u64::from(large),
                have: u64::from(self.gpu.caps.max_workgroups),
                hint: "use a smaller --size, fewer labels or a smaller batch".into(),
            });
        }
        let variant = d
            .kernel
            .variant(d.act, d.weight)
            .ok_or_else(|| fail(format!("no variant for activations {} and weights {}", d.act, d.weight)))?;
        let pipeline = self.gpu.pipelines.get(&self.gpu.device, d.kernel, variant, &d.constants.to_vec())?;
        let index = self.steps.len();
        let mut operands = Vec::with_capacity(d.args.len());
        let mut bytes = 0;
        for (arg, binding) in d.args.iter().zip(&d.kernel.bindings[1..]) {
            operands.push(match *arg {
                Arg::Value(value) => {
                    let info = &mut self.values[value.id];
                    bytes += value.shape.elements() * value.dtype.bytes();
                    info.last = index;
                    if *binding == Binding::Write {
                        info.first.get_or_insert(index);
                    } else if info.first.is_none() && matches!(info.origin, Origin::Temp) {
                        return Err(fail(format!("reads a value {} that no step wrote", value.shape)));
                    }
                    match &info.origin {
                        Origin::Temp => DraftOperand::Value(value.id),
                        Origin::Source => DraftOperand::Ready(Operand::SourceBuffer(value.shape.elements() * value.dtype.bytes())),
                        Origin::External(tensor) => DraftOperand::Ready(Operand::Buffer(tensor.clone())),
                    }
                }
                Arg::Tensor(tensor) => {
                    bytes += tensor.bytes();
                    DraftOperand::Ready(Operand::Buffer(tensor.clone()))
                }
                Arg::SourceTexture(n) => DraftOperand::Ready(Operand::SourceTexture(n)),
                Arg::Target(view) => DraftOperand::Ready(Operand::Target(view.clone())),
            });
        }
        self.steps.push(Draft {
            label,
            kernel: d.kernel,
            pipeline,
            params: bytemuck::bytes_of(&d.params).to_vec(),
            operands,
            workgroups: d.workgroups,
            flops: d.flops,
            bytes,
        });
        Ok(())
    }

    /// Assigns slots, makes buffers and bind groups. `outputs` turns kept values into tensors; `named` holds what an
    /// inspecting plan kept.
    ///
    /// # Errors
    /// Out of memory.
    pub fn finish<O>(self, outputs: impl FnOnce(&Resolved) -> Result<O>) -> Result<Plan<O>> {
        let temps: Vec<&ValueInfo> = self.values.iter().filter(|v| matches!(v.origin, Origin::Temp) && v.first.is_some()).collect();
        let lifetimes: Vec<Lifetime> = temps
            .iter()
            .map(|v| Lifetime {
                first: v.first.unwrap_or(0),
                last: if v.kept { usize::MAX } else { v.last },
                bytes: v.value.shape.elements() * v.value.dtype.bytes(),
            })
            .collect();
        let slots = arena::assign(&lifetimes);
        let buffers: Vec<wgpu::Buffer> =
            slots.bytes.iter().enumerate().map(|(i, &bytes)| self.gpu.buffer(&format!("lancet.slot.{i}"), bytes)).collect::<Result<_>>()?;
        let mut tensors: Vec<Option<Tensor>> = vec![None; self.values.len()];
        for (v, &slot) in temps.iter().zip(&slots.of) {
            tensors[v.value.id] = Some(Tensor::new(buffers[slot].clone(), v.value.shape, v.value.dtype));
        }

        let alignment = self.gpu.caps.uniform_alignment.max(16);
        let mut blob: Vec<u8> = Vec::new();
        let offsets: Vec<u64> = self
            .steps
            .iter()
            .map(|step| {
                blob.resize(blob.len().next_multiple_of(alignment as usize), 0);
                let offset = blob.len() as u64;
                blob.extend(&step.params);
                offset
            })
            .collect();
        blob.resize(blob.len().next_multiple_of(16).max(16), 0);
        let params = params_buffer(&self.gpu, &blob)?;

        let mut steps = Vec::with_capacity(self.steps.len());
        for (draft, offset) in self.steps.into_iter().zip(offsets) {
            let mut operands = Vec::with_capacity(draft.operands.len());
            for operand in draft.operands {
                operands.push(match operand {
                    DraftOperand::Ready(operand) => operand,
                    DraftOperand::Value(id) => Operand::Buffer(
                        tensors[id]
                            .clone()
                            .ok_or_else(|| Error::Gpu { what: draft.label.clone(), message: "reads a value that no step wrote".into() })?,
                    ),
                });
            }
            let params_bytes = draft.params.len() as u64;
            let per_source = operands.iter().any(|o| matches!(o, Operand::SourceBuffer(_) | Operand::SourceTexture(_)));
            let bound = if per_source {
                Bound::PerSource { operands, made: None }
            } else {
                Bound::Fixed(bind(&self.gpu, &draft.label, &draft.pipeline, (&params, offset, params_bytes), &operands, &[])?)
            };
            steps.push(Step {
                label: draft.label,
                kernel: draft.kernel.name,
                workgroups: draft.workgroups,
                flops: draft.flops,
                bytes: draft.bytes,
                pipeline: draft.pipeline,
                bound,
                params_offset: offset,
                params_bytes,
            });
        }
        let memory = Memory {
            activations: slots.bytes.iter().sum(),
            activations_unshared: lifetimes.iter().map(|l| l.bytes).sum(),
            parameters: blob.len() as u64,
            slots: slots.bytes.len(),
        };
        let resolved = Resolved { tensors, names: self.names };
        let outputs = outputs(&resolved)?;
        Ok(Plan { gpu: self.gpu, steps, params, memory, source: self.source, last_source: Vec::new(), outputs })
    }
}

/// Values of a finished plan as tensors.
#[derive(Debug)]
pub struct Resolved {
    tensors: Vec<Option<Tensor>>,
    names: Vec<(String, Value)>,
}

impl Resolved {
    /// The tensor of a kept value.
    ///
    /// # Errors
    /// No step wrote it.
    pub fn tensor(&self, value: Value) -> Result<Tensor> {
        self.tensors[value.id].clone().ok_or_else(|| Error::shape("plan", "output", "a value that a step writes", "none"))
    }

    /// What an inspecting plan kept: stage name and tensor, in order of naming.
    ///
    /// # Errors
    /// As [`Resolved::tensor`].
    pub fn named(&self) -> Result<Vec<(String, Tensor)>> {
        self.names.iter().map(|(name, value)| Ok((name.clone(), self.tensor(*value)?))).collect()
    }
}

fn params_buffer(gpu: &Gpu, blob: &[u8]) -> Result<wgpu::Buffer> {
    checked(
        &gpu.device,
        || format!("allocating {} bytes of parameters", blob.len()),
        || {
            let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("lancet.params"),
                size: blob.len() as u64,
                usage: wgpu::BufferUsages::UNIFORM,
                mapped_at_creation: true,
            });
            match buffer.get_mapped_range_mut(..) {
                Ok(mut view) => view.copy_from_slice(blob),
                Err(_) => return Err(Error::DeviceLost { what: "planning".into() }),
            }
            buffer.unmap();
            Ok(buffer)
        },
    )?
}
