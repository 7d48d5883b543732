//! One file into the cache: under a lock, resumed where it was cut off, hashed while it comes, renamed when it is right.

use crate::error::{Error, Result};
use crate::hub::Progress;
use crate::hub::cache::{Repository, make_folder};
use crate::hub::remote::{Meta, Remote};
use crate::hub::source::Source;
use sha2::Digest;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Cuts in a row that are mended without asking; each must have brought something.
const CUTS: u32 = 5;
/// A connection that brought this much does not count as one of them.
const GOOD_BYTES: u64 = 16 << 20;
const CHUNK_BYTES: usize = 1 << 18;

/// Fetches a file, unless its blob is there; the link to it in the snapshot.
pub(crate) fn download(
    remote: &Remote,
    repository: &Repository,
    source: &Source,
    meta: &Meta,
    file: &str,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<PathBuf> {
    let link = repository.snapshot(&meta.commit).join(file);
    if has_size(&link, meta.size) {
        return Ok(link);
    }
    let _lock = lock(&repository.lock(&meta.etag), file, progress)?;
    // Another process may have been faster; where links do not work, its file lies in the snapshot alone.
    if has_size(&link, meta.size) {
        return Ok(link);
    }
    let blob = repository.blob(&meta.etag);
    if !has_size(&blob, meta.size) {
        let partial = repository.partial(&meta.etag);
        make_folder(&repository.folder.join("blobs"))?;
        let hash = fill(remote, source, meta, file, &partial, progress)?;
        if hash != meta.etag.to_ascii_lowercase() {
            std::fs::remove_file(&partial).map_err(|e| Error::io(&partial, e))?;
            return Err(Error::Hub {
                what: format!(
                    "{}: {file}: the download is damaged: expected {} {}, got {hash}; it was deleted, run again",
                    source.repository,
                    if meta.etag.len() == 64 { "sha256" } else { "git blob" },
                    meta.etag
                ),
            });
        }
        std::fs::rename(&partial, &blob).map_err(|e| Error::io(&blob, e))?;
    }
    repository.link(&meta.commit, file, &meta.etag)
}

fn has_size(path: &Path, bytes: u64) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() == bytes)
}

/// The lock that Python's `huggingface_hub` takes as well; freed when dropped.
fn lock(path: &Path, file: &str, progress: &mut dyn FnMut(Progress<'_>)) -> Result<File> {
    make_folder(path.parent().unwrap_or(path))?;
    let handle = OpenOptions::new().create(true).append(true).open(path).map_err(|e| Error::io(path, e))?;
    match handle.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress(Progress::Waiting { file });
            handle.lock().map_err(|e| Error::io(path, e))?;
        }
        Err(TryLockError::Error(e)) => return Err(Error::io(path, e)),
    }
    Ok(handle)
}

/// Brings the partial file to its full size; its hash.
fn fill(
    remote: &Remote,
    source: &Source,
    meta: &Meta,
    name: &str,
    partial: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<String> {
    let trouble = |e: io::Error| disk(partial, meta.size, e);
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(partial).map_err(trouble)?;
    let mut hash = Hash::new(meta);
    let mut have = file.metadata().map_err(trouble)?.len();
    if have > meta.size {
        have = restart(&mut file, &mut hash, meta).map_err(trouble)?;
    }
    let mut buffer = vec![0; CHUNK_BYTES];
    // What an earlier run left is part of the hash.
    let mut left = have;
    file.seek(SeekFrom::Start(0)).map_err(trouble)?;
    while left > 0 {
        let n = file.read(&mut buffer).map_err(trouble)?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
        left -= n as u64;
    }
    let mut cuts = 0;
    while have < meta.size {
        let asked = have;
        let (response, start) = remote.open(source, meta, name, asked)?;
        if start != have {
            // The server knows no ranges: from the beginning.
            have = restart(&mut file, &mut hash, meta).map_err(trouble)?;
        }
        let mut body = response.into_body().into_reader();
        let before = have;
        let cut = loop {
            progress(Progress::Bytes { file: name, done: have, total: meta.size });
            if have == meta.size {
                break String::new();
            }
            match body.read(&mut buffer) {
                Ok(0) => break "the connection was closed".to_owned(),
                Ok(n) => {
                    // More than was announced is no part of the file.
                    let n = n.min(usize::try_from(meta.size - have).unwrap_or(n));
                    file.write_all(&buffer[..n]).map_err(trouble)?;
                    hash.update(&buffer[..n]);
                    have += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => break e.to_string(),
            }
        };
        cuts = if have - before >= GOOD_BYTES { 0 } else { cuts + 1 };
        if have < meta.size && (cuts >= CUTS || have == before || start < asked) {
            return Err(Error::Hub {
                what: format!(
                    "{}: {name}: cut off at {have} of {} bytes ({cut}); what came is kept, run again to resume",
                    source.repository, meta.size
                ),
            });
        }
    }
    file.sync_all().map_err(trouble)?;
    Ok(hash.finish())
}

fn restart(file: &mut File, hash: &mut Hash, meta: &Meta) -> io::Result<u64> {
    file.set_len(0)?;
    *hash = Hash::new(meta);
    Ok(0)
}

fn disk(path: &Path, bytes: u64, e: io::Error) -> Error {
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Hub {
            what: format!(
                "{}: the disk is full: the whole file has {bytes} bytes; make room and run again, or move the cache with HF_HUB_CACHE",
                path.display()
            ),
        },
        _ => Error::io(path, e),
    }
}

/// The two hashes that a hub names files by.
enum Hash {
    Sha256(sha2::Sha256),
    GitBlob(sha1::Sha1),
}

impl Hash {
    fn new(meta: &Meta) -> Hash {
        if meta.etag.len() == 64 {
            return Hash::Sha256(sha2::Sha256::new());
        }
        let header = format!("blob {}\0", meta.size);
        Hash::GitBlob(sha1::Sha1::new_with_prefix(header))
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Hash::Sha256(hash) => hash.update(bytes),
            Hash::GitBlob(hash) => hash.update(bytes),
        }
    }

    fn finish(self) -> String {
        let bytes = match self {
            Hash::Sha256(hash) => hash.finalize().to_vec(),
            Hash::GitBlob(hash) => hash.finalize().to_vec(),
        };
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }
}
