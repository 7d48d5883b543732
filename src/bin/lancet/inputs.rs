//! Image files from what a user names: files, patterns, folders.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// Endings of the files that are taken from a folder.
const ENDINGS: [&str; 4] = ["png", "jpg", "jpeg", "webp"];

/// The image files behind `given`, in order and each once: a file as it is, a folder's images by name, and a pattern
/// such as `photos/*.jpg`, which some shells leave to the program.
pub fn images(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut all: Vec<PathBuf> = Vec::new();
    for path in given {
        let found = one(path)?;
        if found.is_empty() {
            bail!("{}: no image here; expected PNG, JPEG or WebP files", path.display());
        }
        all.extend(found);
    }
    let mut seen = std::collections::HashSet::new();
    all.retain(|path| seen.insert(path.clone()));
    Ok(all)
}

/// True for one plain file: no folder, no pattern.
pub fn is_single(given: &[PathBuf]) -> bool {
    matches!(given, [path] if !path.is_dir() && (path.exists() || !is_pattern(path)))
}

fn is_pattern(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?', '['])
}

/// Lists what went wrong with some of `all` images; the exit code says that something did.
pub fn report_failed(failed: &[String], all: usize) -> Result<()> {
    for what in failed {
        eprintln!("failed: {}", what.replace('\n', " "));
    }
    match failed.len() {
        0 => Ok(()),
        n => bail!("{n} of {all} images failed; the others are done"),
    }
}

fn one(path: &Path) -> Result<Vec<PathBuf>> {
    let complaint = || path.display().to_string();
    if path.is_dir() {
        let entries = std::fs::read_dir(path).with_context(complaint)?;
        let mut files = entries.map(|e| Ok(e?.path())).collect::<std::io::Result<Vec<_>>>().with_context(complaint)?;
        files.retain(|f| f.is_file() && has_image_ending(f));
        files.sort();
        return Ok(files);
    }
    let text = path.to_string_lossy();
    // A file whose name merely looks like a pattern comes first.
    if path.exists() || !is_pattern(path) {
        return Ok(vec![path.to_owned()]);
    }
    let paths = glob::glob(&text).with_context(complaint)?;
    let files = paths.collect::<Result<Vec<_>, _>>().with_context(complaint)?;
    Ok(files.into_iter().filter(|f| f.is_file()).collect())
}

/// True for the endings that are taken from a folder.
pub fn has_image_ending(path: &Path) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| ENDINGS.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_folders_and_patterns() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, b"").unwrap();
            path
        };
        let (b, a, odd, _) = (make("b.png"), make("a.JPG"), make("what[1].webp"), make("notes.txt"));
        assert_eq!(images(&[folder.path().to_owned()]).unwrap(), [a.clone(), b.clone(), odd.clone()]);
        assert_eq!(images(&[b.clone(), folder.path().join("*.png")]).unwrap(), [b]);
        assert_eq!(images(std::slice::from_ref(&odd)).unwrap(), [odd]);
        assert!(images(&[folder.path().join("*.gif")]).unwrap_err().to_string().contains("no image here"));
        // A file that is not there is reported when it is read, by name.
        assert_eq!(images(&[PathBuf::from("absent.png")]).unwrap(), [PathBuf::from("absent.png")]);
    }
}
