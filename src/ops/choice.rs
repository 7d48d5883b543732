//! Ops with two kernels: one for every device, and one for CPU drivers, where a load costs as much as many multiply-adds and
//! registers are many. A GPU could run most of the second kind, but their tiles are not for its registers.

use crate::error::{Error, Result};
use crate::gpu::kernel::Kernel;
use crate::gpu::{Caps, PlanBuilder};

/// The kernels of an op, the one for every device first.
pub(super) type Kernels = [&'static Kernel; 2];

/// Those that a device can run. `fits`: the sizes are what the second one takes.
pub(super) fn able(kernels: &'static Kernels, caps: &Caps, fits: bool) -> impl Iterator<Item = &'static Kernel> {
    let need = |k: &Kernel| k.need.is_none_or(|need| need.met(caps));
    kernels.iter().copied().filter(move |k| need(k) && (fits || *k == kernels[0]))
}

/// What a device gets.
pub(super) fn preferred(kernels: &'static Kernels, caps: &Caps, fits: bool) -> &'static Kernel {
    let cpu = caps.device_type == wgpu::DeviceType::Cpu;
    able(kernels, caps, fits && cpu).last().unwrap_or(kernels[0])
}

/// Refuses a kernel that the device or the sizes, as `sizes` puts them, do not allow.
pub(super) fn check(
    kernels: &'static Kernels,
    b: &PlanBuilder,
    fits: bool,
    by: &'static Kernel,
    op: &'static str,
    sizes: impl Fn() -> String,
) -> Result<()> {
    match able(kernels, &b.gpu().caps, fits).any(|k| k == by) {
        true => Ok(()),
        false => {
            Err(Error::shape(op, "kernel", format!("one that this device runs on {}", sizes()), format!("{} ({:?})", by.name, by.need)))
        }
    }
}
