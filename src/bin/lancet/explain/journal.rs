//! What a run has finished, so that the next one need not do it again.

use super::Args;
use crate::model::Loaded;
use anyhow::{Context, Result, bail};
use lancet::{Explainer, Method};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

/// One line for each image whose files are complete.
const NAME: &str = "lancet-run.jsonl";

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    name: String,
    /// Of everything the files depend on.
    fingerprint: String,
}

/// The list of finished images in an output folder; one process writes it at a time.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Mutex<File>,
    done: HashMap<String, String>,
}

impl Journal {
    /// Reads the list in `folder` and takes hold of it.
    pub fn open(folder: &Path) -> Result<Journal> {
        let path = folder.join(NAME);
        let complaint = || path.display().to_string();
        let mut file = File::options().read(true).append(true).create(true).open(&path).with_context(complaint)?;
        // Where files cannot be locked, two runs at once are the user's to avoid.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            bail!("another lancet is writing to {}; wait for it, or choose another --out", folder.display());
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).with_context(complaint)?;
        if text.last().is_some_and(|&b| b != b'\n') {
            // The last run was killed inside a line.
            file.write_all(b"\n").with_context(complaint)?;
        }
        // A line that cannot be read is an image that is done again.
        let lines = text.split(|&b| b == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok());
        let done = lines.map(|l| (l.name, l.fingerprint)).collect();
        Ok(Journal { path, file: Mutex::new(file), done })
    }

    /// True if an earlier run finished this image with the same settings.
    pub fn has(&self, name: &str, fingerprint: &str) -> bool {
        self.done.get(name).is_some_and(|done| done == fingerprint)
    }

    /// To be called when all files of the image have their names.
    pub fn add(&self, name: &str, fingerprint: &str) -> Result<()> {
        let mut line = serde_json::to_vec(&Line { name: name.to_owned(), fingerprint: fingerprint.to_owned() })?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line).with_context(|| self.path.display().to_string())
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let file = self.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        if file.metadata().is_ok_and(|m| m.len() == 0) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Of a run: model, method, labels and all settings that reach the files.
pub fn of_run(args: &Args, loaded: &Loaded, explainer: &Explainer, method: &Method) -> Result<blake3::Hash> {
    let templates = crate::args::templates(&args.prompts.templates)?;
    let config = match args.model.config.as_deref() {
        Some(path) if path != "openai" => of_file(Path::new(path))?,
        other => other.unwrap_or_default().to_owned(),
    };
    let caps = loaded.engine.caps();
    let parts = [
        env!("CARGO_PKG_VERSION").to_owned(),
        of_file(&loaded.path)?,
        config,
        format!("{} {} {method:?} {:?}", args.model.precision_name(), args.model.truncate, args.method.size),
        format!("{:?}", explainer.labels().names()),
        format!("{:?}", templates.list()),
        format!("{} {} {} {}", args.alpha, args.npy, args.json, args.no_sheet),
        format!("{} {} {:?}", caps.adapter, caps.driver, caps.backend),
    ];
    Ok(blake3::hash(format!("{parts:?}").as_bytes()))
}

/// Of one image in a run.
pub fn of_image(run: &blake3::Hash, image: &Path) -> Result<String> {
    let all = format!("{run} {}", of_file(image)?);
    Ok(blake3::hash(all.as_bytes()).to_hex()[..32].to_owned())
}

/// Which file it is, and whether it has changed.
fn of_file(path: &Path) -> Result<String> {
    let complaint = || path.display().to_string();
    let full = path.canonicalize().with_context(complaint)?;
    let about = full.metadata().with_context(complaint)?;
    let changed = about.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok()).map_or(0, |d| d.as_nanos());
    Ok(format!("{} {} {changed}", full.display(), about.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torn_lines_and_two_writers() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        journal.add("a", "1").unwrap();
        assert!(Journal::open(folder.path()).unwrap_err().to_string().contains("another lancet"));
        drop(journal);
        let path = folder.path().join(NAME);
        let mut text = std::fs::read(&path).unwrap();
        text.extend(b"{\"name\":\"b\",\"finger");
        std::fs::write(&path, text).unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        assert!(journal.has("a", "1") && !journal.has("a", "2") && !journal.has("b", "1"));
        journal.add("c", "3").unwrap();
        drop(journal);
        assert!(Journal::open(folder.path()).unwrap().has("c", "3"));
        std::fs::write(&path, "").unwrap();
        drop(Journal::open(folder.path()).unwrap());
        assert!(!path.exists(), "a list of nothing is no file");
    }
}
