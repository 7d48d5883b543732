//! Own scenes: a folder with `scenes.json`. docs/eval.md describes the format.

use super::mask::Lut;
use super::{Dataset, Item, Truth};
use anyhow::{Context, Result, bail};
use lancet::Templates;
use lancet::eval::UNLABELLED;
use lancet::explain::segment::Class;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

const VERSION: u32 = 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    /// What the scenes were made from; for people.
    #[serde(default, rename = "seed")]
    _seed: Option<u64>,
    classes: Vec<String>,
    #[serde(default)]
    synonyms: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    templates: Option<Vec<String>>,
    scenes: Vec<Scene>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scene {
    image: PathBuf,
    #[serde(default)]
    mask: Option<PathBuf>,
    style: String,
    #[serde(default)]
    single: bool,
    labels: Vec<Label>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Label {
    class: String,
    #[serde(default)]
    value: Option<u8>,
}

/// Opens a folder of scenes.
pub fn open(root: &Path) -> Result<Dataset> {
    let text = std::fs::read_to_string(root.join("scenes.json")).context("scenes.json")?;
    let file: File = serde_json::from_str(&text).context("scenes.json")?;
    dataset(root, file).context("scenes.json")
}

fn dataset(root: &Path, file: File) -> Result<Dataset> {
    if file.version != VERSION {
        bail!("version {} of the format, this program reads {VERSION}", file.version);
    }
    let index = class_index(&file.classes)?;
    let mut classes: Vec<Class> = file.classes.iter().map(|c| Class { title: c.clone(), names: vec![c.clone()] }).collect();
    for (name, more) in file.synonyms {
        let class = index.get(name.as_str()).with_context(|| format!("synonyms of \"{name}\", which is not in \"classes\""))?;
        let names = &mut classes[usize::from(*class)].names;
        for synonym in more {
            if !names.contains(&synonym) {
                names.push(synonym);
            }
        }
    }
    let templates = file.templates.map(|t| Templates::parse(&t.join("\n"))).transpose()?;
    let mut seen = HashSet::new();
    let mut items = Vec::with_capacity(file.scenes.len());
    for (i, scene) in file.scenes.iter().enumerate() {
        let item = item(scene, &index).with_context(|| format!("scene {i} ({})", scene.image.display()))?;
        if !seen.insert(item.id.clone()) {
            bail!("scene {i}: image {} is listed twice", item.id);
        }
        items.push(item);
    }
    Ok(Dataset { root: root.to_owned(), classes, background: None, templates, items })
}

/// Places of the class names.
fn class_index(classes: &[String]) -> Result<HashMap<&str, u16>> {
    if classes.len() < 2 || classes.len() >= usize::from(UNLABELLED) - 1 {
        bail!("{} classes, expected 2 or more", classes.len());
    }
    let mut index = HashMap::new();
    for (i, class) in classes.iter().enumerate() {
        if class.trim().is_empty() || class.trim() != class {
            bail!("class {i} is \"{class}\": empty, or with spaces around");
        }
        if index.insert(class.as_str(), i as u16).is_some() {
            bail!("class \"{class}\" is listed twice");
        }
    }
    Ok(index)
}

fn item(scene: &Scene, index: &HashMap<&str, u16>) -> Result<Item> {
    let style = &scene.style;
    if style != "train" && style.strip_prefix("unseen:").is_none_or(str::is_empty) {
        bail!("style \"{style}\", expected \"train\" or \"unseen:NAME\"");
    }
    let class = |label: &Label| {
        index.get(label.class.as_str()).copied().with_context(|| format!("label \"{}\" is not in \"classes\"", label.class))
    };
    let image = below(&scene.image)?;
    let truth = if scene.single {
        let [label] = scene.labels.as_slice() else { bail!("a single object with {} labels, expected one", scene.labels.len()) };
        Truth::Single(class(label)?)
    } else {
        let mask = below(scene.mask.as_deref().context("no \"mask\"; only single objects go without")?)?;
        if scene.labels.is_empty() {
            bail!("no label; expected what is on the image");
        }
        let mut values = vec![(0, UNLABELLED)];
        for label in &scene.labels {
            let value = label.value.with_context(|| format!("label \"{}\" has no \"value\", its number in the mask", label.class))?;
            if values.iter().any(|known| known.0 == value) {
                bail!("value {value} of \"{}\" is taken, by another label or by the background (0)", label.class);
            }
            values.push((value, class(label)?));
        }
        // Two objects of one class are one label.
        let mut classes: Vec<u16> = values[1..].iter().map(|v| v.1).collect();
        classes.sort_unstable();
        classes.dedup();
        Truth::Scene { mask, lut: Arc::new(Lut::new(values)), classes }
    };
    let id = image.with_extension("").to_string_lossy().replace('\\', "/");
    Ok(Item { id, group: style.clone(), image, truth })
}

/// A path inside the folder.
fn below(path: &Path) -> Result<PathBuf> {
    if path.as_os_str().is_empty() || !path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir)) {
        bail!("path \"{}\": expected one inside the folder of scenes.json", path.display());
    }
    Ok(path.components().filter(|c| matches!(c, Component::Normal(_))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(scenes: &str) -> Result<Dataset> {
        let text = format!(r#"{{"version": 1, "classes": ["cat", "dog"], "synonyms": {{"cat": ["kitten"]}}, "scenes": [{scenes}]}}"#);
        dataset(Path::new("."), serde_json::from_str(&text)?)
    }

    #[test]
    fn the_format() {
        let set = parse(
            r#"{"image": "train/0.png", "mask": "train/0.mask.png", "style": "train",
                "labels": [{"class": "dog", "value": 1}, {"class": "dog", "value": 2}]},
               {"image": "s.png", "style": "unseen:x", "single": true, "labels": [{"class": "cat"}]}"#,
        )
        .unwrap();
        assert_eq!((set.classes[0].title.as_str(), set.classes[0].names.len(), set.classes[1].names.len()), ("cat", 2, 1));
        assert_eq!((set.items[0].id.as_str(), set.items[1].group.as_str()), ("train/0", "unseen:x"));
        assert!(matches!(&set.items[0].truth, Truth::Scene { classes, .. } if classes == &[1]));
        assert!(matches!(set.items[1].truth, Truth::Single(0)));
    }

    #[test]
    fn mistakes_are_named() {
        let scene = |rest: &str| format!(r#"{{"image": "a.png", "mask": "m.png", {rest}}}"#);
        let cat = r#""labels": [{"class": "cat", "value": 1}]"#;
        for (scenes, words) in [
            (scene(&format!(r#""style": "seen", {cat}"#)), vec!["scene 0", "seen", "unseen:NAME"]),
            (scene(r#""style": "train", "labels": [{"class": "cow", "value": 1}]"#), vec!["cow", "classes"]),
            (scene(r#""style": "train", "labels": [{"class": "cat"}]"#), vec!["value"]),
            (scene(r#""style": "train", "labels": [{"class": "cat", "value": 0}]"#), vec!["value 0", "taken"]),
            (scene(r#""style": "train", "labels": []"#), vec!["no label"]),
            (scene(&format!(r#""style": "train", "colour": 1, {cat}"#)), vec!["colour"]),
            (format!(r#"{{"image": "a.png", "style": "train", {cat}}}"#), vec!["mask"]),
            (format!(r#"{{"image": "../a.png", "mask": "m.png", "style": "train", {cat}}}"#), vec!["../a.png", "inside"]),
            (format!("{0}, {0}", scene(&format!(r#""style": "train", {cat}"#))), vec!["scene 1", "twice"]),
        ] {
            let said = format!("{:#}", parse(&scenes).unwrap_err());
            assert!(words.iter().all(|w| said.contains(w)), "{said}");
        }
    }
}
