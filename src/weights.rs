//! Safetensors files: checked, memory-mapped, straight to the GPU. Lives on the CPU and survives a lost device.

mod export;

pub use export::{Export, StoreAs};

use crate::error::{Error, Result};
use crate::gpu::{Gpu, Tensor};
use crate::shape::{DType, Shape};
use safetensors::Dtype as FileType;
use safetensors::{SafeTensorError, SafeTensors};
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A safetensors file, opened and checked; tensors are read when asked for.
#[derive(Clone, Debug)]
pub struct Weights {
    path: PathBuf,
    data: Data,
    tensors: Arc<BTreeMap<String, Entry>>,
    metadata: Arc<BTreeMap<String, String>>,
}

#[derive(Clone, Debug)]
enum Data {
    Mapped(Arc<memmap2::Mmap>),
    Bytes(Arc<[u8]>),
}

#[derive(Clone, Debug)]
struct Entry {
    dtype: FileType,
    shape: Vec<u32>,
    range: Range<usize>,
}

/// How the parts of a model tensor lie in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// As it is, under this name.
    Plain(String),
    /// Several tensors, one below the other: q, k and v of the transformers layout.
    Rows(Vec<String>),
    /// A matrix stored as its transpose: the projections of the OpenAI layout.
    Transposed(String),
    /// Behind dimensions of 1: the class token and the positions of timm.
    Unbatched(String),
    /// A matrix or vector, and a vector `[n]` that its n rows are multiplied by: timm's layer scale.
    Scaled([String; 2]),
}

impl Stored {
    /// Names of the parts in the file, in order; never empty.
    pub fn names(&self) -> &[String] {
        match self {
            Stored::Plain(name) | Stored::Transposed(name) | Stored::Unbatched(name) => std::slice::from_ref(name),
            Stored::Rows(names) => names,
            Stored::Scaled(names) => names,
        }
    }
}

impl Weights {
    /// Opens a `.safetensors` file and checks its header against its size.
    ///
    /// # Errors
    /// No such file, not a safetensors file, truncated, or padded.
    pub fn open(path: impl AsRef<Path>) -> Result<Weights> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        // SAFETY: the map is read-only. If another process changes or truncates the file meanwhile, reads see other
        // bytes or fault, as with any mapped file; the documentation of every safetensors reader carries the same caveat.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|e| Error::io(path, e))?;
        Weights::parse(path.to_owned(), Data::Mapped(Arc::new(map)))
    }

    /// From memory: the web, or weights embedded in a program.
    ///
    /// # Errors
    /// As [`Weights::open`].
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>) -> Result<Weights> {
        Weights::parse(PathBuf::from("(memory)"), Data::Bytes(bytes.into()))
    }

    fn parse(path: PathBuf, data: Data) -> Result<Weights> {
        let bad = |message: String| Error::Safetensors { path: path.clone(), message };
        let bytes: &[u8] = data.bytes();
        // The header's offsets are checked against the file's size there, too.
        let (header, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| {
            bad(match e {
                SafeTensorError::MetadataIncompleteBuffer => "truncated, or longer than its header says; fetch it again".into(),
                e => format!("{e} (a .pt or .bin file must be converted first)"),
            })
        })?;
        let start = header + 8;
        let mut tensors = BTreeMap::new();
        for (name, info) in metadata.tensors() {
            let shape = info.shape.iter().map(|&d| u32::try_from(d)).collect::<Result<Vec<u32>, _>>();
            let shape = shape.map_err(|_| bad(format!("\"{name}\" has a dimension beyond 2^32: {:?}", info.shape)))?;
            let range = start + info.data_offsets.0..start + info.data_offsets.1;
            // Wrappers that training frameworks leave around the names.
            let mut clean = name.as_str();
            while let Some(inner) = ["state_dict.", "module.", "_orig_mod."].iter().find_map(|wrapper| clean.strip_prefix(wrapper)) {
                clean = inner;
            }
            tensors.insert(clean.to_owned(), Entry { dtype: info.dtype, shape, range });
        }
        let words = metadata.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
        drop(metadata);
        Ok(Weights { path, data, tensors: Arc::new(tensors), metadata: Arc::new(words) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.data.bytes().len() as u64
    }

    /// The file's `__metadata__`: words for people and programs.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Dimensions of a tensor, if it is there.
    pub fn shape(&self, name: &str) -> Option<&[u32]> {
        self.tensors.get(name).map(|e| e.shape.as_slice())
    }

    /// The raw bytes of a tensor, if it is there: for fingerprints.
    pub fn raw(&self, name: &str) -> Option<&[u8]> {
        self.tensors.get(name).map(|e| &self.data.bytes()[e.range.clone()])
    }

    fn entry(&self, name: &str, hint: &str) -> Result<&Entry> {
        let entry = self.tensors.get(name).ok_or_else(|| Error::MissingTensor { name: name.to_owned(), hint: hint.to_owned() })?;
        match entry.dtype {
            FileType::F32 | FileType::F16 | FileType::BF16 => Ok(entry),
            other => Err(Error::TensorType { name: name.to_owned(), got: format!("{other:?}") }),
        }
    }

    /// Checks name, element type and shape without reading the data.
    ///
    /// # Errors
    /// Missing, another shape, another element type.
    pub fn check(&self, stored: &Stored, shape: &[u32], hint: &str) -> Result<()> {
        let one = |name: &str, shape: &[u32]| {
            let entry = self.entry(name, hint)?;
            if entry.shape != shape {
                return Err(Error::TensorShape {
                    name: name.to_owned(),
                    expected: format!("{shape:?}"),
                    got: format!("{:?}", entry.shape),
                    hint: hint.to_owned(),
                });
            }
            Ok(())
        };
        match stored {
            Stored::Plain(name) => one(name, shape),
            Stored::Transposed(name) => one(name, &[shape[1], shape[0]]),
            Stored::Unbatched(name) => {
                let rank = self.shape(name).map_or(0, <[u32]>::len).saturating_sub(shape.len());
                one(name, &[vec![1; rank], shape.to_vec()].concat())
            }
            Stored::Scaled([name, scale]) => one(name, shape).and_then(|()| one(scale, &shape[..1])),
            Stored::Rows(names) => {
                let mut part = shape.to_vec();
                part[0] /= names.len() as u32;
                names.iter().try_for_each(|name| one(name, &part))
            }
        }
    }

    /// A small tensor as f32 on the CPU. Halves are widened, exactly.
    ///
    /// # Errors
    /// Missing, or NaN / infinity.
    pub fn floats(&self, stored: &Stored, hint: &str) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        for name in stored.names() {
            let entry = self.entry(name, hint)?;
            let bytes = &self.data.bytes()[entry.range.clone()];
            let mut part = vec![0.0; bytes.len() * 8 / entry.dtype.bitsize()];
            widen(bytes, entry.dtype, &mut part);
            check_finite(&part, name, 0)?;
            all.extend(part);
        }
        if let Stored::Transposed(name) = stored {
            let shape = &self.entry(name, hint)?.shape;
            all = transpose(&all, shape[0] as usize, shape[1] as usize);
        }
        if let Stored::Scaled([name, scale]) = stored {
            let count = self.entry(scale, hint)?.shape.iter().product::<u32>() as usize;
            let factors = all.split_off(all.len().saturating_sub(count));
            let width = (all.len() / count.max(1)).max(1);
            for (row, &factor) in all.chunks_exact_mut(width).zip(&factors) {
                row.iter_mut().for_each(|w| *w = (f64::from(*w) * f64::from(factor)) as f32);
            }
            check_finite(&all, name, 0)?;
        }
        Ok(all)
    }

    /// Some rows of a matrix `[R, C]` as f32: the tokens in use out of a table that may be too large to bind.
    ///
    /// # Errors
    /// Missing, a row beyond the end, or NaN / infinity.
    pub fn rows(&self, name: &str, rows: &[u32], hint: &str) -> Result<Vec<f32>> {
        let entry = self.entry(name, hint)?;
        let &[count, width] = entry.shape.as_slice() else {
            return Err(Error::shape("weights", "table", "[rows, width]", format!("{:?}", entry.shape)));
        };
        let row_bytes = width as usize * entry.dtype.bitsize() / 8;
        let bytes = &self.data.bytes()[entry.range.clone()];
        let mut all = vec![0.0; rows.len() * width as usize];
        for (&row, out) in rows.iter().zip(all.chunks_exact_mut(width as usize)) {
            if row >= count {
                return Err(Error::shape("weights", "row", format!("below {count}"), row));
            }
            widen(&bytes[row as usize * row_bytes..][..row_bytes], entry.dtype, out);
            check_finite(out, name, row as usize * width as usize)?;
        }
        Ok(all)
    }

    /// The storage that keeps every bit of this tensor: f16 for F16, f32 for F32 and BF16 (whose range f16 lacks).
    pub fn exact_storage(&self, stored: &Stored) -> DType {
        match self.tensors.get(&stored.names()[0]).map(|e| e.dtype) {
            // The product of a half and a factor is no half.
            Some(FileType::F16) if !matches!(stored, Stored::Scaled(_)) => DType::F16,
            _ => DType::F32,
        }
    }

    /// Uploads a tensor as `dtype`, straight from the file in chunks; pages already read are given back to the system.
    ///
    /// # Errors
    /// Missing, misshapen, NaN / infinity (also: beyond f16's range when narrowing), too large for the device.
    pub fn upload(&self, gpu: &Gpu, stored: &Stored, shape: &[u32], dtype: DType, hint: &str) -> Result<Tensor> {
        self.check(stored, shape, hint)?;
        let names = stored.names();
        let label = names[0].as_str();
        if let Stored::Transposed(_) | Stored::Scaled(_) = stored {
            // One matrix at a time: turned or scaled on the CPU.
            let floats = self.floats(stored, hint)?;
            return upload_floats(gpu, label, shape, dtype, &floats);
        }
        let per_part = Shape::new(shape)?.elements() as usize / names.len();
        let size = dtype.bytes() as usize;
        let mut scratch = Vec::new();
        let tensor = gpu.upload_with(label, Shape::new(shape)?, dtype, |offset, chunk| {
            let (mut at, end) = (offset / size, (offset + chunk.len()) / size);
            let mut out = chunk;
            while at < end {
                let (part, inside) = (at / per_part, at % per_part);
                let count = (per_part - inside).min(end - at);
                let entry = self.entry(&names[part], hint)?;
                let element = entry.dtype.bitsize() / 8;
                let bytes = &self.data.bytes()[entry.range.start + inside * element..][..count * element];
                let (now, rest) = out.split_at_mut(count * size);
                scratch.resize(count, 0.0);
                widen(bytes, entry.dtype, &mut scratch);
                check_finite(&scratch, &names[part], inside)?;
                narrow(&scratch, dtype, now, &names[part])?;
                out = rest;
                at += count;
            }
            Ok(())
        })?;
        self.done_with(stored);
        Ok(tensor)
    }

    /// Lets the system drop a tensor's pages: it was read into something else.
    pub(crate) fn done_with(&self, stored: &Stored) {
        for entry in stored.names().iter().filter_map(|name| self.tensors.get(name)) {
            self.release(&entry.range);
        }
    }

    /// Lets the system drop the pages of a range that is on the GPU now: peak memory stays near the file's size.
    fn release(&self, range: &Range<usize>) {
        #[cfg(unix)]
        if let Data::Mapped(map) = &self.data {
            // SAFETY: the mapping is read-only and backed by the file, so dropped pages come back from it unchanged.
            // A failure costs memory only.
            let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len()) };
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

impl Data {
    fn bytes(&self) -> &[u8] {
        match self {
            Data::Mapped(map) => map,
            Data::Bytes(bytes) => bytes,
        }
    }
}

/// Uploads weights that were computed from a file's, as `dtype`.
///
/// # Errors
/// NaN / infinity (also: beyond f16's range when narrowing), too large for the device.
pub(crate) fn upload_floats(gpu: &Gpu, label: &str, shape: &[u32], dtype: DType, floats: &[f32]) -> Result<Tensor> {
    check_finite(floats, label, 0)?;
    gpu.upload_with(label, Shape::new(shape)?, dtype, |offset, chunk| {
        narrow(&floats[offset / dtype.bytes() as usize..], dtype, chunk, label)
    })
}

fn widen(bytes: &[u8], dtype: FileType, out: &mut [f32]) {
    match dtype {
        FileType::F32 => out.iter_mut().zip(bytes.as_chunks().0).for_each(|(o, b)| *o = f32::from_le_bytes(*b)),
        FileType::F16 => out.iter_mut().zip(bytes.as_chunks().0).for_each(|(o, b)| *o = half::f16::from_le_bytes(*b).to_f32()),
        _ => out.iter_mut().zip(bytes.as_chunks().0).for_each(|(o, b)| *o = half::bf16::from_le_bytes(*b).to_f32()),
    }
}

/// Writes as many elements of `floats` as `out` holds.
fn narrow(floats: &[f32], dtype: DType, out: &mut [u8], name: &str) -> Result<()> {
    if dtype != DType::F16 {
        out.as_chunks_mut().0.iter_mut().zip(floats).for_each(|(o, f)| *o = f.to_le_bytes());
        return Ok(());
    }
    for (i, (o, f)) in out.as_chunks_mut().0.iter_mut().zip(floats).enumerate() {
        let h = half::f16::from_f32(*f);
        if !h.is_finite() {
            return Err(Error::WeightNotFinite { name: format!("{name} as f16"), index: i, value: *f });
        }
        *o = h.to_le_bytes();
    }
    Ok(())
}

fn check_finite(values: &[f32], name: &str, first: usize) -> Result<()> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(i) => Err(Error::WeightNotFinite { name: name.to_owned(), index: first + i, value: values[i] }),
    }
}

/// `[rows, columns]` -> `[columns, rows]`.
fn transpose(x: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|c| (0..rows).map(move |r| x[r * columns + c])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transpose_turns() {
        assert_eq!(transpose(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }

    #[test]
    fn narrowing_names_what_does_not_fit() {
        let e = narrow(&[1.0, 1e6], DType::F16, &mut [0; 4], "w").unwrap_err();
        assert!(e.to_string().contains("element 1"), "{e}");
    }

    #[test]
    fn truncated_and_foreign_files_are_refused() {
        for bytes in [&b""[..], b"not a model at all", &[255; 64]] {
            assert!(Weights::from_bytes(bytes).is_err());
        }
    }
}
