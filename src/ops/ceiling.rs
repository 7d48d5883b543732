//! What a device can do at most: kernels that do nothing but multiply-adds, and nothing but loads and stores.

use crate::error::{Error, Result};
use crate::gpu::builder::{Arg, Dispatch};
use crate::gpu::kernel::kernels::{copy_ceiling as copy_kernel, fma_ceiling as fma_kernel};
use crate::gpu::{Gpu, Plan, PlanBuilder, Source, Tensor, Value};
use crate::ops::{fold, fold_threads};
use crate::shape::{DType, Shape};
use std::sync::Arc;

/// Multiply-adds of one thread in one round: 8 chains of 32 links.
const LINKS: u64 = 8 * 32;
/// Threads of the measurement: several times what the largest GPUs keep resident.
const THREADS: u32 = 1 << 20;
/// Bytes read, and as many written: more than any cache, and no more than every device binds.
const COPY_BYTES: u32 = 128 << 20;
/// A sample is at least this long, so that neither a submit nor a clock that wakes up shows.
const SAMPLE_MS: f64 = 60.0;
const SAMPLES: usize = 7;
/// Chains then stay near `2 x`, far from subnormal numbers, which some processors slow down for.
const SCALE: f32 = 0.5;

/// The most that kernels reached on a device. What a real kernel reaches is a share of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ceilings {
    /// Floating-point operations per second in f32, by `fma_ceiling`.
    pub flops: f64,
    /// Bytes per second, read and written, by `copy_ceiling`.
    pub bytes: f64,
}

impl Ceilings {
    /// Measures both, best of several samples; takes a second or two. Submits and blocks: not for the web.
    ///
    /// # Errors
    /// The device fails, or 256 MiB cannot be allocated on it.
    pub fn measure(gpu: &Arc<Gpu>) -> Result<Ceilings> {
        Ceilings::measure_by(gpu, &mut FmaMeter::new(gpu)?)
    }

    /// As [`Ceilings::measure`], with a meter that is there already.
    ///
    /// # Errors
    /// As [`Ceilings::measure`].
    pub fn measure_by(gpu: &Arc<Gpu>, meter: &mut FmaMeter) -> Result<Ceilings> {
        let flops = (0..SAMPLES).try_fold(0.0, |best: f64, _| Ok::<_, Error>(best.max(meter.sample()?)))?;
        Ok(Ceilings { flops, bytes: measure_bytes(gpu)? })
    }

    /// The least time for so much work, milliseconds: whichever of arithmetic and traffic takes longer.
    pub fn floor_ms(&self, flops: u64, bytes: u64) -> f64 {
        (flops as f64 / self.flops).max(bytes as f64 / self.bytes) * 1e3
    }

    /// Whether arithmetic is what such work waits for: its operations per byte lie right of the roofline's ridge.
    pub fn compute_bound(&self, flops: u64, bytes: u64) -> bool {
        flops as f64 * self.bytes > bytes as f64 * self.flops
    }
}

/// The multiply-adds alone, ready to be measured between runs of something else: where a machine's speed changes from second
/// to second, only neighbours in time can be compared.
#[derive(Debug)]
pub struct FmaMeter {
    plan: Plan<Tensor>,
    flops: u64,
}

impl FmaMeter {
    /// Finds out how much work makes a sample of some 60 ms. Submits and blocks: not for the web.
    ///
    /// # Errors
    /// The device fails.
    pub fn new(gpu: &Arc<Gpu>) -> Result<FmaMeter> {
        let x = gpu.upload("ceiling", &[THREADS], DType::F32, &vec![0.75f32; THREADS as usize])?;
        let mut rounds = 1;
        loop {
            let plan = alone(gpu, &x, |b, x| fma_ceiling(b, "fma_ceiling", x, rounds, SCALE))?;
            let mut meter = FmaMeter { flops: plan.steps().iter().map(|s| s.flops).sum(), plan };
            // Some drivers compile at the first run.
            meter.sample()?;
            let ms = meter.flops as f64 / meter.sample()? * 1e3;
            if ms >= SAMPLE_MS || rounds >= 1 << 24 {
                return Ok(meter);
            }
            // Straight to the length wanted, in steps that a misread clock cannot turn into minutes.
            rounds *= (SAMPLE_MS * 1.2 / ms.max(1e-3)).ceil().clamp(2.0, 64.0) as u32;
        }
    }

    /// One sample: floating-point operations per second.
    ///
    /// # Errors
    /// The device fails.
    pub fn sample(&mut self) -> Result<f64> {
        match self.plan.run_on_device(Source::None)? {
            ms if ms > 0.0 => Ok(self.flops as f64 / ms * 1e3),
            _ => Err(Error::Gpu { what: "fma_ceiling".into(), message: "the device's clock stood still".into() }),
        }
    }
}

fn measure_bytes(gpu: &Arc<Gpu>) -> Result<f64> {
    let fill = |_, chunk: &mut [u8]| {
        chunk.fill(0x3f);
        Ok(())
    };
    let x = gpu.upload_with("ceiling", Shape::new(&[COPY_BYTES / 16, 4])?, DType::U32, fill)?;
    let mut plan = alone(gpu, &x, |b, x| copy_ceiling(b, "copy_ceiling", x))?;
    let timing = plan.profile(Source::None, SAMPLES)?.steps.swap_remove(0);
    match timing.best_ms > 0.0 {
        true => Ok(timing.bytes as f64 / timing.best_ms * 1e3),
        false => Err(Error::Gpu { what: timing.label, message: "the device's clock stood still".into() }),
    }
}

/// A plan of one step.
fn alone(gpu: &Arc<Gpu>, x: &Tensor, build: impl FnOnce(&mut PlanBuilder, Value) -> Result<Value>) -> Result<Plan<Tensor>> {
    let mut b = PlanBuilder::new(gpu);
    let x = b.import(x);
    let y = build(&mut b, x)?;
    b.keep(y);
    b.finish(|r| r.tensor(y))
}

/// Eight chains of multiply-adds per element of x `[T]`, f32, `32 rounds` links long, summed -> `[T]`.
///
/// # Errors
/// Another shape or element type.
pub fn fma_ceiling(b: &mut PlanBuilder, name: &str, x: Value, rounds: u32, scale: f32) -> Result<Value> {
    let count = match *x.shape().dims() {
        [count] if x.dtype() == DType::F32 => count,
        _ => return Err(Error::shape("fma_ceiling", "x", "f32 [T]", format!("{} {}", x.dtype(), x.shape()))),
    };
    let y = b.value(&[count], DType::F32)?;
    let workgroups = fold_threads(b, u64::from(count));
    b.dispatch(
        name,
        Dispatch {
            kernel: &fma_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: fma_kernel::Params { count, rounds, scale, ..Default::default() },
            args: &[Arg::Value(x), Arg::Value(y)],
            workgroups,
            flops: 2 * LINKS * u64::from(rounds) * u64::from(count),
        },
    )?;
    Ok(y)
}

/// A copy of x `[R, 4]`, words of any meaning -> `[R, 4]`.
///
/// # Errors
/// Another shape or element type.
pub fn copy_ceiling(b: &mut PlanBuilder, name: &str, x: Value) -> Result<Value> {
    let count = match *x.shape().dims() {
        [rows, 4] if x.dtype() == DType::U32 => rows,
        _ => return Err(Error::shape("copy_ceiling", "x", "u32 [R, 4]", format!("{} {}", x.dtype(), x.shape()))),
    };
    let y = b.value(&[count, 4], DType::U32)?;
    let workgroups = fold(b, u64::from(count).div_ceil(256));
    b.dispatch(
        name,
        Dispatch {
            kernel: &copy_kernel::KERNEL,
            act: DType::F32,
            weight: DType::F32,
            constants: &[],
            params: copy_kernel::Params { count, ..Default::default() },
            args: &[Arg::Value(x), Arg::Value(y)],
            workgroups,
            flops: 0,
        },
    )?;
    Ok(y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ridge_divides_compute_from_memory() {
        let c = Ceilings { flops: 100e9, bytes: 10e9 };
        assert_eq!(c.floor_ms(1_000_000_000, 1), 10.0);
        assert_eq!(c.floor_ms(1, 1_000_000_000), 100.0);
        assert!(c.compute_bound(11, 1) && !c.compute_bound(10, 1) && !c.compute_bound(0, 1));
    }
}
