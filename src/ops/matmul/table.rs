//! Which kernel a product gets: rules tuned for the device first, then the tables that lancet comes with.

use crate::gpu::kernel::Kernel;
use crate::gpu::tuning::{Rule, parse_rules};
use crate::gpu::{Caps, Gpu};
use crate::ops::matmul::split;
use crate::ops::matmul::variant::{Variant, unit, variants};
use crate::shape::DType;
use std::sync::LazyLock;

/// A kernel of the family, and the parts that K is cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What runs.
    pub kernel: &'static Kernel,
    /// Slices of K, at most; above 1 their sums are added by `matmul_reduce`.
    pub slices: u32,
}

impl Choice {
    /// A kernel with K in one piece.
    pub fn whole(kernel: &'static Kernel) -> Choice {
        Choice { kernel, slices: 1 }
    }
}

/// Devices with a table of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Cpu,
    Browser,
    Apple,
    Nvidia,
    Generic,
}

impl Class {
    fn of(caps: &Caps) -> Class {
        match (caps.device_type, caps.backend) {
            (wgpu::DeviceType::Cpu, _) => Class::Cpu,
            (_, wgpu::Backend::BrowserWebGpu) => Class::Browser,
            (_, wgpu::Backend::Metal) => Class::Apple,
            _ if format!("{} {}", caps.adapter, caps.driver).to_lowercase().contains("nvidia") => Class::Nvidia,
            _ => Class::Generic,
        }
    }

    fn rules(self) -> &'static [Rule] {
        // Tested below: nothing outside this file can break them.
        static TABLES: LazyLock<[Vec<Rule>; 5]> = LazyLock::new(|| {
            TEXTS.map(|(_, text)| parse_rules(text).unwrap_or_else(|e| unreachable!("a shipped table does not parse: {e}")))
        });
        let at = TEXTS.iter().position(|(class, _)| *class == self).unwrap_or_default();
        &TABLES[at]
    }
}

static TEXTS: [(Class, &str); 5] = [
    (Class::Cpu, include_str!("defaults/cpu.txt")),
    (Class::Browser, include_str!("defaults/browser.txt")),
    (Class::Apple, include_str!("defaults/apple.txt")),
    (Class::Nvidia, include_str!("defaults/nvidia.txt")),
    (Class::Generic, include_str!("defaults/generic.txt")),
];

/// The choice for a product `[M, K] x [N, K]` of these element types; `shape` is M, N, K. `unit`: as in [`Variant::runs`].
pub fn choose(gpu: &Gpu, shape: [u32; 3], act: DType, weight: DType, unit: u32) -> Choice {
    first_of(&gpu.caps, gpu.tuned.iter().chain(Class::of(&gpu.caps).rules()), shape, act, weight, unit)
}

/// The choice of lancet's own table, for x used whole.
pub fn shipped(caps: &Caps, shape: [u32; 3], act: DType, weight: DType) -> Choice {
    first_of(caps, Class::of(caps).rules().iter(), shape, act, weight, unit([shape[1], shape[2]]))
}

fn first_of<'a>(caps: &Caps, rules: impl Iterator<Item = &'a Rule>, shape: [u32; 3], act: DType, weight: DType, unit: u32) -> Choice {
    rules
        .filter(|rule| rule.fits(shape, act, weight))
        .map(|rule| Choice { kernel: rule.kernel, slices: rule.slices })
        .find(|choice| possible(caps, *choice, shape, act, weight, unit))
        .unwrap_or(Choice::whole(variants()[0].kernel))
}

/// True if the device can run this choice on this product.
fn possible(caps: &Caps, choice: Choice, [m, n, k]: [u32; 3], act: DType, weight: DType, unit: u32) -> bool {
    let Some(variant) = Variant::of(choice.kernel) else { return false };
    let (slices, _) = split::cut(k / 4, choice.slices);
    let partial_bytes = 4 * u64::from(slices) * u64::from(m) * u64::from(n);
    variant.runs(caps, act, weight, unit)
        && variant.grid(m, n, slices).1.iter().all(|&groups| groups <= caps.max_workgroups)
        && (slices == 1 || caps.check_binding("slices", partial_bytes).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::caps::Cooperative;
    use crate::gpu::tuning::ANY;
    use wgpu::{Backend, DeviceType};

    fn caps(adapter: &str, backend: Backend, device_type: DeviceType) -> Caps {
        Caps {
            adapter: adapter.into(),
            driver: String::new(),
            backend,
            device_type,
            max_buffer_bytes: 1 << 30,
            max_binding_bytes: 1 << 30,
            max_workgroups: 65535,
            uniform_alignment: 256,
            max_texture_side: 8192,
            shader_f16: true,
            shader_int64: false,
            subgroups: Some([32, 32]),
            cooperative: Vec::new(),
            timestamps: true,
            encoder_timestamps: true,
        }
    }

    #[test]
    fn devices_by_kind() {
        let discrete = DeviceType::DiscreteGpu;
        for (adapter, backend, kind, class) in [
            ("llvmpipe (LLVM 15.0.6, 256 bits)", Backend::Vulkan, DeviceType::Cpu, Class::Cpu),
            ("SwiftShader", Backend::BrowserWebGpu, DeviceType::Cpu, Class::Cpu),
            ("", Backend::BrowserWebGpu, discrete, Class::Browser),
            ("Apple M2", Backend::Metal, DeviceType::IntegratedGpu, Class::Apple),
            ("NVIDIA GeForce RTX 4090", Backend::Vulkan, discrete, Class::Nvidia),
            ("AMD Radeon RX 7900 XTX", Backend::Dx12, discrete, Class::Generic),
        ] {
            assert_eq!(Class::of(&caps(adapter, backend, kind)), class, "{adapter}");
        }
    }

    #[test]
    fn tensor_cores_only_where_listed_and_never_for_f32() {
        let mut caps = caps("NVIDIA H200", Backend::Vulkan, DeviceType::DiscreteGpu);
        let name = |caps: &Caps, act, weight| shipped(caps, [197, 3072, 768], act, weight).kernel.name;
        assert_eq!(name(&caps, DType::F16, DType::F16), "matmul_workgroup_64");
        caps.cooperative = vec![Cooperative::F16x16];
        assert_eq!(name(&caps, DType::F16, DType::F16), "matmul_cooperative_16");
        assert_eq!(name(&caps, DType::F32, DType::F16), "matmul_workgroup_64");
        caps.subgroups = None;
        assert_eq!(name(&caps, DType::F16, DType::F16), "matmul_workgroup_64");
    }

    #[test]
    fn what_a_dispatch_or_a_binding_cannot_hold_is_not_chosen() {
        let mut caps = caps("a GPU", Backend::Vulkan, DeviceType::DiscreteGpu);
        let [m, n, k] = [64, 768, 3072];
        assert_eq!(shipped(&caps, [m, n, k], DType::F32, DType::F32).slices, 4);
        caps.max_binding_bytes = u64::from(4 * m * n * 3);
        assert_eq!(shipped(&caps, [m, n, k], DType::F32, DType::F32).slices, 2, "the next rule that fits");
        caps.max_workgroups = 3;
        assert_eq!(shipped(&caps, [m, n, k], DType::F32, DType::F32), Choice::whole(variants()[0].kernel), "the last resort");
    }

    #[test]
    fn every_table_parses_and_ends_with_what_fits_all() {
        for (class, _) in TEXTS {
            let last = class.rules().last().unwrap_or_else(|| panic!("{class:?}: empty"));
            assert_eq!((last.act, last.weight, &last.m, &last.n, &last.k), (None, None, &ANY, &ANY, &ANY), "{class:?}");
            assert_eq!(last.kernel.need, None, "{class:?}: the last rule must run everywhere");
        }
    }

    #[test]
    fn a_table_survives_being_written() {
        for (class, _) in TEXTS {
            let text: String = class.rules().iter().map(|r| format!("{r}\n")).collect();
            assert_eq!(parse_rules(&text).as_deref(), Ok(class.rules()), "{class:?}:\n{text}");
        }
    }
}
