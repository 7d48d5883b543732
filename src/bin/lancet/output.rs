//! Results to files: each under a temporary name first, all renamed together at the end, or nothing is left behind.

use anyhow::{Context, Result};
use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use npyz::WriterBuilder;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A folder that is being filled.
#[derive(Debug)]
pub struct OutDir {
    path: PathBuf,
    /// Folders that did not exist before, innermost first.
    created: Vec<PathBuf>,
    staged: Vec<(NamedTempFile, PathBuf)>,
}

impl OutDir {
    /// Makes the folder if it is not there, and makes sure that it can be written.
    pub fn open(path: &Path) -> Result<OutDir> {
        let created: Vec<PathBuf> = path.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists()).map(Path::to_owned).collect();
        let out = OutDir { path: path.to_owned(), created, staged: Vec::new() };
        let complaint = || format!("output folder {}", path.display());
        std::fs::create_dir_all(path).with_context(complaint)?;
        NamedTempFile::new_in(path).with_context(complaint)?;
        Ok(out)
    }

    /// Stages a file; its final path.
    pub fn stage(&mut self, name: &str, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<PathBuf> {
        let target = self.path.join(name);
        let complaint = || target.display().to_string();
        let file = NamedTempFile::new_in(&self.path).with_context(complaint)?;
        let mut writer = BufWriter::new(file);
        write(&mut writer).with_context(complaint)?;
        let file = writer.into_inner().map_err(|e| e.into_error()).with_context(complaint)?;
        self.staged.push((file, target.clone()));
        Ok(target)
    }

    /// Gives all staged files their names.
    pub fn commit(mut self) -> Result<()> {
        for (file, target) in std::mem::take(&mut self.staged) {
            share(&file);
            file.persist(&target).map_err(|e| e.error).with_context(|| target.display().to_string())?;
        }
        self.created.clear();
        Ok(())
    }
}

/// Temporary files are private; results are for everybody whom the folder lets in.
fn share(file: &NamedTempFile) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let _ = file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644));
    }
    #[cfg(not(unix))]
    let _ = file;
}

impl Drop for OutDir {
    fn drop(&mut self) {
        self.staged.clear();
        for folder in &self.created {
            // Only empty folders go; a failure leaves one behind and is not worth hiding the real error for.
            let _ = std::fs::remove_dir(folder);
        }
    }
}

/// One file outside a folder of results, whole or not at all.
pub fn write_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let name = path.file_name().and_then(|n| n.to_str()).with_context(|| format!("{}: not a file name", path.display()))?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut out = OutDir::open(folder)?;
    out.stage(name, write)?;
    out.commit()
}

/// RGBA pixels as PNG.
pub fn png(writer: &mut dyn Write, rgba: &[u8], [width, height]: [u32; 2]) -> Result<()> {
    PngEncoder::new(writer).write_image(rgba, width, height, ExtendedColorType::Rgba8)?;
    Ok(())
}

/// Values as NumPy's f32 array.
pub fn npy(writer: &mut dyn Write, values: &[f32], shape: &[u64]) -> Result<()> {
    let mut npy = npyz::WriteOptions::new().default_dtype().shape(shape).writer(writer).begin_nd()?;
    npy.extend(values.iter().copied())?;
    npy.finish()?;
    Ok(())
}

/// A label as part of a file name: what file systems dislike becomes `_`.
pub fn file_label(label: &str) -> String {
    let clean: String = label.trim().chars().map(|c| if c.is_control() || "/\\:*?\"<>|".contains(c) { '_' } else { c }).collect();
    let mut short = String::new();
    for c in clean.chars() {
        if short.len() + c.len_utf8() > 120 {
            break;
        }
        short.push(c);
    }
    if short.is_empty() || short.chars().all(|c| c == '.') { "_".into() } else { short }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_become_file_names() {
        assert_eq!(file_label("teddy bear"), "teddy bear");
        assert_eq!(file_label("a/b:c"), "a_b_c");
        assert_eq!(file_label(".."), "_");
        assert!(file_label(&"é".repeat(200)).len() <= 120);
    }

    #[test]
    fn an_abandoned_folder_leaves_nothing() {
        let base = tempfile::tempdir().unwrap();
        let target = base.path().join("a/b");
        let mut out = OutDir::open(&target).unwrap();
        out.stage("x", |w| Ok(w.write_all(b"1")?)).unwrap();
        drop(out);
        assert!(!base.path().join("a").exists());
        let mut out = OutDir::open(&target).unwrap();
        out.stage("x", |w| Ok(w.write_all(b"1")?)).unwrap();
        out.commit().unwrap();
        assert_eq!(std::fs::read_dir(&target).unwrap().count(), 1);
    }
}
