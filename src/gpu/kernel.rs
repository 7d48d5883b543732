//! The generated kernel table and the pipelines made from it. The only file that includes generated code.

use crate::error::{Error, Result};
use crate::gpu::caps::{Caps, Cooperative};
use crate::gpu::context::{Gpu, checked};
use crate::gpu::pipeline_file::PipelineFile;
use crate::shape::DType;
use std::collections::HashMap;
#[cfg(not(target_arch = "wasm32"))]
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// One kernel of `shaders/`, as the build script reflected it.
#[derive(Debug)]
pub struct Kernel {
    /// File name without `.wgsl`; also the op, its reference, tests, benches and labels.
    pub name: &'static str,
    /// The op that this is a kernel of, where an op has several; else the name.
    pub family: &'static str,
    /// What a device must offer beyond WebGPU's default limits; `None` runs everywhere.
    pub need: Option<Need>,
    /// Kind of binding 0, 1, 2 ...
    pub bindings: &'static [Binding],
    /// Names of its `override` constants.
    pub overrides: &'static [&'static str],
    /// One per combination of element types.
    pub variants: &'static [Variant],
}

impl PartialEq for Kernel {
    fn eq(&self, other: &Kernel) -> bool {
        self.name == other.name
    }
}

impl Eq for Kernel {}

/// What some kernels need of a device beyond what all have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Subgroup operations, and no subgroup of fewer than 8 lanes.
    Subgroup,
    /// The same, and 64-bit integers.
    SubgroupInt64,
    /// Cooperative matrices of 16 x 16 x 16, f16 products summed in f32, by subgroups of up to 128 lanes.
    Cooperative16,
    /// Cooperative matrices of 8 x 8 x 8 in f32, likewise.
    Cooperative8,
}

impl Need {
    /// True if kernels multiply by cooperative matrices: tensor cores and their like.
    pub fn is_cooperative(self) -> bool {
        matches!(self, Need::Cooperative16 | Need::Cooperative8)
    }

    /// True if a device with these capabilities has it.
    pub fn met(self, caps: &Caps) -> bool {
        let [least, most] = caps.subgroups.unwrap_or_default();
        match self {
            // Eight lanes share their rows.
            Need::Subgroup => least >= 8,
            Need::SubgroupInt64 => least >= 8 && caps.shader_int64,
            // A workgroup of 128 threads is made of whole subgroups.
            Need::Cooperative16 => (1..=128).contains(&most) && caps.shader_f16 && caps.cooperative.contains(&Cooperative::F16x16),
            Need::Cooperative8 => (1..=128).contains(&most) && caps.cooperative.contains(&Cooperative::F32x8),
        }
    }
}

/// Kind of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// The uniform `Params`.
    Params,
    /// Storage buffer, read only.
    Read,
    /// Storage buffer, written.
    Write,
    /// Sampled texture, unfiltered.
    Texture,
    /// Write-only storage texture, rgba8unorm.
    StorageTexture,
}

/// One joined source.
#[derive(Debug)]
pub struct Variant {
    /// Storage of activations; `None` if the kernel has none.
    pub act: Option<DType>,
    /// Storage of weights; `None` if the kernel has none.
    pub weight: Option<DType>,
    /// WGSL, without directives.
    pub source: &'static str,
}

/// The kernels, one module each with its `Params` and `KERNEL`.
pub mod kernels {
    #![allow(missing_docs, reason = "field names are documented in the WGSL they are read from")]
    use super::{Binding, DType, Kernel, Need, Variant};
    include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
}

impl Kernel {
    /// The variant for these element types (ignored where the kernel has no such operand).
    pub fn variant(&self, act: DType, weight: DType) -> Option<usize> {
        self.variants.iter().position(|v| v.act.is_none_or(|a| a == act) && v.weight.is_none_or(|w| w == weight))
    }
}

/// A kernel as a plan wants it: its layout at once, the rest when the plan is finished.
#[derive(Debug)]
pub(crate) struct Pipeline {
    kernel: &'static Kernel,
    variant: &'static Variant,
    constants: Vec<(&'static str, u32)>,
    pub layout: wgpu::BindGroupLayout,
    compiled: OnceLock<wgpu::ComputePipeline>,
    /// Held while compiling: who comes second waits instead of compiling the same again.
    turn: Mutex<()>,
}

/// Override constants by name.
type Constants = Vec<(&'static str, u32)>;

type Key = (&'static str, usize, Constants);

/// Pipelines of a device, compiled once.
#[derive(Debug)]
pub(crate) struct Pipelines {
    known: Mutex<HashMap<Key, Arc<Pipeline>>>,
    cache: Option<wgpu::PipelineCache>,
    file: Option<PipelineFile>,
    rewrite: Option<Rewrite>,
}

/// What becomes of a kernel's source before it is compiled.
type Rewrite = fn(&str) -> String;

impl Pipelines {
    pub fn new(cache: Option<wgpu::PipelineCache>, file: Option<PipelineFile>, rewrite: Option<Rewrite>) -> Pipelines {
        Pipelines { known: Mutex::default(), cache, file, rewrite }
    }

    /// Number compiled so far.
    pub fn count(&self) -> usize {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().filter(|p| p.compiled.get().is_some()).count()
    }

    /// A pipeline that may not be compiled yet.
    pub fn get(&self, gpu: &Gpu, kernel: &'static Kernel, variant: usize, constants: &[(&'static str, u32)]) -> Result<Arc<Pipeline>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (kernel.name, variant, constants.to_vec());
        if let Some(pipeline) = known.get(&key) {
            return Ok(pipeline.clone());
        }
        let what = || format!("kernel {}", kernel.name);
        let source = kernel.variants.get(variant).ok_or_else(|| Error::Gpu { what: what(), message: format!("no variant {variant}") })?;
        let descriptor = wgpu::BindGroupLayoutDescriptor { label: Some(kernel.name), entries: &layout_entries(kernel) };
        let layout = checked(&gpu.device, what, || gpu.device.create_bind_group_layout(&descriptor))?;
        let (compiled, turn) = (OnceLock::new(), Mutex::default());
        let pipeline = Arc::new(Pipeline { kernel, variant: source, constants: constants.to_vec(), layout, compiled, turn });
        known.insert(key, pipeline.clone());
        Ok(pipeline)
    }

    /// Compiles those that are not compiled yet, on all cores where there are threads. Then saves the cache, if it has a file.
    pub fn compile<'a>(&self, gpu: &Gpu, pipelines: impl Iterator<Item = &'a Arc<Pipeline>>) -> Result<()> {
        let mut waiting: Vec<&Arc<Pipeline>> = Vec::new();
        for pipeline in pipelines.filter(|p| p.compiled.get().is_none()) {
            if !waiting.iter().any(|other| Arc::ptr_eq(other, pipeline)) {
                waiting.push(pipeline);
            }
        }
        if waiting.is_empty() {
            return Ok(());
        }
        each(&waiting, |pipeline| pipeline.compile(gpu, self.cache.as_ref(), self.rewrite))?;
        if let (Some(cache), Some(file)) = (&self.cache, &self.file) {
            file.save(cache);
        }
        Ok(())
    }
}

/// `work` on every item; the first error in their order.
#[cfg(not(target_arch = "wasm32"))]
fn each<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(items.len());
    if threads == 1 {
        return items.iter().try_for_each(work);
    }
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(i) else { return };
                    if let Err(error) = work(item) {
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        if failed.as_ref().is_none_or(|(first, _)| i < *first) {
                            *failed = Some((i, error));
                        }
                        return;
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), |(_, error)| Err(error))
}

/// A page has one thread.
#[cfg(target_arch = "wasm32")]
fn each<T>(items: &[T], work: impl Fn(&T) -> Result<()>) -> Result<()> {
    items.iter().try_for_each(work)
}

impl Pipeline {
    /// A finished plan's steps are compiled: `PlanBuilder::finish` did it.
    pub fn compiled(&self) -> &wgpu::ComputePipeline {
        self.compiled.get().unwrap_or_else(|| unreachable!("finish compiled kernel {}", self.kernel.name))
    }

    fn compile(&self, gpu: &Gpu, cache: Option<&wgpu::PipelineCache>, rewrite: Option<Rewrite>) -> Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.compiled.get().is_some() {
            return Ok(());
        }
        let (device, label) = (&gpu.device, Some(self.kernel.name));
        let pipeline = checked(
            device,
            || format!("compiling kernel {}", self.kernel.name),
            || {
                let source = rewrite.map_or(self.variant.source.into(), |rewrite| rewrite(self.variant.source).into());
                let source = wgpu::ShaderSource::Wgsl(source);
                let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label, source });
                let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                    label,
                    bind_group_layouts: &[Some(&self.layout)],
                    immediate_size: 0,
                });
                let constants: Vec<_> = self.constants.iter().map(|&(name, value)| (name, f64::from(value))).collect();
                device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label,
                    layout: Some(&layout),
                    module: &module,
                    entry_point: Some("main"),
                    compilation_options: wgpu::PipelineCompilationOptions {
                        constants: &constants,
                        // Every kernel writes its workgroup memory before reading it (tests run the checked build).
                        zero_initialize_workgroup_memory: false,
                    },
                    cache,
                })
            },
        )?;
        // Nobody else sets it: this is our turn.
        let _ = self.compiled.set(gpu.made.pipelines.count(pipeline));
        Ok(())
    }
}

fn layout_entries(kernel: &Kernel) -> Vec<wgpu::BindGroupLayoutEntry> {
    let buffer = |ty| wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None };
    let entry = |(i, binding): (usize, &Binding)| wgpu::BindGroupLayoutEntry {
        binding: i as u32,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: match binding {
            Binding::Params => buffer(wgpu::BufferBindingType::Uniform),
            Binding::Read => buffer(wgpu::BufferBindingType::Storage { read_only: true }),
            Binding::Write => buffer(wgpu::BufferBindingType::Storage { read_only: false }),
            Binding::Texture => wgpu::BindingType::Texture {
                sample_type: wgpu::TextureSampleType::Float { filterable: false },
                view_dimension: wgpu::TextureViewDimension::D2,
                multisampled: false,
            },
            Binding::StorageTexture => wgpu::BindingType::StorageTexture {
                access: wgpu::StorageTextureAccess::WriteOnly,
                format: wgpu::TextureFormat::Rgba8Unorm,
                view_dimension: wgpu::TextureViewDimension::D2,
            },
        },
        count: None,
    };
    kernel.bindings.iter().enumerate().map(entry).collect()
}
