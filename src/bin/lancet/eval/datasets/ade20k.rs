//! ADE20K, the 150 classes of the scene parsing challenge.

use super::mask::Lut;
use super::{Dataset, Item, Truth, first_folder, stems};
use anyhow::Result;
use lancet::eval::IGNORED;
use lancet::explain::segment::Class;
use std::path::Path;
use std::sync::Arc;

/// `images/validation/NAME.jpg` and `annotations/validation/NAME.png`: 0 is unlabelled, k is class k - 1.
pub fn open(root: &Path, classes: Vec<Class>) -> Result<Dataset> {
    let images = first_folder(root, &["images/validation", "ADEChallengeData2016/images/validation"])?;
    let masks = images.to_string_lossy().replace("images/validation", "annotations/validation");
    let lut = Arc::new(Lut::new((1..=classes.len() as u8).map(|k| (k, u16::from(k) - 1)).chain([(0, IGNORED)])));
    let items = stems(&root.join(&images), ".jpg")?
        .into_iter()
        .map(|name| Item {
            group: String::new(),
            image: images.join(format!("{name}.jpg")),
            truth: Truth::Index { mask: Path::new(&masks).join(format!("{name}.png")), lut: lut.clone() },
            id: name,
        })
        .collect();
    Ok(Dataset { root: root.to_owned(), classes, background: None, templates: None, items })
}
