//! Models by name: fetched from a hub when first used, checked, resumed, and kept in the usual Hugging Face cache, so that
//! what Python fetched is used here and the other way round. Knows files, not models.
//!
//! ```no_run
//! use lancet::hub::{Hub, Source};
//!
//! # fn run() -> lancet::Result<()> {
//! let found = Hub::from_env()?.get(&Source::parse("ViT-B-16")?, &mut |_| ())?;
//! let weights = lancet::Weights::open(found.weights)?;
//! # Ok(())
//! # }
//! ```
//!
//! Every file is checked against the hash by which the hub names it: the sha256 of a large file, the git blob id of a small
//! one. Calls block; give them a thread where that matters.

mod cache;
mod download;
mod registry;
mod remote;
mod source;

pub use registry::Model;
pub use source::Source;

use crate::error::{Error, Result};
use cache::Repository;
use remote::Remote;
use std::env;
use std::path::{Path, PathBuf};

/// A hub and the cache of its files on this machine.
#[derive(Clone, Debug)]
pub struct Hub {
    remote: Remote,
    cache: PathBuf,
    offline: bool,
}

/// How far a fetch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Another process is fetching the same file.
    Waiting {
        /// Its name in the repository.
        file: &'a str,
    },
    /// Bytes on disk; a resumed file does not begin at 0.
    Bytes {
        /// Its name in the repository.
        file: &'a str,
        /// So far.
        done: u64,
        /// Of the whole file.
        total: u64,
    },
}

/// A model's files in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The weights; config and tokenizer lie beside them.
    pub weights: PathBuf,
    /// The commit they are of.
    pub commit: String,
    /// Bytes of all its files.
    pub bytes: u64,
    /// What the user should know, if not all went well.
    pub note: Option<String>,
}

impl Hub {
    /// The public hub, a cache in this folder, no token.
    pub fn new(cache: impl Into<PathBuf>) -> Hub {
        Hub { remote: Remote::new("https://huggingface.co", None), cache: cache.into(), offline: false }
    }

    /// As `huggingface_hub` reads the environment: `HF_ENDPOINT`, `HF_HUB_CACHE` or `HF_HOME` or `XDG_CACHE_HOME`, `HF_TOKEN`
    /// or the token that `hf auth login` saved, `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    /// No home folder, or an endpoint that is no URL.
    pub fn from_env() -> Result<Hub> {
        let var = |name: &str| env::var(name).ok().filter(|v| !v.trim().is_empty());
        let folder = |name: &str| var(name).map(|v| v.strip_prefix("~/").and_then(|r| Some(env::home_dir()?.join(r))).unwrap_or(v.into()));
        let home = folder("HF_HOME")
            .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("huggingface")))
            .or_else(|| Some(env::home_dir()?.join(".cache/huggingface")))
            .ok_or_else(|| Error::Hub { what: "no home folder for the models; set HF_HOME to a folder that can be written".into() })?;
        let cache = folder("HF_HUB_CACHE").or_else(|| folder("HUGGINGFACE_HUB_CACHE")).unwrap_or_else(|| home.join("hub"));
        let saved = folder("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
        let token = var("HF_TOKEN").or_else(|| std::fs::read_to_string(saved).ok()).map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
        let offline = var("HF_HUB_OFFLINE").is_some_and(|v| ["1", "on", "yes", "true"].contains(&v.trim().to_lowercase().as_str()));
        let endpoint = var("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        Hub::new(cache).offline(offline).endpoint(&endpoint, token)
    }

    /// Another hub, and the token for it. Plain http is for mirrors in one's own network: it is used when asked for here,
    /// and never because a redirect says so.
    ///
    /// # Errors
    /// Not an http or https URL; a token that no header can carry.
    pub fn endpoint(self, url: &str, token: Option<String>) -> Result<Hub> {
        if !["https://", "http://"].iter().any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| !rest.trim_matches('/').is_empty())) {
            return Err(Error::Hub { what: format!("HF_ENDPOINT is \"{url}\", expected a URL such as https://huggingface.co") });
        }
        if token.as_ref().is_some_and(|t| !t.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(Error::Hub { what: "HF_TOKEN holds characters that no token has; copy it anew from the hub's settings".into() });
        }
        Ok(Hub { remote: Remote::new(url, token), ..self })
    }

    /// Uses the cache alone.
    pub fn offline(self, offline: bool) -> Hub {
        Hub { offline, ..self }
    }

    /// The cache's folder.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// The model's files if they are in the cache; asks nobody.
    pub fn cached(&self, source: &Source) -> Option<Snapshot> {
        self.look(source).map(|(snapshot, _)| snapshot)
    }

    /// From the cache, or from the hub when first used.
    ///
    /// # Errors
    /// As [`Hub::fetch`]; not in the cache while offline.
    pub fn get(&self, source: &Source, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Snapshot> {
        let Some((snapshot, missing)) = self.look(source) else { return self.fetch(source, progress) };
        if missing.is_empty() {
            return Ok(snapshot);
        }
        // Fetched by a program that needs fewer files: the rest is worth a try, not a failure.
        let without = |why: &str| format!("{source}: used from the cache without {} ({why})", missing.join(" and "));
        if self.offline {
            return Ok(Snapshot { note: Some(without("offline")), ..snapshot });
        }
        self.fetch(source, progress).or_else(|e| Ok(Snapshot { note: Some(without(&e.to_string())), ..snapshot }))
    }

    /// Asks the hub for the revision's files and fetches those that are not in the cache.
    ///
    /// # Errors
    /// Offline, no such repository, no access, the connection fails, a file is damaged, the disk says no.
    pub fn fetch(&self, source: &Source, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Snapshot> {
        if self.offline {
            let what = format!(
                "{source} is not in the cache {}, and --offline or HF_HUB_OFFLINE forbids to fetch it; fetch it once without, or set HF_HUB_CACHE to where it is",
                self.cache.display()
            );
            return Err(Error::Hub { what });
        }
        let repository = Repository::new(&self.cache, source);
        for &(weights, configs) in source.candidates() {
            let Some(meta) = self.remote.meta(source, &source.revision, weights)? else { continue };
            // The rest must be of the same commit, and comes first: who finds weights finds everything.
            let small = |file: &str, progress: &mut dyn FnMut(Progress<'_>)| match self.remote.meta(source, &meta.commit, file)? {
                Some(meta) => download::download(&self.remote, &repository, source, &meta, file, progress).map(|_| true),
                None => repository.remember_lack(&meta.commit, file).map(|()| false),
            };
            let mut described = false;
            for config in configs {
                described = described || small(config, progress)?;
            }
            if !described {
                let what = format!("{}: {weights} is there but no {}; is it a CLIP?", source.repository, configs.join(" or "));
                return Err(Error::Hub { what });
            }
            for file in source.optional(weights) {
                small(file, progress)?;
            }
            download::download(&self.remote, &repository, source, &meta, weights, progress)?;
            repository.remember(&source.revision, &meta.commit)?;
            return self.cached(source).ok_or_else(|| Error::Hub {
                what: format!("{source}: fetched, but not to be found in {}; does another program clean it up?", self.cache.display()),
            });
        }
        let known: Vec<&str> = Model::all().iter().map(|m| m.name).collect();
        let files: Vec<&str> = source.candidates().iter().map(|c| c.0).collect();
        Err(Error::Hub {
            what: format!(
                "{source}: the repository holds no {}; models with a name that are known to have it: {}",
                files.join(" and no "),
                known.join(", ")
            ),
        })
    }

    /// Takes a model out of the cache: its snapshot, the files that no other snapshot uses, and what was left half-done.
    /// Returns what went, with its bytes.
    ///
    /// # Errors
    /// The disk says no.
    pub fn remove(&self, source: &Source) -> Result<Vec<(u64, PathBuf)>> {
        Repository::new(&self.cache, source).remove(&source.revision)
    }

    /// The snapshot in the cache, and the files that are neither there nor known not to exist.
    fn look(&self, source: &Source) -> Option<(Snapshot, Vec<&'static str>)> {
        let repository = Repository::new(&self.cache, source);
        let commit = repository.commit(&source.revision)?;
        let folder = repository.snapshot(&commit);
        let has = |file: &str| folder.join(file).is_file();
        let (weights, _) = source.candidates().iter().find(|(weights, configs)| has(weights) && configs.iter().any(|c| has(c)))?;
        let missing = source.optional(weights).iter().copied().filter(|file| !has(file) && !repository.lacks(&commit, file)).collect();
        let bytes = cache::blobs_of(&folder).iter().filter_map(|b| Some(std::fs::metadata(b).ok()?.len())).sum();
        Some((Snapshot { weights: folder.join(weights), commit, bytes, note: None }, missing))
    }
}
