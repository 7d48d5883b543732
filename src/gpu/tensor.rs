//! Tensors that live on a device.

use crate::error::{Error, Result};
use crate::gpu::context::Gpu;
use crate::gpu::readback::{Pending, Readback};
use crate::shape::{DType, Shape};

/// A contiguous, row-major tensor at the start of a GPU buffer. Cloning shares the buffer.
///
/// The buffer's usages are `STORAGE | COPY_SRC | COPY_DST`; half elements lie two to a `u32`, the first in the low bits.
#[derive(Clone, Debug)]
pub struct Tensor {
    buffer: wgpu::Buffer,
    shape: Shape,
    dtype: DType,
}

impl Tensor {
    pub(crate) fn new(buffer: wgpu::Buffer, shape: Shape, dtype: DType) -> Tensor {
        Tensor { buffer, shape, dtype }
    }

    /// The buffer; the tensor starts at offset 0 and may be shorter than the buffer.
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }

    /// Dimensions, slowest first.
    pub fn shape(&self) -> &[u32] {
        self.shape.dims()
    }

    /// Element type in memory.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Bytes in use.
    pub fn bytes(&self) -> u64 {
        (self.shape.elements() * self.dtype.bytes()).next_multiple_of(4)
    }

    /// The same elements under another shape.
    pub(crate) fn reshape(&self, dims: &[u32]) -> Result<Tensor> {
        let shape = Shape::new(dims)?;
        if shape.elements() != self.shape.elements() {
            return Err(Error::shape("reshape", "elements", self.shape, shape));
        }
        Ok(Tensor::new(self.buffer.clone(), shape, self.dtype))
    }

    pub(crate) fn layout(&self) -> Shape {
        self.shape
    }

    /// Records a copy to the CPU. The future resolves once the host has submitted `encoder` and the device is done;
    /// natively somebody must poll the device meanwhile. For repeated reads keep a [`Readback`].
    ///
    /// # Errors
    /// Out of memory for the staging buffer.
    pub fn read(&self, gpu: &Gpu, encoder: &mut wgpu::CommandEncoder) -> Result<Pending> {
        Readback::new(gpu, self)?.record(encoder)
    }
}
