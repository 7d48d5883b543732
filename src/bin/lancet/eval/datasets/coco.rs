//! COCO 2017 validation with the COCO-Stuff masks: all 171 classes, or the 80 objects and background.

use super::mask::Lut;
use super::{Dataset, Item, Truth, first_folder, stems};
use anyhow::{Context, Result};
use lancet::eval::IGNORED;
use lancet::explain::segment::Class;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Category ids (from 1) that were given to nothing. Ids to 90 are things, from 92 to 182 stuff. The masks hold id - 1.
const UNUSED_IDS: [u16; 11] = [12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91];
const LAST_THING: u16 = 90;
const LAST_STUFF: u16 = 182;

/// (number in the mask, category id) of everything that exists, in order: 80 things, 91 stuff.
fn categories() -> impl Iterator<Item = (u8, u16)> {
    (1..=LAST_STUFF).filter(|id| !UNUSED_IDS.contains(id)).map(|id| ((id - 1) as u8, id))
}

/// `val2017` images; masks `annotations/val2017/NAME_labelTrainIds.png` (0 to 170) or as downloaded, `NAME.png` in
/// `stuffthingmaps/val2017` or `annotations/val2017`; 255 is unlabelled.
pub fn stuff(root: &Path, classes: Vec<Class>) -> Result<Dataset> {
    let made = Lut::new((0..171u8).map(|c| (c, u16::from(c))).chain([(255, IGNORED)]));
    let raw = Lut::new(categories().zip(0..).map(|((number, _), class)| (number, class)).chain([(255, IGNORED)]));
    open(root, classes, "_labelTrainIds.png", made, raw, None)
}

/// The same images; masks `NAME_instanceTrainIds.png` (0 background, 1 to 80), or as downloaded: stuff and unlabelled
/// pixels are background, as in the conversion that published numbers use.
pub fn object(root: &Path, classes: Vec<Class>) -> Result<Dataset> {
    let made = Lut::new((0..=80u8).map(|c| (c, u16::from(c))).chain([(255, IGNORED)]));
    let class = |(place, (number, id)): (usize, (u8, u16))| (number, if id <= LAST_THING { place as u16 + 1 } else { 0 });
    let raw = Lut::new(categories().enumerate().map(class).chain([(255, 0)]));
    open(root, classes, "_instanceTrainIds.png", made, raw, Some(0))
}

/// The folder of the validation images.
pub fn images(root: &Path) -> Result<PathBuf> {
    first_folder(root, &["images/val2017", "val2017"])
}

fn open(root: &Path, classes: Vec<Class>, ending: &str, made: Lut, raw: Lut, background: Option<u16>) -> Result<Dataset> {
    let images = images(root)?;
    let names = stems(&root.join(&images), ".jpg")?;
    let first = names.first().context("no image")?;
    // Whichever kind of mask the first image has, all must have.
    let kinds = [
        ("annotations/val2017", ending, made),
        ("stuffthingmaps/val2017", ".png", Lut::new([])),
        ("annotations/val2017", ".png", Lut::new([])),
    ];
    let tried: Vec<PathBuf> = kinds.iter().map(|(folder, ending, _)| Path::new(folder).join(format!("{first}{ending}"))).collect();
    let at = tried.iter().position(|p| root.join(p).is_file()).with_context(|| {
        format!("no mask of {first}: none of {} is here", tried.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", "))
    })?;
    let (folder, ending) = (kinds[at].0, kinds[at].1);
    let [(.., made), _, _] = kinds;
    let lut = Arc::new(if at == 0 { made } else { raw });
    let items = names
        .into_iter()
        .map(|name| Item {
            group: String::new(),
            image: images.join(format!("{name}.jpg")),
            truth: Truth::Index { mask: Path::new(folder).join(format!("{name}{ending}")), lut: lut.clone() },
            id: name,
        })
        .collect();
    Ok(Dataset { root: root.to_owned(), classes, background, templates: None, items })
}
