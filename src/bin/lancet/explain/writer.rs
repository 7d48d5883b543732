//! The files of one image: label by label from any thread, complete when the last label is in.

use super::report::{LabelReport, Peak};
use crate::output::{OutDir, npy, png, png_opaque};
use crate::sheet::{Tile, sheet};
use anyhow::{Context, Result};
use lancet::LabelMap;
use lancet::reference::jet;
use std::sync::{Mutex, PoisonError};
use tempfile::TempPath;

/// Which files an image gets.
#[derive(Clone, Copy, Debug)]
pub struct Kinds {
    pub alpha: bool,
    pub npy: bool,
    pub sheet: bool,
    pub json: bool,
}

/// An image whose files are being written.
#[derive(Debug)]
pub struct Writing {
    /// Place in the list of images.
    pub index: usize,
    pub name: String,
    /// (width, height), pixels.
    pub size: [u32; 2],
    pub decode_ms: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    picture: Option<Tile>,
    labels: Vec<Option<Label>>,
    missing: usize,
}

#[derive(Debug)]
struct Label {
    files: Vec<(TempPath, String)>,
    tile: Option<Tile>,
    report: LabelReport,
}

/// All files of an image, without names yet.
#[derive(Debug)]
pub struct Complete {
    pub files: Vec<(TempPath, String)>,
    pub labels: Vec<LabelReport>,
    pub sheet: Option<String>,
}

/// The files of image `name` for a label whose file name part is `part`: overlay, then alpha, then map.
fn label_files(name: &str, part: &str, kinds: Kinds) -> (String, Option<String>, Option<String>) {
    let file = |ending: &str| format!("{name}.{part}{ending}");
    (file(".png"), kinds.alpha.then(|| file(".alpha.png")), kinds.npy.then(|| file(".npy")))
}

/// Every file that image `name` gets.
pub fn all_files<'a>(name: &'a str, parts: &'a [String], kinds: Kinds) -> impl Iterator<Item = String> + 'a {
    let labels = parts.iter().flat_map(move |part| {
        let (overlay, alpha, map) = label_files(name, part, kinds);
        [Some(overlay), alpha, map].into_iter().flatten()
    });
    labels.chain(kinds.sheet.then(|| sheet_name(name))).chain(kinds.json.then(|| format!("{name}.json")))
}

fn sheet_name(name: &str) -> String {
    format!("{name}.sheet.png")
}

impl Writing {
    /// `picture` is the first tile of the contact sheet, if there is to be one.
    pub fn new(index: usize, name: String, size: [u32; 2], decode_ms: f64, picture: Option<Tile>, labels: usize) -> Writing {
        let state = State { picture, labels: (0..labels).map(|_| None).collect(), missing: labels };
        Writing { index, name, size, decode_ms, state: Mutex::new(state) }
    }

    /// Writes one label's files; with the last label, the sheet, and returns all of them.
    pub fn add(&self, out: &OutDir, at: usize, part: &str, label: LabelMap, kinds: Kinds) -> Result<Option<Complete>> {
        let (overlay, alpha, map) = label_files(&self.name, part, kinds);
        let mut files = Vec::new();
        let mut write = |name: &str, write: &dyn Fn(&mut dyn std::io::Write) -> Result<()>| -> Result<()> {
            let file = out.temporary(|w| write(w)).with_context(|| out.path().join(name).display().to_string())?;
            files.push((file, name.to_owned()));
            Ok(())
        };
        write(&overlay, &|w| png_opaque(w, &label.overlay, self.size))?;
        if let Some(alpha) = &alpha {
            write(alpha, &|w| png(w, &transparent(&label.map), self.size))?;
        }
        if let Some(map) = &map {
            write(map, &|w| npy(w, &label.map, &[u64::from(self.size[1]), u64::from(self.size[0])]))?;
        }
        let tile = kinds.sheet.then(|| Tile::new(&format!("{}  {:.3}", label.label, label.score), &label.overlay, self.size));
        let peak = Peak { x: label.peak[0], y: label.peak[1], score: label.peak_score };
        let report = LabelReport { label: label.label, score: label.score, peak, overlay, map };

        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = state.labels.get_mut(at) {
            *place = Some(Label { files, tile, report });
            state.missing = state.missing.saturating_sub(1);
        }
        if state.missing > 0 {
            return Ok(None);
        }
        let (picture, labels) = (state.picture.take(), std::mem::take(&mut state.labels));
        drop(state);
        self.complete(out, picture, labels, kinds).map(Some)
    }

    fn complete(&self, out: &OutDir, picture: Option<Tile>, labels: Vec<Option<Label>>, kinds: Kinds) -> Result<Complete> {
        let mut complete = Complete { files: Vec::new(), labels: Vec::new(), sheet: None };
        let mut tiles: Vec<Tile> = picture.into_iter().collect();
        for label in labels.into_iter().flatten() {
            complete.files.extend(label.files);
            complete.labels.push(label.report);
            tiles.extend(label.tile);
        }
        if kinds.sheet {
            let name = sheet_name(&self.name);
            let (pixels, size) = sheet(&tiles);
            let file = out.temporary(|w| png_opaque(w, &pixels, size)).with_context(|| out.path().join(&name).display().to_string())?;
            complete.files.push((file, name.clone()));
            complete.sheet = Some(name);
        }
        Ok(complete)
    }
}

/// The map's colours, as opaque as the map is strong.
fn transparent(map: &[f32]) -> Vec<u8> {
    map.iter()
        .flat_map(|&v| {
            let level = (255.0 * v.clamp(0.0, 1.0)) as u8;
            let [r, g, b] = jet(level);
            [r, g, b, level]
        })
        .collect()
}
