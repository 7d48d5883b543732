//! Label embeddings, and their cache on disk.

use crate::clip::model::Clip;
#[cfg(feature = "cli")]
use crate::clip::templates::Average;
use crate::clip::templates::Templates;
use crate::error::{Error, Result};

/// Unit embeddings of labels, `[L, D]`, and of the empty string.
#[derive(Clone, Debug, PartialEq)]
pub struct Labels {
    names: Vec<String>,
    embeddings: Vec<f32>,
    empty: Vec<f32>,
}

impl Labels {
    /// From rows made elsewhere: `embeddings` `[L, D]` and `empty` `[D]`, unit rows.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn new(names: Vec<String>, embeddings: Vec<f32>, empty: Vec<f32>, width: usize) -> Result<Labels> {
        if names.is_empty() || embeddings.len() != names.len() * width || empty.len() != width {
            return Err(Error::shape(
                "labels",
                "embeddings",
                format!("[{}, {width}] and [{width}]", names.len()),
                format!("{} and {} values", embeddings.len(), empty.len()),
            ));
        }
        Ok(Labels { names, embeddings, empty })
    }

    /// The 59 labels of CLIP Surgery's demo, in its order: things and surroundings of everyday photographs.
    pub fn default_names() -> Vec<String> {
        include_str!("labels.txt").lines().map(str::to_owned).collect()
    }

    /// The labels, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// `[L, D]`, row by row.
    pub fn embeddings(&self) -> &[f32] {
        &self.embeddings
    }

    /// The empty string's embedding, `[D]`.
    pub fn empty(&self) -> &[f32] {
        &self.empty
    }

    /// D.
    pub fn width(&self) -> usize {
        self.empty.len()
    }
}

/// Label embeddings on disk: one small file per model, template set, precision and text.
///
/// A file that is missing, of another size, or whose checksum is wrong counts as absent, and is written again.
#[derive(Clone, Debug)]
pub struct LabelCache {
    #[cfg(feature = "cli")]
    folder: std::path::PathBuf,
    #[cfg(not(feature = "cli"))]
    never: std::convert::Infallible,
}

/// Identity of a model and its templates inside a cache.
#[derive(Clone, Debug)]
pub(crate) struct CacheKey(#[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "no cache without the feature"))] String);

#[cfg(feature = "cli")]
impl LabelCache {
    /// A cache in this folder, made when first written.
    pub fn new(folder: impl Into<std::path::PathBuf>) -> LabelCache {
        LabelCache { folder: folder.into() }
    }

    /// Everything that an embedding depends on but the label itself.
    pub(crate) fn key(&self, clip: &Clip, templates: &Templates) -> Result<CacheKey> {
        let mut hash = blake3::Hasher::new();
        hash.update(match templates.average() {
            Average::Unit => b"lancet labels 2".as_slice(),
            Average::Raw => b"lancet labels 2, prompts as they are",
        });
        let mut part = |bytes: &[u8]| {
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(format!("{:?} {:?} {}", clip.config(), clip.precision(), clip.truncates()).as_bytes());
        part(&clip.tokenizer_json()?.unwrap_or_default());
        // Only what texts depend on: the text tower's tensors, not the vision tower's hundreds of megabytes.
        let weights = clip.weights();
        for name in weights.names().filter(|n| !n.starts_with("visual") && !n.starts_with("vision_model")) {
            part(name.as_bytes());
            part(weights.raw(name).unwrap_or_default());
        }
        for template in templates.list() {
            part(template.as_bytes());
        }
        Ok(CacheKey(hash.finalize().to_hex().to_string()))
    }

    fn path(&self, key: &CacheKey, label: &str) -> std::path::PathBuf {
        let name = blake3::hash(label.as_bytes()).to_hex().to_string();
        self.folder.join(&key.0[..32]).join(format!("{}.f32", &name[..32]))
    }

    pub(crate) fn load(&self, key: &CacheKey, label: &str, width: usize) -> Option<Vec<f32>> {
        let bytes = std::fs::read(self.path(key, label)).ok()?;
        let (checksum, data) = bytes.split_at_checked(32)?;
        let right = data.len() == 4 * width && blake3::hash(data).as_bytes() == checksum;
        let values: Vec<f32> = right.then(|| data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect())?;
        values.iter().all(|v| v.is_finite()).then_some(values)
    }

    /// Best effort: a cache that cannot be written costs time, not the result.
    pub(crate) fn store(&self, key: &CacheKey, label: &str, row: &[f32]) {
        let data: Vec<u8> = row.iter().flat_map(|v| v.to_le_bytes()).collect();
        let path = self.path(key, label);
        let write = || -> std::io::Result<()> {
            use std::io::Write as _;
            let folder = path.parent().unwrap_or(&self.folder);
            std::fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(blake3::hash(&data).as_bytes())?;
            file.write_all(&data)?;
            file.persist(&path)?;
            Ok(())
        };
        let _ = write();
    }
}

#[cfg(not(feature = "cli"))]
impl LabelCache {
    pub(crate) fn key(&self, _: &Clip, _: &Templates) -> Result<CacheKey> {
        match self.never {}
    }

    pub(crate) fn load(&self, _: &CacheKey, _: &str, _: usize) -> Option<Vec<f32>> {
        match self.never {}
    }

    pub(crate) fn store(&self, _: &CacheKey, _: &str, _: &[f32]) {
        match self.never {}
    }
}
