//! A driver's compiled pipelines in a file, for the next process. A hint: without it everything works, only slower.
//!
//! The file is eight bytes of checksum, then the driver's data. It is written whole or not at all; one that is cut off, changed
//! or of another driver is ignored and replaced.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Where a device's pipeline cache is kept.
#[derive(Debug)]
pub(crate) struct PipelineFile {
    path: PathBuf,
    /// Checksum of what the file holds; `None` if it holds nothing of use.
    saved: Mutex<Option<u64>>,
}

impl PipelineFile {
    /// The cache with what an earlier process left in `folder`; `None` where the driver or the backend keeps none.
    pub fn open(device: &wgpu::Device, folder: &Path) -> Option<(wgpu::PipelineCache, PipelineFile)> {
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let path = folder.join(wgpu::util::pipeline_cache_key(&device.adapter_info())?);
        let found = std::fs::read(&path).ok().and_then(|bytes| Some((split(&bytes)?.0, bytes)));
        let data = found.as_ref().and_then(|(_, bytes)| bytes.get(8..));
        // SAFETY: these are bytes that `get_data` returned: the checksum behind which they were written is right. wgpu compares its own
        // header with the adapter and its driver, and `fallback` makes an empty cache of what does not fit.
        let cache = unsafe { device.create_pipeline_cache(&wgpu::PipelineCacheDescriptor { label: Some("lancet"), data, fallback: true }) };
        Some((cache, PipelineFile { path, saved: Mutex::new(found.map(|(sum, _)| sum)) }))
    }

    /// Writes what the cache holds now, if it is news. A folder that cannot be written is no error: the next process compiles again.
    pub fn save(&self, cache: &wgpu::PipelineCache) {
        let Some(data) = cache.get_data() else { return };
        let sum = checksum(&data);
        let mut saved = self.saved.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *saved != Some(sum) && write(&self.path, sum, &data).is_ok() {
            *saved = Some(sum);
        }
    }
}

fn write(path: &Path, sum: u64, data: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // Processes that start together must not share a temporary name.
    let mut waiting = path.as_os_str().to_owned();
    waiting.push(format!(".{}.tmp", std::process::id()));
    let done = std::fs::write(&waiting, [&sum.to_le_bytes(), data].concat()).and_then(|()| std::fs::rename(&waiting, path));
    if done.is_err() {
        std::fs::remove_file(&waiting).ok();
    }
    done
}

/// Checksum and data, if they fit each other.
fn split(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (sum, data) = bytes.split_first_chunk::<8>()?;
    let sum = u64::from_le_bytes(*sum);
    (checksum(data) == sum).then_some((sum, data))
}

/// FNV-1a: against accidents, not against attackers, who could replace the program as well.
fn checksum(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_or_changed_is_not_read() {
        let name = format!("lancet-pipelines-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let path = folder.join("below").join("file");
        let data = b"whatever a driver keeps";
        write(&path, checksum(data), data).unwrap();
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(split(&whole).unwrap().1, data);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "a temporary file was left behind");
        std::fs::remove_dir_all(&folder).unwrap();
        for end in 0..whole.len() {
            assert!(split(&whole[..end]).is_none(), "{end} bytes of {} were taken", whole.len());
        }
        for i in 0..whole.len() {
            let mut changed = whole.clone();
            changed[i] ^= 1;
            assert!(split(&changed).is_none(), "a change of byte {i} was not seen");
        }
    }
}
