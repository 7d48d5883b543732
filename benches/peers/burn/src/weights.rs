//! Where the weights come from: random numbers of sane size, or an f32 safetensors file.

use burn::tensor::{Device, Tensor, TensorData};

pub enum Weights {
    Random(u64),
    File { path: String, header: serde_json::Value, body: Vec<u8> },
}

impl Weights {
    pub fn random(seed: u64) -> Self {
        Weights::Random(seed)
    }

    pub fn open(path: &str) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
        let cut = || format!("{path}: not a safetensors file, or cut off");
        let length = bytes.first_chunk::<8>().ok_or_else(cut)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| cut())?;
        let end = length.checked_add(8).ok_or_else(cut)?;
        let header = bytes.get(8..end).ok_or_else(cut)?;
        let header = serde_json::from_slice(header).map_err(|error| format!("{path}: {error}"))?;
        let body = bytes[end..].to_vec();
        Ok(Weights::File { path: path.into(), header, body })
    }

    /// `count` numbers: read, or drawn evenly with this mean and standard deviation.
    fn numbers(&mut self, name: &str, shape: &[usize], mean: f32, deviation: f32) -> Result<Vec<f32>, String> {
        let count = shape.iter().product();
        match self {
            Weights::Random(state) => Ok((0..count)
                .map(|_| {
                    *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    let unit = (*state >> 40) as f32 / (1 << 24) as f32;
                    mean + (unit - 0.5) * deviation * 12f32.sqrt()
                })
                .collect()),
            Weights::File { path, header, body } => {
                let entry = &header[name];
                let list = |value: &serde_json::Value| -> Option<Vec<usize>> {
                    value.as_array()?.iter().map(|v| v.as_u64().map(|v| v as usize)).collect()
                };
                let found = list(&entry["shape"]).ok_or_else(|| format!("{path}: no tensor named {name}"))?;
                if found != shape || entry["dtype"] != "F32" {
                    let dtype = &entry["dtype"];
                    return Err(format!("{path}: {name} is {dtype} {found:?}, expected F32 {shape:?}"));
                }
                list(&entry["data_offsets"])
                    .filter(|range| range.len() == 2)
                    .and_then(|range| body.get(range[0]..range[1]))
                    .filter(|bytes| bytes.len() == 4 * count)
                    .map(|bytes| {
                        let words = bytes.as_chunks::<4>().0;
                        words.iter().map(|word| f32::from_le_bytes(*word)).collect()
                    })
                    .ok_or_else(|| format!("{path}: the data of {name} is missing or cut off"))
            }
        }
    }

    pub fn vector(&mut self, name: &str, length: usize, mean: f32, deviation: f32, device: &Device) -> Result<Tensor<1>, String> {
        let numbers = self.numbers(name, &[length], mean, deviation)?;
        Ok(Tensor::from_data(TensorData::new(numbers, [length]), device))
    }

    pub fn tensor<const D: usize>(&mut self, name: &str, shape: [usize; D], device: &Device) -> Result<Tensor<D>, String> {
        let numbers = self.numbers(name, &shape, 0.0, 0.02)?;
        Ok(Tensor::from_data(TensorData::new(numbers, shape), device))
    }

    /// Stored [out, in...], wanted [in, out] and contiguous.
    pub fn matrix_transposed(&mut self, name: &str, shape: &[usize], device: &Device) -> Result<Tensor<2>, String> {
        let stored = self.numbers(name, shape, 0.0, 0.02)?;
        let (rows, columns) = (shape[0], shape[1..].iter().product());
        let mut turned = vec![0f32; stored.len()];
        for (row, values) in stored.chunks_exact(columns).enumerate() {
            for (column, value) in values.iter().enumerate() {
                turned[column * rows + row] = *value;
            }
        }
        Ok(Tensor::from_data(TensorData::new(turned, [columns, rows]), device))
    }
}
