//! Data sets: which images there are, what is on them, and what the classes are called.

mod ade20k;
mod cityscapes;
mod coco;
pub mod mask;
mod panoptic;
mod scenes;
mod voc;

use anyhow::{Context, Result, bail};
use lancet::Templates;
use lancet::explain::segment::{Class, Classes};
use mask::Lut;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What `lancet eval` reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Own scenes: a folder with scenes.json
    Scenes,
    /// PASCAL VOC 2012, 20 classes and background
    Voc,
    /// PASCAL VOC 2012, 20 classes, background ignored
    Voc20,
    /// PASCAL Context, 59 classes, background ignored
    Context59,
    /// PASCAL Context, 59 classes and background
    Context60,
    /// ADE20K, 150 classes
    Ade20k,
    /// Cityscapes, 19 classes
    Cityscapes,
    /// COCO-Stuff 164k, 171 classes
    CocoStuff,
    /// COCO objects, 80 classes and background, from the COCO-Stuff masks
    CocoObject,
    /// COCO panoptic, 133 classes
    CocoPanoptic,
}

impl Kind {
    /// As on the command line.
    pub fn name(self) -> String {
        use clap::ValueEnum;
        self.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned())
    }
}

impl Kind {
    /// The built-in list of its classes, if it has one.
    pub fn class_list(self) -> Option<&'static str> {
        Some(match self {
            Kind::Scenes | Kind::CocoPanoptic => return None,
            Kind::Voc => "voc21",
            Kind::Voc20 => "voc20",
            Kind::Context59 => "context59",
            Kind::Context60 => "context60",
            Kind::Ade20k => "ade20k",
            Kind::Cityscapes => "cityscapes",
            Kind::CocoStuff => "coco-stuff",
            Kind::CocoObject => "coco-object",
        })
    }

    fn classes(self) -> Result<Vec<Class>> {
        Ok(Classes::set(self.class_list().unwrap_or_default())?.list().to_vec())
    }
}

/// A data set, opened: nothing but lists is in memory.
#[derive(Debug)]
pub struct Dataset {
    /// Where it lies; paths of items are below.
    pub root: PathBuf,
    /// In the order of their indices.
    pub classes: Vec<Class>,
    /// The class that is no object, if background is one.
    pub background: Option<u16>,
    /// The set's own prompt templates.
    pub templates: Option<Templates>,
    /// In a fixed order.
    pub items: Vec<Item>,
}

/// One image.
#[derive(Debug)]
pub struct Item {
    /// Unique in the set, the same on every machine.
    pub id: String,
    /// What results are grouped by; empty if nothing.
    pub group: String,
    /// Below the root.
    pub image: PathBuf,
    /// What is on it.
    pub truth: Truth,
}

/// What is on an image; paths are below the root.
#[derive(Debug)]
pub enum Truth {
    /// One object of this class, without a mask.
    Single(u16),
    /// A mask of small numbers.
    Index { mask: PathBuf, lut: Arc<Lut> },
    /// As `Index`, in which all of these classes must occur.
    Scene { mask: PathBuf, lut: Arc<Lut>, classes: Vec<u16> },
    /// A mask of segment ids, and their classes.
    Panoptic { mask: PathBuf, segments: Vec<(u32, u16)> },
}

impl Dataset {
    /// Opens a data set.
    ///
    /// # Errors
    /// Not the layout of this kind.
    pub fn open(kind: Kind, root: &Path) -> Result<Dataset> {
        if !root.is_dir() {
            bail!("data set {}: no such folder", root.display());
        }
        let set = match kind {
            Kind::Scenes => scenes::open(root),
            Kind::Voc => voc::voc(root, kind.classes()?, true),
            Kind::Voc20 => voc::voc(root, kind.classes()?, false),
            Kind::Context59 => voc::context(root, kind.classes()?, false),
            Kind::Context60 => voc::context(root, kind.classes()?, true),
            Kind::Ade20k => ade20k::open(root, kind.classes()?),
            Kind::Cityscapes => cityscapes::open(root, kind.classes()?),
            Kind::CocoStuff => coco::stuff(root, kind.classes()?),
            Kind::CocoObject => coco::object(root, kind.classes()?),
            Kind::CocoPanoptic => panoptic::open(root),
        };
        let set = set.with_context(|| format!("{} data set {}", kind.name(), root.display()))?;
        if set.items.is_empty() {
            bail!("{} data set {}: it has no image", kind.name(), root.display());
        }
        Ok(set)
    }

    /// What an item's mask says, `[H, W]`; `None` for a single object.
    pub fn truth(&self, item: &Item, size: [u32; 2]) -> Result<Option<Vec<u16>>> {
        match &item.truth {
            Truth::Single(_) => Ok(None),
            Truth::Index { mask, lut } => mask::index(&self.root.join(mask), size, lut).map(Some),
            Truth::Scene { mask, lut, classes } => {
                let truth = mask::index(&self.root.join(mask), size, lut)?;
                if let Some(absent) = classes.iter().find(|c| !truth.contains(c)) {
                    let name = &self.classes[usize::from(*absent)].title;
                    bail!("mask {}: \"{name}\" is listed for it, but not one pixel has its value", mask.display());
                }
                Ok(Some(truth))
            }
            Truth::Panoptic { mask, segments } => {
                let class = |id| segments.binary_search_by_key(&id, |s| s.0).ok().map(|at| segments[at].1);
                mask::rgb(&self.root.join(mask), size, class).map(Some)
            }
        }
    }

    /// Of the list, not of the pixels: the same wherever the set lies.
    pub fn fingerprint(&self) -> String {
        let mut hash = blake3::Hasher::new();
        for item in &self.items {
            hash.update(format!("{item:?}\n").replace('\\', "/").as_bytes());
        }
        hash.finalize().to_hex()[..32].to_owned()
    }
}

/// The first of `folders` below `root` that exists; for sets that are unpacked in more than one way.
fn first_folder(root: &Path, folders: &[&str]) -> Result<PathBuf> {
    folders
        .iter()
        .map(PathBuf::from)
        .find(|f| root.join(f).is_dir())
        .with_context(|| format!("none of these folders is here: {}", folders.join(", ")))
}

/// Names of the files in a folder with this ending, without it, sorted.
fn stems(folder: &Path, ending: &str) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut stems = Vec::new();
    for entry in entries {
        let name = entry.with_context(|| folder.display().to_string())?.file_name();
        if let Some(stem) = name.to_str().and_then(|n| n.strip_suffix(ending)) {
            stems.push(stem.to_owned());
        }
    }
    stems.sort();
    if stems.is_empty() {
        bail!("{}: no file here ends in {ending}", folder.display());
    }
    Ok(stems)
}

#[cfg(test)]
mod tests;
