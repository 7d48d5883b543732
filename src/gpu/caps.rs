//! What a device can do, and what lancet asks an adapter for.

use crate::error::{Error, Result};

/// Features and limits found on a device. Kernels pick their variants from it.
#[derive(Clone, Debug)]
pub struct Caps {
    /// Adapter name, e.g. `NVIDIA GeForce RTX 4090` or `llvmpipe (LLVM 15.0.6, 256 bits)`.
    pub adapter: String,
    /// Driver name and version.
    pub driver: String,
    /// Vulkan, Metal, Dx12, BrowserWebGpu ...
    pub backend: wgpu::Backend,
    /// Discrete, integrated, virtual or CPU.
    pub device_type: wgpu::DeviceType,
    /// Largest buffer, bytes.
    pub max_buffer_bytes: u64,
    /// Largest storage binding, bytes.
    pub max_binding_bytes: u64,
    /// Workgroups per dimension of a dispatch.
    pub max_workgroups: u32,
    /// Alignment of uniform offsets, bytes.
    pub uniform_alignment: u64,
    /// Largest side of a 2-D texture, pixels.
    pub max_texture_side: u32,
    /// Half-precision arithmetic in shaders. Not needed: half *storage* works everywhere.
    pub shader_f16: bool,
    /// 64-bit integers in shaders.
    pub shader_int64: bool,
    /// Subgroup operations, with the sizes the device may use.
    pub subgroups: Option<[u32; 2]>,
    /// Cooperative matrices that kernels can use: tensor cores and their like.
    pub cooperative: Vec<Cooperative>,
    /// Timestamps around compute passes.
    pub timestamps: bool,
    /// Timestamps between any two commands: whole submits can be timed.
    pub encoder_timestamps: bool,
}

/// A kind of cooperative matrix that a kernel exists for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cooperative {
    /// 16 x 16 x 16, f16 times f16 summed in f32: NVIDIA, AMD.
    F16x16,
    /// 8 x 8 x 8, all f32: Apple.
    F32x8,
}

impl Cooperative {
    /// The kinds among what an adapter lists.
    pub fn of(listed: &[wgpu::CooperativeMatrixProperties]) -> Vec<Cooperative> {
        use wgpu::CooperativeScalarType::{F16, F32};
        let has =
            |side: u32, ab, cr| listed.iter().any(|p| [p.m_size, p.n_size, p.k_size] == [side; 3] && p.ab_type == ab && p.cr_type == cr);
        let kinds = [(Cooperative::F16x16, has(16, F16, F32)), (Cooperative::F32x8, has(8, F32, F32))];
        kinds.into_iter().filter(|k| k.1).map(|k| k.0).collect()
    }
}

impl Caps {
    /// Reads the capabilities off an open device. `listed` is what its adapter says of cooperative matrices: a device does
    /// not tell, and only its having the feature makes them usable.
    pub fn of(device: &wgpu::Device, listed: &[wgpu::CooperativeMatrixProperties]) -> Caps {
        let info = device.adapter_info();
        let limits = device.limits();
        let features = device.features();
        Caps {
            adapter: info.name.clone(),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            backend: info.backend,
            device_type: info.device_type,
            max_buffer_bytes: limits.max_buffer_size,
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            max_workgroups: limits.max_compute_workgroups_per_dimension,
            uniform_alignment: u64::from(limits.min_uniform_buffer_offset_alignment),
            max_texture_side: limits.max_texture_dimension_2d,
            shader_f16: features.contains(wgpu::Features::SHADER_F16),
            shader_int64: features.contains(wgpu::Features::SHADER_INT64),
            subgroups: features.contains(wgpu::Features::SUBGROUP).then_some([info.subgroup_min_size, info.subgroup_max_size]),
            cooperative: match features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
                true => Cooperative::of(listed),
                false => Vec::new(),
            },
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            encoder_timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS),
        }
    }

    /// Features and limits worth requesting from an adapter: optional features that exist, and its own sizes.
    /// lancet runs on a device made with `Limits::default()` and no feature, too.
    pub fn wants(adapter: &wgpu::Adapter) -> (wgpu::Features, wgpu::Limits) {
        let optional = wgpu::Features::TIMESTAMP_QUERY
            | wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS
            | wgpu::Features::SHADER_F16
            | wgpu::Features::SHADER_INT64
            | wgpu::Features::PIPELINE_CACHE
            | wgpu::Features::SUBGROUP;
        let theirs = adapter.limits();
        let limits = wgpu::Limits {
            max_buffer_size: theirs.max_buffer_size,
            max_storage_buffer_binding_size: theirs.max_storage_buffer_binding_size,
            max_texture_dimension_2d: theirs.max_texture_dimension_2d,
            ..wgpu::Limits::default().or_worse_values_from(&theirs)
        };
        (adapter.features() & optional, limits)
    }

    /// Cooperative matrices, if the adapter lists a kind that a kernel exists for. Kept apart from [`Caps::wants`]: the
    /// feature is experimental, and a device with it must be opened with `wgpu::ExperimentalFeatures::enabled()`.
    pub fn wants_experimental(adapter: &wgpu::Adapter) -> wgpu::Features {
        let wanted = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        let usable = adapter.features().contains(wanted) && !Cooperative::of(&adapter.cooperative_matrix_properties()).is_empty();
        if usable { wanted } else { wgpu::Features::empty() }
    }

    /// Checks that a tensor of `bytes` can be one buffer and one binding.
    ///
    /// # Errors
    /// [`Error::DeviceTooSmall`] names the limit.
    pub fn check_binding(&self, what: &str, bytes: u64) -> Result<()> {
        let too_small = |limit, have| Error::DeviceTooSmall {
            what: what.to_owned(),
            limit,
            need: bytes,
            have,
            hint: format!(
                "at most {:.1} MiB fit: use a smaller --size or image, fewer labels or a smaller batch",
                have as f64 / (1 << 20) as f64
            ),
        };
        if bytes > self.max_binding_bytes {
            return Err(too_small("max_storage_buffer_binding_size", self.max_binding_bytes));
        }
        if bytes > self.max_buffer_bytes {
            return Err(too_small("max_buffer_size", self.max_buffer_bytes));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_that_no_kernel_multiplies_do_not_count() {
        use wgpu::CooperativeScalarType::{F16, F32};
        let entry = |[m_size, n_size, k_size]: [u32; 3], ab_type, cr_type| wgpu::CooperativeMatrixProperties {
            m_size,
            n_size,
            k_size,
            ab_type,
            cr_type,
            saturating_accumulation: false,
        };
        // Intel's shape, f16 sums, and halves at Apple's size: near misses.
        let near = [entry([8, 16, 16], F16, F32), entry([16; 3], F16, F16), entry([8; 3], F16, F32)];
        assert_eq!(Cooperative::of(&near), []);
        let both = [entry([8; 3], F32, F32), near[1], entry([16; 3], F16, F32)];
        assert_eq!(Cooperative::of(&both), [Cooperative::F16x16, Cooperative::F32x8]);
    }
}
