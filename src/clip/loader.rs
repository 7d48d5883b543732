//! Tensors by their OpenAI name, in the storage that the precision asks for.

use crate::clip::block::{Linear, Norm};
use crate::clip::names::Layout;
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Tensor};
use crate::shape::DType;
use crate::weights::{Weights, upload_floats};

/// Of every batch norm.
const BATCH_NORM_EPS: f64 = 1e-5;

/// Storage of weights and activations. Arithmetic is f32 in all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Weights as the file stores them (f16 stays f16; bf16, whose range f16 lacks, becomes f32; convolutions with a batch
    /// norm folded into them, too), activations f32: exact.
    #[default]
    Stored,
    /// Weights and activations f32: the same numbers, more memory.
    F32,
    /// Weights and activations f16: half the memory and traffic, about 3 digits.
    F16,
    /// As [`Precision::F16`], but the weights of linear layers, nearly all of a transformer, are int8 with a scale per output
    /// channel: half the memory of f16 once more. Heat maps of the bundled model stay within 0.02 of their range.
    Int8,
}

impl Precision {
    /// Storage of activations.
    pub fn activations(self) -> DType {
        match self {
            Precision::Stored | Precision::F32 => DType::F32,
            Precision::F16 | Precision::Int8 => DType::F16,
        }
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
            Precision::F16 | Precision::Int8 => DType::F16,
        };
        self.weights.upload(self.gpu, &stored, shape, dtype, self.hint)
    }

    /// A linear layer, `weight` `[n, k]` and `bias` `[n]`.
    pub fn linear(&self, weight: &str, bias: &str, [n, k]: [u32; 2]) -> Result<Linear> {
        if self.precision != Precision::Int8 {
            return Ok(Linear { weight: self.weight(weight, &[n, k])?, bias: self.vector(bias, n)? });
        }
        let (stored, at_bias) = (self.layout.locate(weight), self.layout.locate(bias));
        self.weights.check(&stored, &[n, k], self.hint)?;
        self.weights.check(&at_bias, &[n], self.hint)?;
        let (bytes, scales) = to_int8(&self.weights.floats(&stored, self.hint)?, k as usize);
        self.weights.done_with(&stored);
        let rows = [self.weights.floats(&at_bias, self.hint)?, scales].concat();
        Ok(Linear {
            weight: self.gpu.upload(weight, &[n, k], DType::I8, &bytes)?,
            bias: self.gpu.upload(bias, &[2, n], DType::F32, &rows)?,
        })
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

    /// A convolution without bias `[N, C, side, side]` and the batch norm behind it as one: weight `[N, side side C]`,
    /// channels last, and bias `[N]`. f32 unless all is to be f16: the product of a half and a factor is no half.
    pub fn conv(&self, conv: &str, norm: &str, [n, c, side]: [u32; 3]) -> Result<Linear> {
        let (weight, bias) = self.fold(conv, norm)?;
        let (c_len, taps) = (c as usize, (side * side) as usize);
        let kernels = weight.chunks_exact(c_len * taps);
        let last: Vec<f32> = kernels.flat_map(|k| (0..taps).flat_map(move |tap| (0..c_len).map(move |c| k[c * taps + tap]))).collect();
        let dtype = self.precision.activations();
        Ok(Linear {
            weight: upload_floats(self.gpu, conv, &[n, side * side * c], dtype, &last)?,
            bias: self.gpu.upload(norm, &[n], DType::F32, &bias)?,
        })
    }

    /// The first convolution `[N, 3, 3, 3]` and its batch norm as one: weight `[27, N]` and bias `[N]`, f32.
    pub fn stem(&self, conv: &str, norm: &str, n: u32) -> Result<Linear> {
        let (weight, bias) = self.fold(conv, norm)?;
        let turned: Vec<f32> = (0..27).flat_map(|tap| weight.iter().skip(tap).step_by(27).copied()).collect();
        Ok(Linear {
            weight: upload_floats(self.gpu, conv, &[27, n], DType::F32, &turned)?,
            bias: self.gpu.upload(norm, &[n], DType::F32, &bias)?,
        })
    }

    /// gain (conv(x) - mean) / sqrt(variance + eps) + bias = conv'(x) + bias': the two, weights in the file's order.
    fn fold(&self, conv: &str, norm: &str) -> Result<(Vec<f32>, Vec<f32>)> {
        let stored = self.layout.locate(conv);
        let part = |name: &str| self.weights.floats(&self.layout.locate(&format!("{norm}.{name}")), self.hint);
        let (gain, bias, mean, variance) = (part("weight")?, part("bias")?, part("running_mean")?, part("running_var")?);
        let factor: Vec<f64> = gain.iter().zip(&variance).map(|(&g, &v)| f64::from(g) / (f64::from(v) + BATCH_NORM_EPS).sqrt()).collect();
        let bad = factor.iter().position(|f| !f.is_finite());
        if let Some(index) = bad {
            return Err(Error::WeightNotFinite { name: format!("{norm} as a factor"), index, value: factor[index] as f32 });
        }
        let mut weight = self.weights.floats(&stored, self.hint)?;
        self.weights.done_with(&stored);
        let per_channel = weight.len() / factor.len();
        for (kernel, f) in weight.chunks_exact_mut(per_channel).zip(&factor) {
            kernel.iter_mut().for_each(|w| *w = (f64::from(*w) * f) as f32);
        }
        let shift = |((&b, &m), f): ((&f32, &f32), &f64)| (f64::from(b) - f64::from(m) * f) as f32;
        let bias = bias.iter().zip(&mean).zip(&factor).map(shift).collect();
        Ok((weight, bias))
    }
}

/// Rows of `k` weights as signed bytes, and what each row's bytes are to be multiplied by.
fn to_int8(weights: &[f32], k: usize) -> (Vec<i8>, Vec<f32>) {
    let largest = |row: &[f32]| row.iter().fold(0.0f32, |most, w| most.max(w.abs()));
    // A row of zeros has any scale.
    let scales: Vec<f32> = weights.chunks_exact(k).map(|row| largest(row) / 127.0).map(|s| if s > 0.0 { s } else { 1.0 }).collect();
    let rows = weights.chunks_exact(k).zip(&scales);
    (rows.flat_map(|(row, s)| row.iter().map(move |w| (w / s).round().clamp(-127.0, 127.0) as i8)).collect(), scales)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_within_half_a_step() {
        let weights = [0.5, -1.0, 0.25, 0.0, 0.0, 0.0, 1e-3, -2e-3, 3e-30];
        let (bytes, scales) = to_int8(&weights, 3);
        assert_eq!(bytes, [64, -127, 32, 0, 0, 0, 64, -127, 0]);
        for (i, w) in weights.iter().enumerate() {
            assert!((f32::from(bytes[i]) * scales[i / 3] - w).abs() <= scales[i / 3] * 0.5001, "{w}");
        }
    }
}
