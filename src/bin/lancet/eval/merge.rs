//! `lancet eval merge`: parts to a whole.

use super::record::Record;
use super::report::Results;
use super::store::{FORMAT, Header, Shard, fits, line, read};
use super::table::table;
use crate::output::OutDir;
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Join the parts of an evaluation that ran with --shard; the result is that of a run in one piece, to the last digit
///
/// Example: lancet eval merge part1 part2 part3 --out whole
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folders with records (--out of the parts); several parts may share one
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Folder for the result
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print the result as JSON instead of a table
    #[arg(long)]
    json: bool,
    /// No table
    #[arg(long, short)]
    quiet: bool,
}

/// Runs `lancet eval merge`.
pub fn run(args: &Args) -> Result<()> {
    let mut parts: Vec<(PathBuf, Header, Vec<Record>)> = Vec::new();
    for folder in &args.folders {
        for path in record_files(folder)? {
            let (header, records) = read(&path)?;
            parts.push((path, header, records));
        }
    }
    let (header, records) = join(parts)?;
    let results = Results::of(&header.settings, records.clone())?;
    write(&args.out, &header, records, &results)?;
    print(&results, args.json, args.quiet)
}

/// Files of parts in a folder; a whole one, if that is all there is.
fn record_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut parts = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| folder.display().to_string())?.path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("records-") && name.ends_with(".jsonl") {
            parts.push(path);
        }
    }
    let whole = folder.join(Shard::WHOLE.file_name());
    if parts.is_empty() && whole.is_file() {
        parts.push(whole);
    }
    if parts.is_empty() {
        bail!("{}: no records here; expected the --out folder of lancet eval", folder.display());
    }
    parts.sort();
    Ok(parts)
}

/// Checks that the parts make a whole.
fn join(mut parts: Vec<(PathBuf, Header, Vec<Record>)>) -> Result<(Header, Vec<Record>)> {
    let (first, head) = parts.first().map(|(path, header, _)| (path.clone(), header.clone())).context("no records")?;
    for (path, header, _) in &parts[1..] {
        let apart = || format!("{} and {} are parts of different evaluations", first.display(), path.display());
        fits(&head.settings, &header.settings).with_context(apart)?;
        if header.shard.of != head.shard.of {
            bail!("{}: {} is part {}, {} is part {}", apart(), first.display(), head.shard, path.display(), header.shard);
        }
        if header.adapter != head.adapter {
            eprintln!(
                "note: {} ran on {}, {} on {}; last digits may differ",
                first.display(),
                head.adapter,
                path.display(),
                header.adapter
            );
        }
    }
    parts.sort_by_key(|(_, header, _)| header.shard.part);
    if let Some(twice) = parts.windows(2).find(|w| w[0].1.shard == w[1].1.shard) {
        bail!("{} and {} are both part {}; name one of them", twice[0].0.display(), twice[1].0.display(), twice[0].1.shard);
    }
    let absent: Vec<String> = (1..=head.shard.of)
        .filter(|&part| parts.iter().all(|p| p.1.shard.part != part))
        .map(|part| Shard { part, ..head.shard }.to_string())
        .collect();
    if !absent.is_empty() {
        bail!("part {} is missing", absent.join(", "));
    }
    for (path, header, records) in &parts {
        let wanted = (0..header.settings.images).filter(|&i| header.shard.has(i)).count();
        if records.len() != wanted {
            bail!("{}: {} of {wanted} images; run part {} again, it will go on from there", path.display(), records.len(), header.shard);
        }
    }
    let mut records: Vec<Record> = parts.into_iter().flat_map(|p| p.2).collect();
    records.sort_by_key(|r| r.index);
    Ok((Header { lancet_eval: FORMAT, shard: Shard::WHOLE, ..head }, records))
}

fn write(folder: &Path, header: &Header, records: Vec<Record>, results: &Results) -> Result<()> {
    let mut out = OutDir::open(folder)?;
    out.stage(&Shard::WHOLE.file_name(), |w| {
        w.write_all(line(header)?.as_bytes())?;
        records.iter().try_for_each(|r| Ok(w.write_all(line(r)?.as_bytes())?))
    })?;
    stage(&mut out, results)?;
    out.commit()
}

/// `result.json`.
pub fn stage(out: &mut OutDir, results: &Results) -> Result<()> {
    out.stage("result.json", |w: &mut dyn Write| {
        serde_json::to_writer_pretty(&mut *w, results)?;
        Ok(w.write_all(b"\n")?)
    })?;
    Ok(())
}

/// On stdout.
pub fn print(results: &Results, json: bool, quiet: bool) -> Result<()> {
    if json {
        out!("{}", serde_json::to_string_pretty(results)?);
    } else if !quiet {
        print!("{}", table(results));
    }
    Ok(())
}
