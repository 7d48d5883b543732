//! Ops with two kernels: one for every device, and one for CPU drivers, where a load costs as much as many multiply-adds and
//! registers are many. A GPU could run most of the second kind, but their tiles are not for its registers.

use crate::gpu::Caps;
use crate::gpu::kernel::Kernel;

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
