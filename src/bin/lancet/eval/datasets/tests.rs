//! Look-alikes of the public data sets: the folders, the names, the numbers; a few pixels.

use super::*;
use lancet::eval::{IGNORED, UNLABELLED};
use std::fs;

/// A file in a folder that is made.
fn file(root: &Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A mask with a palette, one row.
fn mask(root: &Path, path: &str, numbers: &[u8]) {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, numbers.len() as u32, 1);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette((0..256u32 * 3).map(|i| (i * 37) as u8).collect::<Vec<_>>());
    encoder.write_header().unwrap().write_image_data(numbers).unwrap();
    file(root, path, &bytes);
}

/// Classes of the item at `at`, whose mask is `width` pixels.
fn truth(set: &Dataset, at: usize, width: u32) -> Vec<u16> {
    set.truth(&set.items[at], [width, 1]).unwrap().unwrap()
}

fn ids(set: &Dataset) -> Vec<&str> {
    set.items.iter().map(|i| i.id.as_str()).collect()
}

fn refused(kind: Kind, root: &Path, words: &[&str]) {
    let said = format!("{:#}", Dataset::open(kind, root).unwrap_err());
    assert!(words.iter().all(|w| said.contains(w)), "{said}");
}

#[test]
fn voc_with_and_without_background() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    refused(Kind::Voc, &root.join("nowhere"), &["no such folder"]);
    refused(Kind::Voc, root, &["JPEGImages", "VOCdevkit"]);
    file(root, "VOC2012/JPEGImages/2007_000033.jpg", b"");
    refused(Kind::Voc, root, &["ImageSets", "val.txt"]);
    file(root, "VOC2012/ImageSets/Segmentation/val.txt", b"2007_000061\n2007_000033\n");
    mask(root, "VOC2012/SegmentationClass/2007_000061.png", &[0, 1, 15, 20, 255]);
    let set = Dataset::open(Kind::Voc, root).unwrap();
    assert_eq!(ids(&set), ["2007_000061", "2007_000033"]);
    assert_eq!(set.items[1].image, Path::new("VOC2012/JPEGImages/2007_000033.jpg"));
    assert_eq!((truth(&set, 0, 5), set.background, set.classes.len()), (vec![0, 1, 15, 20, IGNORED], Some(0), 21));
    let said = format!("{:#}", set.truth(&set.items[1], [5, 1]).unwrap_err());
    assert!(said.contains("2007_000033.png"), "{said}");
    let set = Dataset::open(Kind::Voc20, root).unwrap();
    assert_eq!((truth(&set, 0, 5), set.background), (vec![IGNORED, 0, 14, 19, IGNORED], None));
    assert_eq!(set.classes[14].title, "person");
    mask(root, "VOC2012/SegmentationClass/2007_000061.png", &[21]);
    let said = format!("{:#}", set.truth(&set.items[0], [1, 1]).unwrap_err());
    assert!(said.contains("the value 21"), "{said}");
    file(root, "VOC2012/ImageSets/Segmentation/val.txt", b"../x\n");
    refused(Kind::Voc, root, &["../x"]);
}

#[test]
fn context() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    file(root, "JPEGImages/a.jpg", b"");
    file(root, "ImageSets/SegmentationContext/val.txt", b"a\n");
    mask(root, "SegmentationClassContext/a.png", &[0, 1, 59]);
    assert_eq!(truth(&Dataset::open(Kind::Context60, root).unwrap(), 0, 3), [0, 1, 59]);
    let set = Dataset::open(Kind::Context59, root).unwrap();
    assert_eq!((truth(&set, 0, 3), set.classes[0].title.as_str()), (vec![IGNORED, 0, 58], "aeroplane"));
}

#[test]
fn ade20k() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in ["ADE_val_00000002", "ADE_val_00000001"] {
        file(root, &format!("ADEChallengeData2016/images/validation/{name}.jpg"), b"");
        mask(root, &format!("ADEChallengeData2016/annotations/validation/{name}.png"), &[0, 1, 150]);
    }
    let set = Dataset::open(Kind::Ade20k, root).unwrap();
    assert_eq!(ids(&set), ["ADE_val_00000001", "ADE_val_00000002"]);
    assert_eq!((truth(&set, 1, 3), set.classes[149].title.as_str()), (vec![IGNORED, 0, 149], "flag"));
}

#[test]
fn cityscapes_in_both_numberings() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    file(root, "leftImg8bit/val/munster/munster_000000_000019_leftImg8bit.png", b"");
    file(root, "leftImg8bit/val/frankfurt/frankfurt_000000_000294_leftImg8bit.png", b"");
    // As downloaded: unlabelled, road, parking, sky, bicycle, licence plate.
    mask(root, "gtFine/val/frankfurt/frankfurt_000000_000294_gtFine_labelIds.png", &[0, 7, 9, 23, 33, 255]);
    mask(root, "gtFine/val/munster/munster_000000_000019_gtFine_labelIds.png", &[0]);
    mask(root, "gtFine/val/munster/munster_000000_000019_gtFine_labelTrainIds.png", &[0, 10, 18, 255]);
    let set = Dataset::open(Kind::Cityscapes, root).unwrap();
    assert_eq!(ids(&set), ["frankfurt/frankfurt_000000_000294", "munster/munster_000000_000019"]);
    assert_eq!(truth(&set, 0, 6), [IGNORED, 0, IGNORED, 10, 18, IGNORED]);
    assert_eq!(truth(&set, 1, 4), [0, 10, 18, IGNORED]);
    assert_eq!((set.classes[10].title.as_str(), set.classes[18].title.as_str()), ("sky", "bicycle"));
}

#[test]
fn coco_stuff_and_objects_raw_and_converted() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    file(root, "images/val2017/000000000139.jpg", b"");
    refused(Kind::CocoStuff, root, &["000000000139", "_labelTrainIds.png", "stuffthingmaps"]);
    // Ids less 1: person 1, stop sign 13 (12 is unused), toothbrush 90, banner 92 (the first stuff), wood 182, unlabelled.
    mask(root, "stuffthingmaps/val2017/000000000139.png", &[0, 12, 89, 91, 181, 255]);
    let stuff = Dataset::open(Kind::CocoStuff, root).unwrap();
    assert_eq!(truth(&stuff, 0, 6), [0, 11, 79, 80, 170, IGNORED]);
    assert_eq!(["person", "stop sign", "toothbrush"], [0, 11, 79].map(|c: usize| stuff.classes[c].title.as_str()));
    let object = Dataset::open(Kind::CocoObject, root).unwrap();
    assert_eq!(truth(&object, 0, 6), [1, 12, 80, 0, 0, 0]);
    assert_eq!((object.classes[12].title.as_str(), object.background), ("stop sign", Some(0)));
    // 11 is the unused id 12.
    mask(root, "stuffthingmaps/val2017/000000000139.png", &[11]);
    assert!(stuff.truth(&stuff.items[0], [1, 1]).is_err());
    mask(root, "annotations/val2017/000000000139_labelTrainIds.png", &[0, 170, 255]);
    mask(root, "annotations/val2017/000000000139_instanceTrainIds.png", &[0, 1, 80]);
    assert_eq!(truth(&Dataset::open(Kind::CocoStuff, root).unwrap(), 0, 3), [0, 170, IGNORED]);
    assert_eq!(truth(&Dataset::open(Kind::CocoObject, root).unwrap(), 0, 3), [0, 1, 80]);
}

#[test]
fn coco_panoptic() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    file(root, "val2017/000000000139.jpg", b"");
    let list = |segments: &str| {
        format!(
            r#"{{"info": {{}}, "images": [{{"id": 139, "file_name": "000000000139.jpg", "width": 3, "height": 1}}],
            "annotations": [{{"image_id": 139, "file_name": "000000000139.png", "segments_info": [{segments}]}}],
            "categories": [{{"id": 1, "name": "person", "isthing": 1}}, {{"id": 190, "name": "floor-other-merged"}}]}}"#
        )
    };
    file(root, "annotations/panoptic_val2017.json", list(r#"{"id": 3226956, "category_id": 190}, {"id": 5, "category_id": 1}"#).as_bytes());
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 3, 1);
    encoder.set_color(png::ColorType::Rgb);
    // 3226956 = 76 + 61 * 256 + 49 * 65536.
    encoder.write_header().unwrap().write_image_data(&[5, 0, 0, 76, 61, 49, 0, 0, 0]).unwrap();
    file(root, "annotations/panoptic_val2017/000000000139.png", &bytes);
    let set = Dataset::open(Kind::CocoPanoptic, root).unwrap();
    assert_eq!((truth(&set, 0, 3), set.classes[1].title.as_str()), (vec![0, 1, IGNORED], "floor"));
    file(root, "annotations/panoptic_val2017.json", list(r#"{"id": 5, "category_id": 2}"#).as_bytes());
    refused(Kind::CocoPanoptic, root, &["category 2", "000000000139.png"]);
    file(root, "annotations/panoptic_val2017.json", b"[]");
    refused(Kind::CocoPanoptic, root, &["panoptic_val2017.json"]);
}

#[test]
fn scenes_whose_mask_lacks_a_label() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    refused(Kind::Scenes, root, &["scenes.json"]);
    let scenes = r#"{"version": 1, "classes": ["cat", "dog"], "scenes": [{"image": "a.png", "mask": "a.mask.png", "style": "train",
        "labels": [{"class": "dog", "value": 1}, {"class": "cat", "value": 2}]}]}"#;
    file(root, "scenes.json", scenes.as_bytes());
    mask(root, "a.mask.png", &[0, 1, 2]);
    let set = Dataset::open(Kind::Scenes, root).unwrap();
    assert_eq!(truth(&set, 0, 3), [UNLABELLED, 1, 0]);
    mask(root, "a.mask.png", &[0, 1, 1]);
    assert!(format!("{:#}", set.truth(&set.items[0], [3, 1]).unwrap_err()).contains("\"cat\""));
    // The list is told apart by what is in it, not by where it lies.
    let other = tempfile::tempdir().unwrap();
    file(other.path(), "scenes.json", scenes.as_bytes());
    assert_eq!(Dataset::open(Kind::Scenes, other.path()).unwrap().fingerprint(), set.fingerprint());
    file(other.path(), "scenes.json", scenes.replace("\"train\"", "\"unseen:x\"").as_bytes());
    assert_ne!(Dataset::open(Kind::Scenes, other.path()).unwrap().fingerprint(), set.fingerprint());
}
