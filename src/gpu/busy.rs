//! How long a device worked: the time of its submits, overlaps counted once.

use crate::error::Result;
use crate::gpu::context::{Gpu, checked};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Submits between two readings; more are not timed.
const SUBMITS: u32 = 32;
/// WebGPU resolves queries to multiples of 256 bytes.
const STRIDE: u64 = wgpu::QUERY_RESOLVE_BUFFER_ALIGNMENT;

/// What measured the device's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusyClock {
    /// The device's own timestamps at both ends of each submit.
    Timestamps,
    /// The device has none between commands: from a submit, or from the end of the one before it, until it was seen to be
    /// done. Driver overhead is in it.
    SubmitToDone,
}

/// Measures submits on their way through a queue.
#[derive(Debug)]
pub(crate) struct Busy {
    clock: Clock,
    total: Arc<Mutex<Total>>,
}

#[derive(Debug)]
enum Clock {
    Timestamps {
        queries: wgpu::QuerySet,
        /// Each submit's two ticks, `STRIDE` apart.
        resolved: wgpu::Buffer,
        /// Nanoseconds of a tick.
        period: f64,
        /// Submits since the last reading.
        open: u32,
        /// Where the next one's ticks go.
        next: u32,
    },
    SubmitToDone,
}

#[derive(Debug, Default)]
struct Total {
    nanoseconds: f64,
    last_tick: u64,
    last_done: Option<Instant>,
}

impl Busy {
    pub fn new(gpu: &Gpu) -> Result<Busy> {
        let clock = match gpu.caps.encoder_timestamps {
            false => Clock::SubmitToDone,
            true => checked(
                &gpu.device,
                || "making timestamp queries".to_owned(),
                || Clock::Timestamps {
                    queries: gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
                        label: Some("lancet.busy"),
                        ty: wgpu::QueryType::Timestamp,
                        count: 2 * SUBMITS,
                    }),
                    resolved: gpu.made.buffers.count(gpu.device.create_buffer(&wgpu::BufferDescriptor {
                        label: Some("lancet.busy"),
                        size: STRIDE * u64::from(SUBMITS),
                        usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                        mapped_at_creation: false,
                    })),
                    period: f64::from(gpu.queue.get_timestamp_period()),
                    open: 0,
                    next: 0,
                },
            )?,
        };
        Ok(Busy { clock, total: Arc::default() })
    }

    pub fn clock(&self) -> BusyClock {
        match self.clock {
            Clock::Timestamps { .. } => BusyClock::Timestamps,
            Clock::SubmitToDone => BusyClock::SubmitToDone,
        }
    }

    /// Of all submits read so far.
    pub fn total(&self) -> Duration {
        Duration::from_secs_f64(self.total.lock().unwrap_or_else(PoisonError::into_inner).nanoseconds / 1e9)
    }

    /// At the head of an encoder.
    pub fn begin(&self, encoder: &mut wgpu::CommandEncoder) {
        if let Clock::Timestamps { queries, next, .. } = &self.clock {
            encoder.write_timestamp(queries, 2 * next);
        }
    }

    /// At its end.
    pub fn end(&mut self, encoder: &mut wgpu::CommandEncoder) {
        match &mut self.clock {
            Clock::Timestamps { queries, resolved, open, next, .. } => {
                encoder.write_timestamp(queries, 2 * *next + 1);
                encoder.resolve_query_set(queries, 2 * *next..2 * *next + 2, resolved, STRIDE * u64::from(*next));
                *next = (*next + 1) % SUBMITS;
                *open = (*open + 1).min(SUBMITS);
            }
            // A page has no such clock.
            Clock::SubmitToDone if cfg!(target_arch = "wasm32") => {}
            Clock::SubmitToDone => {
                let (total, start) = (self.total.clone(), Instant::now());
                encoder.on_submitted_work_done(move || {
                    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                    let done = Instant::now();
                    let start = total.last_done.map_or(start, |last| last.max(start));
                    total.nanoseconds += done.saturating_duration_since(start).as_secs_f64() * 1e9;
                    total.last_done = Some(done);
                });
            }
        }
    }

    /// Bytes that [`Busy::collect`] may write.
    pub const BYTES: u64 = 16 * SUBMITS as u64;

    /// Records copies of all ticks that are not read yet to `offset` in a staging buffer; their bytes.
    pub fn collect(&mut self, encoder: &mut wgpu::CommandEncoder, staging: &wgpu::Buffer, offset: u64) -> u64 {
        let Clock::Timestamps { resolved, open, next, .. } = &mut self.clock else { return 0 };
        let count = u64::from(std::mem::take(open));
        for i in 0..count {
            let slot = (u64::from(*next) + u64::from(SUBMITS) - count + i) % u64::from(SUBMITS);
            encoder.copy_buffer_to_buffer(resolved, slot * STRIDE, staging, offset + 16 * i, 16);
        }
        16 * count
    }

    /// Adds ticks that were read, in the order of the submits.
    pub fn add(&self, bytes: &[u8]) {
        let Clock::Timestamps { period, .. } = self.clock else { return };
        let mut total = self.total.lock().unwrap_or_else(PoisonError::into_inner);
        for ticks in bytemuck::pod_collect_to_vec::<u8, u64>(bytes).chunks_exact(2) {
            // A submit may begin before the one ahead of it ends.
            total.nanoseconds += ticks[1].saturating_sub(ticks[0].max(total.last_tick)) as f64 * period;
            total.last_tick = total.last_tick.max(ticks[1]);
        }
    }
}
