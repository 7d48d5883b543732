//! PASCAL VOC 2012 and PASCAL Context: lists of names, JPEGs, and masks with a palette.

use super::mask::Lut;
use super::{Dataset, Item, Truth, first_folder};
use anyhow::{Context, Result, bail};
use lancet::eval::IGNORED;
use lancet::explain::segment::Class;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `ImageSets/Segmentation/val.txt`, `JPEGImages`, `SegmentationClass` (0 background, 1 to 20, 255 border).
pub fn voc(root: &Path, classes: Vec<Class>, background: bool) -> Result<Dataset> {
    let base = base(root, &["", "VOC2012", "VOCdevkit/VOC2012"])?;
    open(root, base, ["ImageSets/Segmentation/val.txt", "SegmentationClass"], classes, background)
}

/// As VOC 2010 with the masks that MMSegmentation's converter writes: `ImageSets/SegmentationContext/val.txt`, `JPEGImages`,
/// `SegmentationClassContext` (0 background, 1 to 59).
pub fn context(root: &Path, classes: Vec<Class>, background: bool) -> Result<Dataset> {
    let base = base(root, &["", "VOC2010", "VOCdevkit/VOC2010"])?;
    let files = ["ImageSets/SegmentationContext/val.txt", "SegmentationClassContext"];
    open(root, base, files, classes, background)
}

/// The folder with `JPEGImages`.
fn base(root: &Path, folders: &[&str]) -> Result<PathBuf> {
    let with: Vec<String> = folders.iter().map(|f| Path::new(f).join("JPEGImages").to_string_lossy().into_owned()).collect();
    let images = first_folder(root, &with.iter().map(String::as_str).collect::<Vec<_>>())?;
    Ok(images.parent().map(Path::to_owned).unwrap_or_default())
}

fn open(root: &Path, base: PathBuf, [list, masks]: [&str; 2], classes: Vec<Class>, background: bool) -> Result<Dataset> {
    let list = base.join(list);
    let text = std::fs::read_to_string(root.join(&list)).with_context(|| list.display().to_string())?;
    // With background the classes stand as they are numbered; without it class 1 becomes 0 and nobody asks about the rest.
    let shift = u8::from(!background);
    let count = classes.len() as u8;
    let numbered = (0..count).map(|c| (c + shift, u16::from(c)));
    let rest = [(0, IGNORED), (255, IGNORED)].into_iter().skip(usize::from(background));
    let lut = Arc::new(Lut::new(numbered.chain(rest)));
    let mut items = Vec::new();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if line.contains(['/', '\\']) || line.split_whitespace().count() != 1 {
            bail!("{}: \"{line}\" is not a name; expected one a line", list.display());
        }
        items.push(Item {
            id: line.to_owned(),
            group: String::new(),
            image: base.join("JPEGImages").join(format!("{line}.jpg")),
            truth: Truth::Index { mask: base.join(masks).join(format!("{line}.png")), lut: lut.clone() },
        });
    }
    Ok(Dataset { root: root.to_owned(), classes, background: background.then_some(0), templates: None, items })
}
