//! The generated kernel table and the pipelines made from it. The only file that includes generated code.

use crate::error::{Error, Result};
use crate::gpu::caps::{Caps, Cooperative};
use crate::gpu::context::checked;
use crate::shape::DType;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

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
    /// Cooperative matrices of 16 x 16 x 16, f16 products summed in f32, by subgroups of up to 128 lanes.
    Cooperative16,
    /// Cooperative matrices of 8 x 8 x 8 in f32, likewise.
    Cooperative8,
}

impl Need {
    /// True if a device with these capabilities has it.
    pub fn met(self, caps: &Caps) -> bool {
        let [least, most] = caps.subgroups.unwrap_or_default();
        match self {
            // Eight lanes share their rows.
            Need::Subgroup => least >= 8,
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

/// A compiled kernel.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub layout: wgpu::BindGroupLayout,
    pub pipeline: wgpu::ComputePipeline,
}

/// Override constants by name.
pub(crate) type Constants = Vec<(&'static str, u32)>;

type Key = (&'static str, usize, Constants);

/// Pipelines of a device, compiled once.
#[derive(Debug, Default)]
pub(crate) struct Pipelines {
    made: Mutex<HashMap<Key, Arc<Pipeline>>>,
    cache: Option<wgpu::PipelineCache>,
}

impl Pipelines {
    pub fn new(cache: Option<wgpu::PipelineCache>) -> Pipelines {
        Pipelines { made: Mutex::default(), cache }
    }

    /// Number compiled so far.
    pub fn count(&self) -> usize {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub fn get(&self, device: &wgpu::Device, kernel: &'static Kernel, variant: usize, constants: &Constants) -> Result<Arc<Pipeline>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (kernel.name, variant, constants.clone());
        if let Some(pipeline) = made.get(&key) {
            return Ok(pipeline.clone());
        }
        let pipeline = Arc::new(self.compile(device, kernel, variant, constants)?);
        made.insert(key, pipeline.clone());
        Ok(pipeline)
    }

    fn compile(&self, device: &wgpu::Device, kernel: &'static Kernel, variant: usize, constants: &Constants) -> Result<Pipeline> {
        let source = kernel
            .variants
            .get(variant)
            .ok_or_else(|| Error::Gpu { what: format!("kernel {}", kernel.name), message: format!("no variant {variant}") })?;
        let label = Some(kernel.name);
        checked(
            device,
            || format!("compiling kernel {}", kernel.name),
            || {
                let module = device
                    .create_shader_module(wgpu::ShaderModuleDescriptor { label, source: wgpu::ShaderSource::Wgsl(source.source.into()) });
                let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &layout_entries(kernel) });
                let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                    label,
                    bind_group_layouts: &[Some(&layout)],
                    immediate_size: 0,
                });
                let constants: Vec<_> = constants.iter().map(|&(name, value)| (name, f64::from(value))).collect();
                let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label,
                    layout: Some(&pipeline_layout),
                    module: &module,
                    entry_point: Some("main"),
                    compilation_options: wgpu::PipelineCompilationOptions {
                        constants: &constants,
                        // Every kernel writes its workgroup memory before reading it (tests run the checked build).
                        zero_initialize_workgroup_memory: false,
                    },
                    cache: self.cache.as_ref(),
                });
                Pipeline { layout, pipeline }
            },
        )
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
