//! The engine: a device, its own or the host's, and the pipelines compiled on it.

use crate::error::{Error, Result};
use crate::gpu::caps::Cooperative;
use crate::gpu::kernel::Pipelines;
use crate::gpu::pipeline_file::PipelineFile;
use crate::gpu::{Caps, Gpu, Tuned};
use std::path::PathBuf;
use std::sync::Arc;

/// How to open an engine.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Part of an adapter's name, or its number in [`Engine::adapters`]. Default: the environment variable
    /// `LANCET_ADAPTER`, else the best by kind: discrete, integrated, virtual, CPU.
    pub adapter: Option<String>,
    /// A pipeline cache of the host's (Vulkan).
    pub pipeline_cache: Option<wgpu::PipelineCache>,
    /// A folder where [`Engine::new`] keeps a pipeline cache of its own between processes, a file per kind of GPU, where the driver
    /// lets it (Vulkan). A file that cannot be read is ignored and replaced. Not used with `pipeline_cache`.
    pub pipeline_folder: Option<PathBuf>,
    /// Open the device with WebGPU's default limits and no optional feature, as the weakest host would.
    pub portable: bool,
    /// Which kernels run where several could: lancet's own tables by default. A file that `lancet tune` wrote holds what
    /// was measured on this very device; nothing is ever measured unasked.
    pub tuned: Tuned,
    /// For [`Engine::from_device`]: `adapter.cooperative_matrix_properties()` of a device that was opened with
    /// [`Engine::wants_experimental`]. A device does not tell which matrices it can multiply.
    pub cooperative: Vec<wgpu::CooperativeMatrixProperties>,
    /// For tests of kernels that the device at hand cannot run, with [`Engine::from_device`].
    #[doc(hidden)]
    pub emulation: Option<Emulation>,
}

/// Kernels are rewritten before they are compiled; what [`Options::cooperative`] lists counts as there, because the rewriting replaces it.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Emulation {
    /// WGSL in, WGSL out.
    pub rewrite: fn(&str) -> String,
    /// Lanes of a subgroup that the rewriting makes.
    pub lanes: u32,
}

/// A GPU device with lancet's kernels. Cheap to clone; everything made from it shares its pipelines.
///
/// Dropping it frees lancet's buffers only; a host's device stays alive.
#[derive(Clone, Debug)]
pub struct Engine {
    gpu: Arc<Gpu>,
}

impl Engine {
    /// Opens a device of its own.
    ///
    /// # Errors
    /// [`Error::NoAdapter`], the driver refuses the device, or [`Error::Tuning`].
    pub async fn new(options: Options) -> Result<Engine> {
        let adapter = choose(&options).await?;
        let (features, limits) = match options.portable {
            true => (wgpu::Features::empty(), wgpu::Limits::default()),
            false => Caps::wants(&adapter),
        };
        let experimental = if options.portable { wgpu::Features::empty() } else { Caps::wants_experimental(&adapter) };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("lancet"),
            required_features: features | experimental,
            required_limits: limits,
            experimental_features: match experimental.is_empty() {
                true => wgpu::ExperimentalFeatures::disabled(),
                // SAFETY: asks for care with unfinished features. Cooperative matrices are used by three kernels, whose
                // loads and stores stay inside their workgroup's own memory.
                false => unsafe { wgpu::ExperimentalFeatures::enabled() },
            },
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        };
        let (device, queue) = adapter
            .request_device(&descriptor)
            .await
            .map_err(|e| Error::Device { adapter: adapter.get_info().name.clone(), message: e.to_string() })?;
        let (cache, file) = match (options.pipeline_cache, options.pipeline_folder) {
            (None, Some(folder)) => PipelineFile::open(&device, &folder).unzip(),
            (cache, _) => (cache, None),
        };
        let caps = Caps::of(&device, &adapter.cooperative_matrix_properties());
        Ok(Engine { gpu: Arc::new(Gpu::new(device, queue, caps, options.tuned, Pipelines::new(cache, file, None))?) })
    }

    /// Uses the host's device and queue. lancet never installs a handler on it, and submits only in methods that say so.
    ///
    /// # Errors
    /// A device below WebGPU's default limits for compute, or a broken table of tuned kernels.
    pub fn from_device(device: &wgpu::Device, queue: &wgpu::Queue, options: Options) -> Result<Engine> {
        let have = device.limits();
        let need = wgpu::Limits::default();
        let checks = [
            ("max_storage_buffers_per_shader_stage", have.max_storage_buffers_per_shader_stage, need.max_storage_buffers_per_shader_stage),
            ("max_compute_workgroup_storage_size", have.max_compute_workgroup_storage_size, need.max_compute_workgroup_storage_size),
            (
                "max_compute_invocations_per_workgroup",
                have.max_compute_invocations_per_workgroup,
                need.max_compute_invocations_per_workgroup,
            ),
        ];
        for (limit, have, need) in checks {
            if have < need {
                return Err(Error::DeviceTooSmall {
                    what: "the host's device".into(),
                    limit,
                    need: u64::from(need),
                    have: u64::from(have),
                    hint: "request at least wgpu::Limits::default(), or what Engine::wants returns".into(),
                });
            }
        }
        let mut caps = Caps::of(device, &options.cooperative);
        if let Some(emulation) = options.emulation {
            caps.cooperative = Cooperative::of(&options.cooperative);
            caps.subgroups = Some([emulation.lanes; 2]);
        }
        let pipelines = Pipelines::new(options.pipeline_cache, None, options.emulation.map(|e| e.rewrite));
        Ok(Engine { gpu: Arc::new(Gpu::new(device.clone(), queue.clone(), caps, options.tuned, pipelines)?) })
    }

    /// Features and limits that a host may request for lancet; none beyond `Limits::default()` is required.
    pub fn wants(adapter: &wgpu::Adapter) -> (wgpu::Features, wgpu::Limits) {
        Caps::wants(adapter)
    }

    /// What a host may request besides: cooperative matrices, where the adapter has a kind that lancet uses. wgpu calls the
    /// feature experimental, so the device must be opened with `wgpu::ExperimentalFeatures::enabled()`, and
    /// [`Options::cooperative`] must say what the adapter lists.
    pub fn wants_experimental(adapter: &wgpu::Adapter) -> wgpu::Features {
        Caps::wants_experimental(adapter)
    }

    /// What was found on the device.
    pub fn caps(&self) -> &Caps {
        &self.gpu.caps
    }

    /// The device, its queue and its kernels.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// All adapters, best first; the order is what a number in [`Options::adapter`] counts.
    pub async fn adapters() -> Vec<wgpu::Adapter> {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::from_env().unwrap_or(wgpu::Backends::PRIMARY);
        let mut adapters = wgpu::Instance::new(descriptor).enumerate_adapters(wgpu::Backends::all()).await;
        adapters.sort_by_key(|a| rank(a.get_info().device_type));
        adapters
    }
}

/// Discrete before integrated before virtual before CPU.
fn rank(kind: wgpu::DeviceType) -> u8 {
    match kind {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    }
}

async fn choose(options: &Options) -> Result<wgpu::Adapter> {
    if cfg!(target_arch = "wasm32") {
        // A page has one adapter and cannot list them.
        let request = wgpu::RequestAdapterOptions { power_preference: wgpu::PowerPreference::HighPerformance, ..Default::default() };
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        return instance.request_adapter(&request).await.map_err(|e| Error::NoAdapter { wanted: String::new(), found: e.to_string() });
    }
    let wanted = options.adapter.clone().or_else(|| std::env::var("LANCET_ADAPTER").ok()).filter(|w| !w.is_empty());
    let adapters = Engine::adapters().await;
    let names: Vec<String> = adapters.iter().map(|a| a.get_info().name.clone()).collect();
    let index = match &wanted {
        None => (!adapters.is_empty()).then_some(0),
        Some(w) => match w.parse::<usize>() {
            Ok(number) => (number < adapters.len()).then_some(number),
            Err(_) => names.iter().position(|n| n.to_lowercase().contains(&w.to_lowercase())),
        },
    };
    let found = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    index
        .and_then(|i| adapters.into_iter().nth(i))
        .ok_or_else(|| Error::NoAdapter { wanted: wanted.map(|w| format!(" matching \"{w}\"")).unwrap_or_default(), found })
}
