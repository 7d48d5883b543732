//! Plan once: ops push steps; `finish` turns lifetimes into slots and makes buffers, bind groups and parameters.

use crate::error::{Error, Result};
use crate::gpu::arena::{self, Lifetime};
use crate::gpu::binding::{Operand, SourceKind, bind};
use crate::gpu::context::{Gpu, checked};
use crate::gpu::kernel::{Binding, Kernel, Pipeline};
use crate::gpu::plan::{Bound, Memory, Plan, Sources, Step};
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
        let pipeline = self.gpu.pipelines.get(&self.gpu, d.kernel, variant, d.constants)?;
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
