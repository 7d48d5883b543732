//! COCO panoptic: masks of segment ids, and a JSON that says what the segments are.

use super::coco::images;
use super::{Dataset, Item, Truth};
use anyhow::{Context, Result, bail};
use lancet::eval::IGNORED;
use lancet::explain::segment::Class;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The part that is read.
#[derive(Deserialize)]
struct File {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Image {
    id: u64,
    file_name: String,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: u64,
    file_name: String,
    segments_info: Vec<Segment>,
}

#[derive(Deserialize)]
struct Segment {
    id: u32,
    category_id: u32,
}

#[derive(Deserialize)]
struct Category {
    id: u32,
    name: String,
}

/// `annotations/panoptic_val2017.json`, `annotations/panoptic_val2017/NAME.png`, and the validation images. Id 0 is
/// unlabelled; crowds count as their class.
pub fn open(root: &Path) -> Result<Dataset> {
    let list = Path::new("annotations/panoptic_val2017.json");
    let open = || -> Result<File> {
        let file = std::fs::File::open(root.join(list))?;
        Ok(serde_json::from_reader(std::io::BufReader::new(file))?)
    };
    let file = open().with_context(|| list.display().to_string())?;
    let folder = images(root)?;
    let classes: HashMap<u32, u16> = file.categories.iter().zip(0..).map(|(c, at)| (c.id, at)).collect();
    let names: HashMap<u64, &str> = file.images.iter().map(|i| (i.id, i.file_name.as_str())).collect();
    let mut items = Vec::with_capacity(file.annotations.len());
    for annotation in &file.annotations {
        let item = || -> Result<Item> {
            let image = *names.get(&annotation.image_id).with_context(|| format!("image {} is not listed", annotation.image_id))?;
            let mut segments = vec![(0, IGNORED)];
            for segment in &annotation.segments_info {
                let class = classes.get(&segment.category_id).with_context(|| format!("category {} is not listed", segment.category_id))?;
                segments.push((segment.id, *class));
            }
            segments.sort_unstable();
            if segments.windows(2).any(|w| w[0].0 == w[1].0) {
                bail!("two segments have one id, or one has 0");
            }
            let mask = PathBuf::from("annotations/panoptic_val2017").join(&annotation.file_name);
            let id = image.rsplit_once('.').map_or(image, |(stem, _)| stem).to_owned();
            Ok(Item { id, group: String::new(), image: folder.join(image), truth: Truth::Panoptic { mask, segments } })
        };
        items.push(item().with_context(|| format!("{}: {}", list.display(), annotation.file_name))?);
    }
    items.sort_by(|a, b| a.id.cmp(&b.id));
    let classes = file.categories.iter().map(|c| spoken(&c.name)).map(|name| Class { title: name.clone(), names: vec![name] }).collect();
    Ok(Dataset { root: root.to_owned(), classes, background: None, templates: None, items })
}

/// A category's name as a person says it: "floor-other-merged" is floor, "door-stuff" door, "wall-brick" wall brick.
fn spoken(name: &str) -> String {
    let mut name = name;
    for ending in ["-merged", "-other", "-stuff"] {
        name = name.strip_suffix(ending).unwrap_or(name);
    }
    name.replace('-', " ")
}

#[cfg(test)]
mod tests {
    use super::spoken;

    #[test]
    fn names() {
        let all = ["floor-other-merged", "door-stuff", "wall-brick", "tennis racket", "tree-merged"].map(spoken);
        assert_eq!(all, ["floor", "door", "wall brick", "tennis racket", "tree"]);
    }
}
