//! Ops with several kernels: one for every device, one for CPU drivers, where a load costs as much as many multiply-adds and registers
//! are many, and one for tensor cores. A GPU could run most of those for CPU drivers, but their tiles are not for its registers.

use crate::error::{Error, Result};
use crate::gpu::kernel::Kernel;
use crate::gpu::{Caps, PlanBuilder};

/// The kernels of an op, the one for every device first.
pub(super) type Kernels = [&'static Kernel];

/// Those that a device can run. `fits`: the sizes and types are what one of the others takes.
pub(super) fn able(kernels: &'static Kernels, caps: &Caps, fits: impl Fn(&Kernel) -> bool) -> impl Iterator<Item = &'static Kernel> {
    let need = |k: &Kernel| k.need.is_none_or(|need| need.met(caps));
    kernels.iter().copied().filter(move |k| need(k) && (*k == kernels[0] || fits(k)))
}

/// What a device gets.
pub(super) fn preferred(kernels: &'static Kernels, caps: &Caps, fits: impl Fn(&Kernel) -> bool) -> &'static Kernel {
    let cpu = caps.device_type == wgpu::DeviceType::Cpu;
    // What needs subgroups alone is for CPU drivers.
    let suits = |k: &&Kernel| k.need.is_none_or(|need| need.is_cooperative() != cpu);
    able(kernels, caps, fits).filter(suits).last().unwrap_or(kernels[0])
}

/// Refuses a kernel that the device or the operands, as `operands` puts them, do not allow.
pub(super) fn check(
    kernels: &'static Kernels,
    b: &PlanBuilder,
    fits: impl Fn(&Kernel) -> bool,
    by: &'static Kernel,
    op: &'static str,
    operands: impl Fn() -> String,
) -> Result<()> {
    match able(kernels, &b.gpu().caps, fits).any(|k| k == by) {
        true => Ok(()),
        false => {
            Err(Error::shape(op, "kernel", format!("one that this device runs on {}", operands()), format!("{} ({:?})", by.name, by.need)))
        }
    }
}
