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
        refuse_lost(&gpu.device, "a readback")?;
        let staging = checked(
            &gpu.device,
            || format!("allocating a staging buffer of {bytes} bytes"),
            || {
                gpu.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("lancet.readback"),
                    size: bytes,
                    usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                })
            },
        )?;
        Ok(Readback { staging, tensor: tensor.clone() })
    }

    /// Records the copy; the mapping starts with the host's submit of `encoder`.
    ///
    /// # Errors
    /// None today; kept so that a busy staging buffer can be reported.
    pub fn record(&self, encoder: &mut wgpu::CommandEncoder) -> Result<Pending> {
        encoder.copy_buffer_to_buffer(self.tensor.buffer(), 0, &self.staging, 0, self.tensor.bytes());
        let (sender, mapped) = oneshot::channel();
        encoder.map_buffer_on_submit(&self.staging, wgpu::MapMode::Read, .., move |result| {
            // The receiver may be gone: a caller may drop a read that it no longer needs.
            let _ = sender.send(result);
        });
        Ok(Pending { staging: self.staging.clone(), dtype: self.tensor.dtype(), mapped })
    }
}

impl Pending {
    /// The raw bytes.
    ///
    /// # Errors
    /// The device was lost, or the encoder was never submitted.
    pub async fn bytes(self) -> Result<Vec<u8>> {
        // wgpu drops the callback in either case and does not tell which.
        let lost = || Error::DeviceLost { what: "a readback, or the copy was never submitted".into() };
        self.mapped.await.map_err(|_| lost())?.map_err(|_| lost())?;
        let bytes = self
            .staging
            .slice(..)
            .get_mapped_range()
            .map_err(|e| Error::Gpu { what: "a readback".into(), message: e.to_string() })?
            .to_vec();
        self.staging.unmap();
        Ok(bytes)
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
            DType::U32 => Err(Error::shape("read", "element type", "f32 or f16", dtype)),
        }
    }
}
