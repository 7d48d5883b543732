//! The file of records: a line that says what the evaluation is, then a line per image, each written whole.

use super::record::{Record, Settings};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Lines between two calls that make the disk keep them.
const SYNC_EVERY: usize = 64;

/// `1/1` is the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// From 1.
    pub part: usize,
    pub of: usize,
}

impl Shard {
    pub const WHOLE: Shard = Shard { part: 1, of: 1 };

    /// Every `of`-th image: parts take equally long.
    pub fn has(self, index: usize) -> bool {
        index % self.of == self.part - 1
    }

    /// The file of this part.
    pub fn file_name(self) -> String {
        match self {
            Shard::WHOLE => "records.jsonl".into(),
            Shard { part, of } => format!("records-{part}-of-{of}.jsonl"),
        }
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.part, self.of)
    }
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let parsed = text.split_once('/').and_then(|(part, of)| Some(Shard { part: part.parse().ok()?, of: of.parse().ok()? }));
        parsed
            .filter(|s| (1..=s.of).contains(&s.part))
            .ok_or_else(|| format!("\"{text}\" is not a part; expected I/N with I from 1 to N, e.g. 2/8"))
    }
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Version of this file's format.
    pub lancet_eval: u32,
    pub shard: Shard,
    pub adapter: String,
    pub settings: Settings,
}

/// Version of the format.
pub const FORMAT: u32 = 1;

/// A file of records that grows.
pub struct Store {
    path: PathBuf,
    file: File,
    unsynced: usize,
}

impl Store {
    /// Opens the file of this part in `folder`, or begins it; also returns what is there. A last line that was cut off is
    /// dropped.
    ///
    /// # Errors
    /// Records of other settings, a damaged file, another process that writes it.
    pub fn open(folder: &Path, header: &Header) -> Result<(Store, Vec<Record>)> {
        std::fs::create_dir_all(folder).with_context(|| format!("output folder {}", folder.display()))?;
        let path = folder.join(header.shard.file_name());
        let open = || -> Result<(File, Vec<Record>)> {
            let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
            if let Err(e) = file.try_lock() {
                match e {
                    std::fs::TryLockError::WouldBlock => {
                        bail!("another process is writing it; give each part its own --shard, or each run its own --out")
                    }
                    // Some network file systems have no locks.
                    std::fs::TryLockError::Error(_) => {}
                }
            }
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
            bytes.truncate(whole);
            file.set_len(whole as u64)?;
            file.seek(SeekFrom::End(0))?;
            if bytes.is_empty() {
                file.write_all(line(header)?.as_bytes())?;
                file.sync_data()?;
                return Ok((file, Vec::new()));
            }
            let (known, records) = parse(&bytes)?;
            if records.is_empty() && fits(&known.settings, &header.settings).is_err() {
                // Begun with other settings, and nothing came of it.
                file.set_len(0)?;
                file.seek(SeekFrom::Start(0))?;
                file.write_all(line(header)?.as_bytes())?;
                file.sync_data()?;
                return Ok((file, Vec::new()));
            }
            fits(&known.settings, &header.settings)
                .context("holds records of another evaluation; choose another --out, or delete the file")?;
            if known.adapter != header.adapter {
                eprintln!("note: {}: begun on {}, going on with {}; last digits may differ", path.display(), known.adapter, header.adapter);
            }
            Ok((file, records))
        };
        let (file, records) = open().with_context(|| path.display().to_string())?;
        Ok((Store { path, file, unsynced: 0 }, records))
    }

    /// Adds a record, whole: it is there after this call even if the process is killed.
    pub fn append(&mut self, record: &Record) -> Result<()> {
        let mut write = || -> Result<()> {
            self.file.write_all(line(record)?.as_bytes())?;
            self.unsynced += 1;
            if self.unsynced == SYNC_EVERY {
                self.unsynced = 0;
                self.file.sync_data()?;
            }
            Ok(())
        };
        write().with_context(|| self.path.display().to_string())
    }

    /// Makes the disk keep everything; the file's path.
    pub fn finish(self) -> Result<PathBuf> {
        self.file.sync_data().with_context(|| self.path.display().to_string())?;
        Ok(self.path)
    }
}

/// One line of JSON.
pub fn line(value: &impl Serialize) -> Result<String> {
    let mut line = serde_json::to_string(value)?;
    line.push('\n');
    Ok(line)
}

/// A finished file of records.
pub fn read(path: &Path) -> Result<(Header, Vec<Record>)> {
    let read = || {
        let bytes = std::fs::read(path)?;
        if bytes.last() != Some(&b'\n') {
            bail!("its last line is cut off: that part was interrupted; run it again, it will go on from there");
        }
        parse(&bytes)
    };
    read().with_context(|| path.display().to_string())
}

fn parse(bytes: &[u8]) -> Result<(Header, Vec<Record>)> {
    let mut lines = bytes.split(|&b| b == b'\n').filter(|l| !l.is_empty());
    let first = lines.next().context("is empty")?;
    let version: serde_json::Value = serde_json::from_slice(first).context("line 1 is not the header of an evaluation")?;
    match version["lancet_eval"].as_u64() {
        Some(v) if v == u64::from(FORMAT) => {}
        Some(v) => bail!("format {v}, this program reads {FORMAT}"),
        None => bail!("line 1 is not the header of an evaluation"),
    }
    let header: Header = serde_json::from_slice(first).context("line 1")?;
    let records = lines
        .enumerate()
        .map(|(i, l)| serde_json::from_slice(l).with_context(|| format!("line {} is damaged", i + 2)))
        .collect::<Result<Vec<Record>>>()?;
    let mut seen = vec![false; header.settings.images];
    for record in &records {
        match seen.get_mut(record.index) {
            Some(seen) if !*seen && header.shard.has(record.index) => *seen = true,
            _ => bail!("image {} ({}) does not belong here, or is there twice", record.index, record.id),
        }
    }
    Ok((header, records))
}

/// Says what differs.
///
/// # Errors
/// A setting differs.
pub fn fits(known: &Settings, now: &Settings) -> Result<()> {
    let (known, now) = (serde_json::to_value(known)?, serde_json::to_value(now)?);
    let fields = known.as_object().into_iter().flatten();
    let differing = fields.filter(|(key, value)| now[key.as_str()] != **value);
    let said: Vec<String> = differing.map(|(key, value)| format!("{key} was {value} and is {}", now[key.as_str()])).collect();
    if said.is_empty() { Ok(()) } else { bail!("{}", said.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards() {
        assert_eq!("2/3".parse(), Ok(Shard { part: 2, of: 3 }));
        for bad in ["0/3", "4/3", "3", "a/b", "1/0", ""] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
        for index in 0..10 {
            assert_eq!((1..=3).filter(|&part| Shard { part, of: 3 }.has(index)).count(), 1);
            assert!(Shard::WHOLE.has(index));
        }
    }
}
