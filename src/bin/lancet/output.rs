//! Results to files: each under a temporary name first, all renamed together at the end, or nothing is left behind.
//! Temporary files lie in a hidden folder beside the results. The next run removes those of a run that was killed.

use anyhow::{Context, Result};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use npyz::WriterBuilder;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::{NamedTempFile, TempDir, TempPath};

/// How the folders begin in which files wait for their names.
const STAGING: &str = ".lancet-";

/// A folder that is being filled.
#[derive(Debug)]
pub struct OutDir {
    path: PathBuf,
    /// Folders that did not exist before, innermost first; they go again if nothing comes into them.
    created: Vec<PathBuf>,
    filled: AtomicBool,
    staged: Vec<(TempPath, String)>,
    /// `None` only while dropping.
    staging: Option<Staging>,
}

/// Where files wait, inside the folder they are for, and a lock that tells the living from the dead.
#[derive(Debug)]
struct Staging {
    folder: TempDir,
    _lock: File,
}

impl OutDir {
    /// Makes the folder if it is not there, and makes sure that it can be written. What a killed program left in it goes.
    pub fn open(path: &Path) -> Result<OutDir> {
        let created: Vec<PathBuf> = path.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists()).map(Path::to_owned).collect();
        let mut out = OutDir { path: path.to_owned(), created, filled: AtomicBool::new(false), staged: Vec::new(), staging: None };
        let complaint = || format!("output folder {}", path.display());
        std::fs::create_dir_all(path).with_context(complaint)?;
        clean(path);
        let folder = tempfile::Builder::new().prefix(STAGING).tempdir_in(path).with_context(complaint)?;
        // Nobody looks for it under this name: it is locked when it gets its own.
        let [new, name] = ["new", "lock"].map(|n| folder.path().join(n));
        let lock = File::create_new(&new).with_context(complaint)?;
        // Where files cannot be locked, nobody can clean either.
        let _ = lock.try_lock();
        std::fs::rename(&new, &name).with_context(complaint)?;
        out.staging = Some(Staging { folder, _lock: lock });
        Ok(out)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that has no name yet; dropped, it is gone.
    pub fn temporary(&self, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<TempPath> {
        let folder = self.staging.as_ref().map_or(self.path.as_path(), |s| s.folder.path());
        let file = NamedTempFile::new_in(folder)?;
        share(&file);
        let mut writer = BufWriter::new(file);
        write(&mut writer)?;
        // Closed now: a set of many files must not need as many handles.
        Ok(writer.into_inner().map_err(|e| e.into_error())?.into_temp_path())
    }

    /// Gives files their names in the folder, in this order; `/` makes folders.
    pub fn keep(&self, files: Vec<(TempPath, String)>) -> Result<()> {
        for (file, name) in files {
            let target = self.path.join(&name);
            let complaint = || target.display().to_string();
            self.filled.store(true, Ordering::Relaxed);
            if name.contains('/')
                && let Some(folder) = target.parent()
            {
                std::fs::create_dir_all(folder).with_context(complaint)?;
            }
            file.persist(&target).map_err(|e| e.error).with_context(complaint)?;
        }
        Ok(())
    }

    /// Stages a file; its final path.
    pub fn stage(&mut self, name: &str, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<PathBuf> {
        let target = self.path.join(name);
        let file = self.temporary(write).with_context(|| target.display().to_string())?;
        self.staged.push((file, name.to_owned()));
        Ok(target)
    }

    /// Gives all staged files their names.
    pub fn commit(mut self) -> Result<()> {
        let staged = std::mem::take(&mut self.staged);
        self.keep(staged)
    }
}

/// Removes what programs that are no more left behind: their lock is free.
fn clean(path: &Path) {
    let Ok(entries) = std::fs::read_dir(path) else { return };
    for entry in entries.flatten() {
        let folder = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(STAGING) || !folder.is_dir() {
            continue;
        }
        // Held until the folder is gone. One without a lock is being made just now, or its maker died in that moment.
        let dead = match File::open(folder.join("lock")) {
            Ok(lock) => lock.try_lock().is_ok().then_some(lock),
            Err(_) => None,
        };
        if dead.is_some() {
            let _ = std::fs::remove_dir_all(&folder);
        }
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
        self.staging = None;
        if !self.filled.load(Ordering::Relaxed) {
            for folder in &self.created {
                // Only empty folders go; a failure leaves one behind and is not worth hiding the real error for.
                let _ = std::fs::remove_dir(folder);
            }
        }
    }
}

/// One file outside a folder of results, whole or not at all.
///
/// What is there and no file, such as a pipe or `/dev/stdout`, is written into and stays what it is. A link's target is
/// replaced, not the link.
pub fn write_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    if std::fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir()) {
        let complaint = || path.display().to_string();
        let mut writer = BufWriter::new(std::fs::File::options().write(true).open(path).with_context(complaint)?);
        write(&mut writer).with_context(complaint)?;
        return writer.flush().with_context(complaint);
    }
    let target = std::fs::canonicalize(path).ok();
    let path = target.as_deref().unwrap_or(path);
    let name = path.file_name().and_then(|n| n.to_str()).with_context(|| format!("{}: not a file name", path.display()))?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut out = OutDir::open(folder)?;
    out.stage(name, write)?;
    out.commit()
}

/// A line on stdout; what `out!` calls. Nobody to tell is an error like any other.
pub fn say(line: std::fmt::Arguments<'_>) {
    if let Err(e) = writeln!(std::io::stdout().lock(), "{line}") {
        eprintln!("error: standard output: {e}");
        std::process::exit(1);
    }
}

/// RGBA pixels as PNG.
pub fn png(writer: &mut dyn Write, rgba: &[u8], [width, height]: [u32; 2]) -> Result<()> {
    PngEncoder::new(writer).write_image(rgba, width, height, ExtendedColorType::Rgba8)?;
    Ok(())
}

/// Opaque RGBA pixels as PNG, without the alpha. Of the fast settings, the one with the smallest files.
pub fn png_opaque(writer: &mut dyn Write, rgba: &[u8], [width, height]: [u32; 2]) -> Result<()> {
    let rgb: Vec<u8> = rgba.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect();
    let encoder = PngEncoder::new_with_quality(writer, CompressionType::Fast, FilterType::Paeth);
    encoder.write_image(&rgb, width, height, ExtendedColorType::Rgb8)?;
    Ok(())
}

/// As [`png_opaque`], smaller and slower: for single pages.
pub fn png_page(writer: &mut dyn Write, rgba: &[u8], [width, height]: [u32; 2]) -> Result<()> {
    let rgb: Vec<u8> = rgba.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect();
    let encoder = PngEncoder::new_with_quality(writer, CompressionType::Best, FilterType::Adaptive);
    encoder.write_image(&rgb, width, height, ExtendedColorType::Rgb8)?;
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

    #[cfg(unix)]
    #[test]
    fn links_stay_links() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        std::fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write_file(&link, |w| Ok(w.write_all(b"new")?)).unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(std::fs::read(&real).unwrap(), b"new");
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

    #[test]
    fn only_the_dead_are_cleaned_up_after() {
        let base = tempfile::tempdir().unwrap();
        let living = OutDir::open(base.path()).unwrap();
        let file = living.temporary(|w| Ok(w.write_all(b"1")?)).unwrap();
        // A program that was killed: its folder is there, its lock is not held.
        let dead = base.path().join(".lancet-dead");
        std::fs::create_dir(&dead).unwrap();
        std::fs::write(dead.join("lock"), "").unwrap();
        std::fs::write(dead.join("half"), "half a picture").unwrap();
        std::fs::create_dir(base.path().join(".lancet-of-the-user")).unwrap();
        let other = OutDir::open(base.path()).unwrap();
        assert!(!dead.exists() && file.exists() && base.path().join(".lancet-of-the-user").exists());
        drop(other);
        living.keep(vec![(file, "below/name".into())]).unwrap();
        drop(living);
        assert_eq!(std::fs::read(base.path().join("below/name")).unwrap(), b"1");
        assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 2, "the result's folder and the user's");
    }
}
