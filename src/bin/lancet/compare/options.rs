//! `--truth`: which masks, and what their numbers stand for.

use super::truth::Truth;
use anyhow::{Context, Result, bail};
use clap::Args;
use lancet::explain::segment::{Class, Classes};
use std::path::{Path, PathBuf};

/// Where things are.
#[derive(Debug, Args)]
pub struct TruthArgs {
    /// What is where: a PNG of numbers as large as the image (0 nothing, 255 not asked about, n the n-th label, or the n-th name
    /// of --truth-names), or a folder with a mask for each label (LABEL.png, 0 outside)
    #[arg(long, value_name = "PNG|DIR", help_heading = "Truth")]
    truth: Option<PathBuf>,
    /// What the numbers of the masks stand for from 1 on: a file with one name a line, or a built-in list, for example voc20
    #[arg(long, value_name = "FILE|LIST", requires = "truth", help_heading = "Truth")]
    truth_names: Option<PathBuf>,
}

impl TruthArgs {
    /// The masks of `labels` for an image of `size` (width, height).
    pub fn read(&self, labels: &[String], size: [u32; 2]) -> Result<Option<Truth>> {
        let Some(path) = &self.truth else { return Ok(None) };
        let names = self.truth_names.as_deref().map(numbered).transpose()?;
        if path.is_dir() {
            if names.is_some() {
                bail!("--truth-names: {} is a folder, whose masks have the labels' names; drop it", path.display());
            }
            return Truth::folder(path, labels, size).map(Some);
        }
        Truth::index(path, labels, names.as_deref(), size).map(Some)
    }
}

/// The names of numbers 1, 2 and so on; several for one number stand beside each other.
fn numbered(list: &Path) -> Result<Vec<Vec<String>>> {
    let all = |class: &Class| std::iter::once(class.title.clone()).chain(class.names.iter().cloned()).collect::<Vec<_>>();
    let names: Vec<Vec<String>> = if list.exists() && !list.is_dir() {
        let complaint = || list.display().to_string();
        let text = std::fs::read_to_string(list).with_context(complaint)?;
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        lines.map(|line| Ok(all(&Class::parse(line)?))).collect::<Result<_>>().with_context(complaint)?
    } else {
        let text = list.to_string_lossy();
        let set = Classes::set(&text).with_context(|| format!("--truth-names {text}: no such file"))?;
        // Its background is number 0.
        set.list().iter().skip(usize::from(set.has_background())).map(all).collect()
    };
    match names.len() {
        1..=254 => Ok(names),
        n => bail!("--truth-names {}: {n} names; a mask has room for 1 to 254", list.display()),
    }
}
