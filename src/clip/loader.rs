//! Tensors by their OpenAI name, in the storage that the precision asks for.

use crate::clip::block::Norm;
use crate::clip::names::Layout;
use crate::error::Result;
use crate::gpu::{Gpu, Tensor};
use crate::shape::DType;
use crate::weights::Weights;

/// Storage of weights and activations. Arithmetic is f32 in all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Weights as the file stores them (f16 stays f16; bf16, whose range f16 lacks, becomes f32), activations f32: exact.
    #[default]
    Stored,
    /// Weights and activations f32: the same numbers, more memory.
    F32,
    /// Weights and activations f16: half the memory and traffic, about 3 digits.
    F16,
}

impl Precision {
    /// Storage of activations.
    pub fn activations(self) -> DType {
        if self == Precision::F16 { DType::F16 } else { DType::F32 }
    }
}

/// Uploads a model's tensors.
#[derive(Debug)]
pub(crate) struct Loader<'a> {
    pub gpu: &'a Gpu,
    pub weights: &'a Weights,
    pub layout: Layout,
    pub precision: Precision,
    pub hint: &'a str,
}

impl Loader<'_> {
    /// A matrix that `matmul` or `patch_embed` reads.
    pub fn weight(&self, name: &str, shape: &[u32]) -> Result<Tensor> {
        let stored = self.layout.locate(name);
        let dtype = match self.precision {
            Precision::Stored => self.weights.exact_storage(&stored),
            Precision::F32 => DType::F32,
            Precision::F16 => DType::F16,
        };
        self.weights.upload(self.gpu, &stored, shape, dtype, self.hint)
    }

    /// A vector `[n]`, always f32: it costs nothing and keeps biases and gains exact.
    pub fn vector(&self, name: &str, n: u32) -> Result<Tensor> {
        self.table(name, &[n])
    }

    /// Any small tensor, always f32.
    pub fn table(&self, name: &str, shape: &[u32]) -> Result<Tensor> {
        self.weights.upload(self.gpu, &self.layout.locate(name), shape, DType::F32, self.hint)
    }

    /// Gain and bias of a layer norm.
    pub fn norm(&self, prefix: &str, width: u32, eps: f32) -> Result<Norm> {
        Ok(Norm { gain: self.vector(&format!("{prefix}.weight"), width)?, bias: self.vector(&format!("{prefix}.bias"), width)?, eps })
    }
}
