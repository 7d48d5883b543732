//! Cityscapes, the 19 classes that are evaluated.

use super::mask::Lut;
use super::{Dataset, Item, Truth, first_folder, stems};
use anyhow::{Context, Result};
use lancet::eval::IGNORED;
use lancet::explain::segment::Class;
use std::path::Path;
use std::sync::Arc;

/// Ids in `labelIds` masks of the 19 classes, in their order: road, sidewalk, building, wall, fence, pole, traffic light,
/// traffic sign, vegetation, terrain, sky, person, rider, car, truck, bus, train, motorcycle, bicycle. Source: the data
/// set's own label table.
const LABEL_IDS: [u8; 19] = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33];
/// The ids go from 0 to 33; 255 is -1, the licence plate, in 8 bits.
const LAST_LABEL_ID: u8 = 33;

/// `leftImg8bit/val/CITY/NAME_leftImg8bit.png` with `gtFine/val/CITY/NAME_gtFine_labelTrainIds.png` (0 to 18, 255 ignored)
/// or, where those were not made, `NAME_gtFine_labelIds.png` as downloaded.
pub fn open(root: &Path, classes: Vec<Class>) -> Result<Dataset> {
    let images = first_folder(root, &["leftImg8bit/val"])?;
    let masks = first_folder(root, &["gtFine/val"])?;
    let train_ids = Arc::new(Lut::new((0..19u8).map(|c| (c, u16::from(c))).chain([(255, IGNORED)])));
    let ignored = (0..=LAST_LABEL_ID).chain([255]).map(|id| (id, IGNORED));
    let label_ids = Arc::new(Lut::new(ignored.chain(LABEL_IDS.iter().zip(0..).map(|(&id, class)| (id, class)))));
    let mut cities: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(root.join(&images)).with_context(|| images.display().to_string())? {
        let entry = entry.with_context(|| images.display().to_string())?;
        if entry.path().is_dir() {
            cities.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    cities.sort();
    let mut items = Vec::new();
    for city in cities {
        for name in stems(&root.join(&images).join(&city), "_leftImg8bit.png")? {
            let mask = |kind: &str| masks.join(&city).join(format!("{name}_gtFine_{kind}.png"));
            let (mask, lut) = match mask("labelTrainIds") {
                made if root.join(&made).is_file() => (made, &train_ids),
                _ => (mask("labelIds"), &label_ids),
            };
            items.push(Item {
                group: String::new(),
                image: images.join(&city).join(format!("{name}_leftImg8bit.png")),
                truth: Truth::Index { mask, lut: lut.clone() },
                id: format!("{city}/{name}"),
            });
        }
    }
    Ok(Dataset { root: root.to_owned(), classes, background: None, templates: None, items })
}
