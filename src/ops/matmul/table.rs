//! Which kernel a product gets: rules tuned for the device first, then the tables that lancet comes with.

use crate::gpu::kernel::Kernel;
use crate::gpu::tuning::{Rule, parse_rules};
use crate::gpu::{Caps, Gpu};
use crate::ops::matmul::split;
use crate::ops::matmul::variant::{Variant, variants};
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

/// The choice for a product `[M, K] x [N, K]` of these element types; `shape` is M, N, K.
pub fn choose(gpu: &Gpu, shape: [u32; 3], act: DType, weight: DType) -> Choice {
    first_of(&gpu.caps, gpu.tuned.iter().chain(Class::of(&gpu.caps).rules()), shape, act, weight)
}

/// The choice of lancet's own table.
pub fn shipped(caps: &Caps, shape: [u32; 3], act: DType, weight: DType) -> Choice {
    first_of(caps, Class::of(caps).rules().iter(), shape, act, weight)
}

fn first_of<'a>(caps: &Caps, rules: impl Iterator<Item = &'a Rule>, shape: [u32; 3], act: DType, weight: DType) -> Choice {
    rules
        .filter(|rule| rule.fits(shape, act, weight))
        .map(|rule| Choice { kernel: rule.kernel, slices: rule.slices })
        .find(|choice| possible(caps, *choice, shape, act, weight))
        .unwrap_or(Choice::whole(variants()[0].kernel))
}

/// True if the device can run this choice on this product.
fn possible(caps: &Caps, choice: Choice, [m, n, k]: [u32; 3], act: DType, weight: DType) -> bool {
    let Some(variant) = Variant::of(choice.kernel) else { return false };
    let (slices, _) = split::cut(k / 4, choice.slices);
    let partial_bytes = 4 * u64::from(slices) * u64::from(m) * u64::from(n);
    variant.runs(caps, act, weight)
        && variant.grid(m, n, slices).1.iter().all(|&groups| groups <= caps.max_workgroups)
        && (slices == 1 || caps.check_binding("slices", partial_bytes).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::tuning::ANY;

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
