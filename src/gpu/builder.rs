//! Plan once: ops push steps; `finish` turns lifetimes into slots and makes buffers, bind groups and parameters.

use crate::error::{Error, Result};
use crate::gpu::arena::{self, Lifetime};
use crate::gpu::binding::{Operand, SourceKind, bind};
use crate::gpu::context::{Gpu, checked};
use crate::gpu::kernel::{Binding, Kernel, Pipeline};
use crate::gpu::plan::{Bound, EVERYBODY, Memory, Plan, Sources, Step};
use crate::gpu::tensor::Tensor;
use crate::shape::{DType, Shape};
use std::collections::HashMap;
use std::sync::Arc;

/// A value inside a plan that is being built: shape, element type, and an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Written by several steps, each time on top of what is there.
    state: bool,
    /// How many steps have written it: what a step reads is a value *and* how far it is.
    writes: u32,
    /// The value that holds the same, where its step had been pushed before.
    same_as: Option<usize>,
}

/// What makes two steps the same: with equal keys they leave equal results, so the second is not pushed.
#[derive(PartialEq, Eq, Hash)]
struct StepKey {
    kernel: &'static str,
    storage: (DType, DType),
    constants: Vec<(&'static str, u32)>,
    params: Vec<u8>,
    workgroups: [u32; 3],
    inputs: Vec<InputKey>,
    outputs: Vec<(Shape, DType)>,
}

#[derive(PartialEq, Eq, Hash)]
enum InputKey {
    Value { id: usize, writes: u32 },
    Buffer(wgpu::Buffer),
    SourceTexture(usize),
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
    uses: u32,
    owners: Vec<u16>,
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
    pushed: HashMap<StepKey, (usize, Vec<usize>)>,
    apart: bool,
    owner: u16,
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
            pushed: HashMap::new(),
            apart: false,
            owner: EVERYBODY,
        }
    }

    /// For plans of several methods: stages keep apart what another method may want as well, instead of fusing it with
    /// what only they need. A step that was pushed before is never pushed again, in any plan.
    pub fn keep_apart(mut self, on: bool) -> PlanBuilder {
        self.apart = on;
        self
    }

    /// For whom the steps that follow are asked for: a number that [`Step::owners`](crate::gpu::Step::owners) shows.
    pub fn set_owner(&mut self, owner: u16) {
        self.owner = owner;
    }

    /// True if stages should not fuse what another method may share.
    pub fn keeps_apart(&self) -> bool {
        self.apart
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
        let id = self.id(value);
        self.values[id].kept = true;
    }

    /// Where a value really is: an earlier one holds it if its step had been pushed before.
    fn id(&self, value: Value) -> usize {
        self.values[value.id].same_as.unwrap_or(value.id)
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

    /// A value that several steps write, each on top of what the one before left.
    ///
    /// # Errors
    /// As [`PlanBuilder::value`].
    pub fn state(&mut self, dims: &[u32], dtype: DType) -> Result<Value> {
        let value = self.value(dims, dtype)?;
        self.values[value.id].state = true;
        Ok(value)
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
        self.values.push(ValueInfo { value, origin, first: None, last: 0, kept: false, state: false, writes: 0, same_as: None });
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
        let key = self.key(&d);
        if let Some((step, outputs)) = key.as_ref().and_then(|key| self.pushed.get(key)) {
            let step = &mut self.steps[*step];
            step.uses += 1;
            if !step.owners.contains(&self.owner) {
                step.owners.push(self.owner);
            }
            for (value, &output) in written(&d).zip(outputs) {
                self.values[value.id].same_as = Some(output);
            }
            return Ok(());
        }
        let pipeline = self.gpu.pipelines.get(&self.gpu, d.kernel, variant, d.constants)?;
        let index = self.steps.len();
        if let Some(key) = key {
            let outputs = written(&d).map(|value| value.id).collect();
            self.pushed.insert(key, (index, outputs));
        }
        let mut operands = Vec::with_capacity(d.args.len());
        let mut bytes = 0;
        for (arg, binding) in d.args.iter().zip(&d.kernel.bindings[1..]) {
            operands.push(match *arg {
                Arg::Value(value) => {
                    let id = self.id(value);
                    let info = &mut self.values[id];
                    bytes += value.shape.elements() * value.dtype.bytes();
                    info.last = index;
                    if *binding == Binding::Write {
                        if info.writes > 0 && !info.state && matches!(info.origin, Origin::Temp) {
                            return Err(fail(format!("writes a value {} that another step wrote", value.shape)));
                        }
                        info.first.get_or_insert(index);
                        info.writes += 1;
                    } else if info.first.is_none() && matches!(info.origin, Origin::Temp) {
                        return Err(fail(format!("reads a value {} that no step wrote", value.shape)));
                    }
                    match &info.origin {
                        Origin::Temp => DraftOperand::Value(id),
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
            uses: 1,
            owners: vec![self.owner],
        });
        Ok(())
    }

    /// What makes a step the same as another; `None` if it does more than fill fresh values of this plan.
    fn key<P: bytemuck::Pod>(&self, d: &Dispatch<'_, P>) -> Option<StepKey> {
        let (mut inputs, mut outputs) = (Vec::with_capacity(d.args.len()), Vec::new());
        for (arg, binding) in d.args.iter().zip(&d.kernel.bindings[1..]) {
            match *arg {
                Arg::Value(value) if *binding == Binding::Write => {
                    if self.values[value.id].state || !matches!(self.values[value.id].origin, Origin::Temp) {
                        return None;
                    }
                    outputs.push((value.shape, value.dtype));
                }
                Arg::Value(value) => {
                    let id = self.id(value);
                    inputs.push(InputKey::Value { id, writes: self.values[id].writes });
                }
                Arg::Tensor(_) if *binding == Binding::Write => return None,
                Arg::Tensor(tensor) => inputs.push(InputKey::Buffer(tensor.buffer().clone())),
                Arg::SourceTexture(n) => inputs.push(InputKey::SourceTexture(n)),
                Arg::Target(_) => return None,
            }
        }
        Some(StepKey {
            kernel: d.kernel.name,
            storage: (d.act, d.weight),
            constants: d.constants.to_vec(),
            params: bytemuck::bytes_of(&d.params).to_vec(),
            workgroups: d.workgroups,
            inputs,
            outputs,
        })
    }

    /// Compiles what is not compiled yet, assigns slots, makes buffers and bind groups. `outputs` turns kept values into tensors; `named` holds what an
    /// inspecting plan kept.
    ///
    /// # Errors
    /// Out of memory, or a kernel that the driver refuses.
    pub fn finish<O>(self, outputs: impl FnOnce(&Resolved) -> Result<O>) -> Result<Plan<O>> {
        self.gpu.pipelines.compile(&self.gpu, self.steps.iter().map(|step| &step.pipeline))?;
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
        for v in &self.values {
            if let Some(same) = v.same_as {
                tensors[v.value.id] = tensors[same].clone();
            }
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
                Bound::PerSource { operands, made: Vec::new() }
            } else {
                Bound::Fixed(bind(&self.gpu, &draft.label, &draft.pipeline, (&params, offset, params_bytes), &operands, &[])?)
            };
            steps.push(Step {
                label: draft.label,
                kernel: draft.kernel.name,
                workgroups: draft.workgroups,
                flops: draft.flops,
                bytes: draft.bytes,
                uses: draft.uses,
                owners: draft.owners,
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
        Ok(Plan { gpu: self.gpu, steps, params, memory, source: self.source, sources: Sources::default(), outputs })
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

/// The values that a step fills, in the order of its bindings.
fn written<'a, P>(d: &'a Dispatch<'_, P>) -> impl Iterator<Item = Value> + 'a {
    d.args.iter().zip(&d.kernel.bindings[1..]).filter_map(|(arg, binding)| match *arg {
        Arg::Value(value) if *binding == Binding::Write => Some(value),
        _ => None,
    })
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
            Ok(gpu.made.buffers.count(buffer))
        },
    )?
}
