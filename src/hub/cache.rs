//! The Hugging Face cache on disk, as Python's `huggingface_hub` lays it out, so that both see each other's files:
//!
//! ```text
//! models--ORG--NAME/refs/main                   the commit that a branch was at
//! models--ORG--NAME/blobs/HASH                  the bytes, HASH.incomplete while they come
//! models--ORG--NAME/snapshots/COMMIT/FILE       a link to the blob
//! models--ORG--NAME/.no_exist/COMMIT/FILE       the repository has no such file
//! .locks/models--ORG--NAME/HASH.lock            held by the process that downloads the blob
//! ```

use crate::error::{Error, Result};
use crate::hub::source::Source;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// One repository in the cache.
#[derive(Clone, Debug)]
pub(crate) struct Repository {
    pub folder: PathBuf,
    locks: PathBuf,
}

impl Repository {
    pub fn new(cache: &Path, source: &Source) -> Repository {
        let name = format!("models--{}", source.repository.replace('/', "--"));
        Repository { folder: cache.join(&name), locks: cache.join(".locks").join(name) }
    }

    pub fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    pub fn partial(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(format!("{etag}.incomplete"))
    }

    pub fn lock(&self, etag: &str) -> PathBuf {
        self.locks.join(format!("{etag}.lock"))
    }

    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    fn reference(&self, revision: &str) -> PathBuf {
        self.folder.join("refs").join(revision)
    }

    /// The commit that a revision was at when it was last fetched.
    pub fn commit(&self, revision: &str) -> Option<String> {
        let text = fs::read_to_string(self.reference(revision)).ok();
        let commit = text.map_or_else(|| revision.to_owned(), |t| t.trim().to_owned());
        (commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit()) && self.snapshot(&commit).is_dir()).then_some(commit)
    }

    /// Remembers where a revision is. A commit needs no such note.
    pub fn remember(&self, revision: &str, commit: &str) -> Result<()> {
        if revision == commit { Ok(()) } else { whole(&self.reference(revision), commit.as_bytes()) }
    }

    /// True if the repository is known to have no such file.
    pub fn lacks(&self, commit: &str, file: &str) -> bool {
        self.folder.join(".no_exist").join(commit).join(file).exists()
    }

    pub fn remember_lack(&self, commit: &str, file: &str) -> Result<()> {
        whole(&self.folder.join(".no_exist").join(commit).join(file), b"")
    }

    /// Makes `snapshots/COMMIT/FILE` lead to the blob. The caller holds the blob's lock.
    pub fn link(&self, commit: &str, file: &str, etag: &str) -> Result<PathBuf> {
        let link = self.snapshot(commit).join(file);
        make_folder(&self.snapshot(commit))?;
        // Another name first: what was there before is replaced at once, or not at all.
        let fresh = self.snapshot(commit).join(format!(".{file}.{}", own_suffix()));
        let _ = fs::remove_file(&fresh);
        // Where links do not work (Windows without the right to), the file itself moves, as huggingface_hub does it.
        symlink(&Path::new("../../blobs").join(etag), &fresh)
            .and_then(|()| fs::rename(&fresh, &link))
            .or_else(|_| fs::rename(self.blob(etag), &link))
            .map_err(|e| Error::io(&link, e))?;
        Ok(link)
    }

    /// Takes a revision's snapshot away, the blobs that no other snapshot uses, and what was left half-done. Returns the
    /// files removed, with their bytes.
    pub fn remove(&self, revision: &str) -> Result<Vec<(u64, PathBuf)>> {
        let mut gone = Vec::new();
        if let Some(commit) = self.commit(revision) {
            gone = blobs_of(&self.snapshot(&commit)).into_iter().map(|b| (fs::metadata(&b).map_or(0, |m| m.len()), b)).collect();
            remove_folder(&self.snapshot(&commit))?;
            remove_folder(&self.folder.join(".no_exist").join(&commit))?;
            self.forget(&self.folder.join("refs"), &commit)?;
            let others: Vec<PathBuf> = list(&self.folder.join("snapshots")).iter().flat_map(|s| blobs_of(s)).collect();
            gone.retain(|(_, blob)| !others.contains(blob));
            for (_, blob) in &gone {
                remove_file(blob)?;
            }
        }
        for partial in list(&self.folder.join("blobs")).into_iter().filter(|p| p.extension().is_some_and(|e| e == "incomplete")) {
            let etag = partial.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
            // One that another process is filling stays.
            let free = match fs::File::open(self.lock(etag)) {
                Ok(lock) => lock.try_lock().is_ok(),
                Err(_) => true,
            };
            if free {
                gone.push((fs::metadata(&partial).map_or(0, |m| m.len()), partial.clone()));
                remove_file(&partial)?;
            }
        }
        // Only empty folders go.
        for folder in ["blobs", "snapshots", "refs", ".no_exist"] {
            let _ = fs::remove_dir(self.folder.join(folder));
        }
        let _ = fs::remove_dir(&self.folder);
        Ok(gone)
    }

    /// Drops the references that point to a commit.
    fn forget(&self, folder: &Path, commit: &str) -> Result<()> {
        for path in list(folder) {
            if path.is_dir() {
                self.forget(&path, commit)?;
                let _ = fs::remove_dir(&path);
            } else if fs::read_to_string(&path).is_ok_and(|text| text.trim() == commit) {
                fs::remove_file(&path).map_err(|e| Error::io(&path, e))?;
            }
        }
        Ok(())
    }
}

/// The real files behind a snapshot.
pub(crate) fn blobs_of(snapshot: &Path) -> Vec<PathBuf> {
    list(snapshot).into_iter().filter_map(|link| fs::canonicalize(link).ok()).filter(|path| path.is_file()).collect()
}

/// Makes a folder and those above it.
pub(crate) fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))
}

fn list(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(folder).map(|d| d.filter_map(|e| Some(e.ok()?.path())).collect()).unwrap_or_default();
    all.sort();
    all
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        // Without links it lay in the snapshot that went before.
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io(path, e)),
        _ => Ok(()),
    }
}

fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io(folder, e)),
        _ => Ok(()),
    }
}

/// A small file, whole or not at all.
fn whole(path: &Path, bytes: &[u8]) -> Result<()> {
    make_folder(path.parent().unwrap_or(path))?;
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(format!(".{}.tmp", own_suffix()));
    fs::write(&fresh, bytes).and_then(|()| fs::rename(&fresh, path)).map_err(|e| Error::io(path, e))
}

/// Part of a temporary name that no other process and no other thread of this one uses.
fn own_suffix() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
