//! Results to the CPU: a staging buffer and a future.

use crate::error::{Error, Result};
use crate::gpu::context::{Gpu, checked, refuse_lost};
use crate::gpu::tensor::Tensor;
use crate::shape::DType;
use futures_channel::oneshot;

/// A reusable staging buffer for one tensor. One read at a time.
#[derive(Debug)]
pub struct Readback {
    staging: wgpu::Buffer,
    tensor: Tensor,
}

/// A read that is on its way.
#[derive(Debug)]
#[must_use = "nothing is read unless this is awaited"]
pub struct Pending {
    staging: wgpu::Buffer,
    dtype: DType,
    mapped: oneshot::Receiver<Result<(), wgpu::BufferAsyncError>>,
}

impl Readback {
    /// Makes the staging buffer for `tensor`.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(gpu: &Gpu, tensor: &Tensor) -> Result<Readback> {
        let bytes = tensor.bytes();
        Ok(Readback { staging: staging(gpu, bytes)?, tensor: tensor.clone() })
    }

    /// Records the copy; the mapping starts with the host's submit of `encoder`.
    ///
    /// # Errors
    /// None today; kept so that a busy staging buffer can be reported.
    pub fn record(&self, encoder: &mut wgpu::CommandEncoder) -> Result<Pending> {
        encoder.copy_buffer_to_buffer(self.tensor.buffer(), 0, &self.staging, 0, self.tensor.bytes());
        Ok(Pending::of(encoder, &self.staging, self.tensor.dtype()))
    }
}

/// A buffer that results are copied into and the CPU reads from. The device must not be lost.
pub(crate) fn staging(gpu: &Gpu, bytes: u64) -> Result<wgpu::Buffer> {
    refuse_lost(&gpu.device, "a readback")?;
    checked(
        &gpu.device,
        || format!("allocating a staging buffer of {bytes} bytes"),
        || {
            gpu.made.buffers.count(gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("lancet.readback"),
                size: bytes,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            }))
        },
    )
}

impl Pending {
    /// The mapping of a staging buffer, from the submit of `encoder` on; what is copied into it is the caller's.
    pub(crate) fn of(encoder: &wgpu::CommandEncoder, staging: &wgpu::Buffer, dtype: DType) -> Pending {
        let (sender, mapped) = oneshot::channel();
        encoder.map_buffer_on_submit(staging, wgpu::MapMode::Read, .., move |result| {
            // The receiver may be gone: a caller may drop a read that it no longer needs.
            let _ = sender.send(result);
        });
        Pending { staging: staging.clone(), dtype, mapped }
    }

    /// The raw bytes.
    ///
    /// # Errors
    /// The device was lost, or the encoder was never submitted.
    pub async fn bytes(self) -> Result<Vec<u8>> {
        self.look(<[u8]>::to_vec).await
    }

    /// Shows the raw bytes without a copy of them.
    pub(crate) async fn look<R>(self, look: impl FnOnce(&[u8]) -> R) -> Result<R> {
        // wgpu drops the callback in either case and does not tell which.
        let lost = || Error::DeviceLost { what: "a readback, or the copy was never submitted".into() };
        self.mapped.await.map_err(|_| lost())?.map_err(|_| lost())?;
        let seen = {
            let lost = |e: wgpu::MapRangeError| Error::Gpu { what: "a readback".into(), message: e.to_string() };
            look(&self.staging.slice(..).get_mapped_range().map_err(lost)?)
        };
        self.staging.unmap();
        Ok(seen)
    }

    /// The elements as f32; halves are widened.
    ///
    /// # Errors
    /// As [`Pending::bytes`]; a `u32` tensor has no floats.
    pub async fn floats(self) -> Result<Vec<f32>> {
        let dtype = self.dtype;
        let bytes = self.bytes().await?;
        match dtype {
            DType::F32 => Ok(bytemuck::pod_collect_to_vec(&bytes)),
            DType::F16 => Ok(bytemuck::pod_collect_to_vec::<u8, half::f16>(&bytes).into_iter().map(half::f16::to_f32).collect()),
            DType::I8 | DType::U32 => Err(Error::shape("read", "element type", "f32 or f16", dtype)),
        }
    }
}
