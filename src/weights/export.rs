//! Writing safetensors: tensors of an open file under other names and in another storage, one at a time.

use super::{Entry, FileType, Weights, check_finite, transpose, widen};
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// Values converted at a time.
const CHUNK: usize = 1 << 20;

/// Storage of the values in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreAs {
    /// As the source has them, bit by bit.
    Stored,
    /// 32-bit floats: every source fits.
    F32,
    /// Halves: 11 bits of mantissa, up to 65,504; more is an error.
    F16,
    /// The range of f32, 8 bits of mantissa.
    BF16,
}

/// A tensor to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Its new name.
    pub name: String,
    /// Tensors of the source, one below the other.
    pub parts: Vec<String>,
    /// The matrix is turned.
    pub transpose: bool,
}

impl Export {
    /// A tensor that changes its name at most.
    pub fn plain(name: impl Into<String>, part: impl Into<String>) -> Export {
        Export { name: name.into(), parts: vec![part.into()], transpose: false }
    }
}

/// Where a tensor goes.
struct Planned<'a> {
    export: &'a Export,
    parts: Vec<&'a Entry>,
    dtype: FileType,
    shape: Vec<u32>,
}

impl Weights {
    /// Writes a safetensors file through `emit`, in order. Floats become `store`, integers stay. Needs the memory of a few
    /// chunks, or of one tensor that is turned.
    ///
    /// # Errors
    /// A part that is missing or does not fit its neighbours, NaN or infinity (also: too large for `store`), or what `emit`
    /// returns.
    pub fn export(
        &self,
        tensors: &[Export],
        store: StoreAs,
        metadata: &BTreeMap<String, String>,
        mut emit: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut planned = tensors.iter().map(|t| self.plan_export(t, store)).collect::<Result<Vec<_>>>()?;
        // As the format's own writer does it: large elements first, so that all of them are aligned.
        planned.sort_by(|a, b| b.dtype.bitsize().cmp(&a.dtype.bitsize()).then_with(|| a.export.name.cmp(&b.export.name)));
        let mut header = serde_json::Map::new();
        header.insert("__metadata__".into(), serde_json::json!(metadata));
        let mut end = 0;
        for tensor in &planned {
            let start = end;
            end += tensor.shape.iter().map(|&d| d as usize).product::<usize>() * tensor.dtype.bitsize() / 8;
            let entry = serde_json::json!({ "dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [start, end] });
            if header.insert(tensor.export.name.clone(), entry).is_some() {
                return Err(Error::Input { what: format!("two tensors would be called \"{}\"", tensor.export.name) });
            }
        }
        let mut text = serde_json::Value::Object(header).to_string();
        text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
        emit(&(text.len() as u64).to_le_bytes())?;
        emit(text.as_bytes())?;
        planned.iter().try_for_each(|tensor| self.write_tensor(tensor, &mut emit))
    }

    fn plan_export<'a>(&'a self, export: &'a Export, store: StoreAs) -> Result<Planned<'a>> {
        let find = |name: &String| {
            self.tensors.get(name).ok_or_else(|| Error::MissingTensor { name: name.clone(), hint: self.path.display().to_string() })
        };
        let parts = export.parts.iter().map(find).collect::<Result<Vec<_>>>()?;
        let wrong = |got: String| Error::TensorShape {
            name: export.parts.join(" + "),
            expected: if export.transpose { "one matrix".into() } else { "tensors of the same kind with the same rows".into() },
            got,
            hint: self.path.display().to_string(),
        };
        let Some(first) = parts.first() else { return Err(wrong("nothing".into())) };
        let shapes = || format!("{:?}", parts.iter().map(|p| &p.shape).collect::<Vec<_>>());
        let mut shape = first.shape.clone();
        if export.transpose {
            if parts.len() != 1 || shape.len() != 2 {
                return Err(wrong(shapes()));
            }
            shape.reverse();
        } else if parts.len() > 1 {
            if parts.iter().any(|p| p.shape.is_empty() || p.shape[1..] != shape[1..]) {
                return Err(wrong(shapes()));
            }
            shape[0] = parts.iter().map(|p| p.shape[0]).sum();
        }
        let float = |p: &&Entry| matches!(p.dtype, FileType::F32 | FileType::F16 | FileType::BF16);
        let same = parts.iter().all(|p| p.dtype == first.dtype);
        let dtype = match (parts.iter().all(float), store) {
            (true, StoreAs::Stored) if same => first.dtype,
            // What holds all of them exactly.
            (true, StoreAs::Stored | StoreAs::F32) => FileType::F32,
            (true, StoreAs::F16) => FileType::F16,
            (true, StoreAs::BF16) => FileType::BF16,
            (false, _) if same && !export.transpose && !matches!(first.dtype, FileType::F64) => first.dtype,
            (false, _) => return Err(Error::TensorType { name: export.parts[0].clone(), got: format!("{:?}", first.dtype) }),
        };
        Ok(Planned { export, parts, dtype, shape })
    }

    fn write_tensor(&self, tensor: &Planned<'_>, emit: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let (mut floats, mut out) = (Vec::new(), Vec::new());
        for (part, name) in tensor.parts.iter().zip(&tensor.export.parts) {
            let bytes = &self.data.bytes()[part.range.clone()];
            if !matches!(part.dtype, FileType::F32 | FileType::F16 | FileType::BF16) {
                emit(bytes)?;
                continue;
            }
            let size = part.dtype.bitsize() / 8;
            let step = if tensor.export.transpose { bytes.len().max(1) } else { CHUNK * size };
            for (i, chunk) in bytes.chunks(step).enumerate() {
                floats.resize(chunk.len() / size, 0.0);
                widen(chunk, part.dtype, &mut floats);
                check_finite(&floats, name, i * CHUNK)?;
                if part.dtype == tensor.dtype && !tensor.export.transpose {
                    emit(chunk)?;
                    continue;
                }
                if tensor.export.transpose {
                    floats = transpose(&floats, part.shape[0] as usize, part.shape[1] as usize);
                }
                out.clear();
                store(&floats, tensor.dtype, &mut out, name, i * CHUNK)?;
                emit(&out)?;
            }
            self.release(&part.range);
        }
        Ok(())
    }
}

/// Appends `floats` as `dtype`; `first` is the index of the first in its tensor.
fn store(floats: &[f32], dtype: FileType, out: &mut Vec<u8>, name: &str, first: usize) -> Result<()> {
    let too_large = |i: usize, as_what: &str| Error::WeightNotFinite {
        name: format!("{name}, too large for {as_what},"),
        index: first + i,
        value: floats[i],
    };
    match dtype {
        FileType::F16 => {
            for (i, &f) in floats.iter().enumerate() {
                let value = half::f16::from_f32(f);
                if !value.is_finite() {
                    return Err(too_large(i, "f16"));
                }
                out.extend(value.to_le_bytes());
            }
        }
        FileType::BF16 => {
            for (i, &f) in floats.iter().enumerate() {
                let value = half::bf16::from_f32(f);
                if !value.is_finite() {
                    return Err(too_large(i, "bf16"));
                }
                out.extend(value.to_le_bytes());
            }
        }
        _ => floats.iter().for_each(|f| out.extend(f.to_le_bytes())),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(tensors: &[(&str, FileType, &[usize], Vec<u8>)]) -> Weights {
        let views: Vec<_> = tensors
            .iter()
            .map(|(name, dtype, shape, data)| (*name, safetensors::tensor::TensorView::new(*dtype, shape.to_vec(), data).unwrap()))
            .collect();
        let words = std::collections::HashMap::from([("author".to_owned(), "nobody".to_owned())]);
        Weights::from_bytes(safetensors::serialize(views, Some(words)).unwrap()).unwrap()
    }

    fn f32s(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    fn exported(source: &Weights, tensors: &[Export], store: StoreAs) -> Result<Weights> {
        let mut bytes = Vec::new();
        source.export(tensors, store, source.metadata(), |b| {
            bytes.extend_from_slice(b);
            Ok(())
        })?;
        Weights::from_bytes(bytes)
    }

    #[test]
    fn joined_turned_renamed_and_kept() {
        let source = file(&[
            ("q", FileType::F32, &[1, 2], f32s(&[1.0, 2.0])),
            ("k", FileType::F32, &[2, 2], f32s(&[3.0, 4.0, 5.0, 6.0])),
            ("count", FileType::I64, &[], 7i64.to_le_bytes().to_vec()),
            ("scale", FileType::BF16, &[], half::bf16::from_f32(-0.5).to_le_bytes().to_vec()),
        ]);
        let tensors = [
            Export { name: "qk".into(), parts: vec!["q".into(), "k".into()], transpose: false },
            Export { name: "turned".into(), parts: vec!["k".into()], transpose: true },
            Export::plain("n", "count"),
            Export::plain("scale", "scale"),
        ];
        let out = exported(&source, &tensors, StoreAs::Stored).unwrap();
        assert_eq!(out.raw("qk").unwrap(), f32s(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        assert_eq!(out.shape("qk").unwrap(), [3, 2]);
        assert_eq!(out.raw("turned").unwrap(), f32s(&[3.0, 5.0, 4.0, 6.0]));
        assert_eq!(out.raw("n"), source.raw("count"));
        assert_eq!(out.raw("scale"), source.raw("scale"));
        assert_eq!(out.metadata()["author"], "nobody");
        let half = exported(&source, &tensors, StoreAs::F16).unwrap();
        assert_eq!(half.raw("qk").unwrap().len(), 12);
        assert_eq!(half.raw("scale").unwrap(), half::f16::from_f32(-0.5).to_le_bytes());
        assert_eq!(half.raw("n"), source.raw("count"), "integers stay");
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let source = file(&[
            ("large", FileType::F32, &[2], f32s(&[1.0, 1e5])),
            ("nan", FileType::F32, &[1], f32s(&[f32::NAN])),
            ("row", FileType::F32, &[1, 3], f32s(&[0.0; 3])),
            ("two", FileType::F32, &[1, 2], f32s(&[0.0; 2])),
        ]);
        let error = |export: Export, store| exported(&source, &[export], store).unwrap_err().to_string();
        let large = || Export::plain("x", "large");
        assert!(exported(&source, &[large()], StoreAs::BF16).is_ok());
        let said = error(large(), StoreAs::F16);
        assert!(said.contains("large") && said.contains("f16") && said.contains("element 1"), "{said}");
        assert!(error(Export::plain("x", "nan"), StoreAs::Stored).contains("nan"));
        assert!(error(Export::plain("x", "absent"), StoreAs::F32).contains("absent"));
        assert!(
            error(Export { name: "x".into(), parts: vec!["row".into(), "two".into()], transpose: false }, StoreAs::F32).contains("row")
        );
        let twice = [large(), large()];
        assert!(exported(&source, &twice, StoreAs::F32).unwrap_err().to_string().contains("two tensors"));
    }
}
