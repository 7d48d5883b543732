//! `lancet anomaly`: pictures, maps, scores, and states that make no sense.

use crate::{lancet, listing, root, scene, succeed};
use serde_json::Value;
use std::fs;

#[test]
fn maps_scores_and_pictures_agree() {
    let folder = tempfile::tempdir().unwrap();
    let image = scene();
    let said = succeed(folder.path(), ["anomaly", image.to_str().unwrap(), "--object", "teddy bear", "--npy"]);
    assert!(said.contains("abnormal teddy bear") && said.contains("scene.anomaly.png"), "{said}");
    let out = folder.path().join("lancet-out");
    assert_eq!(listing(&out), ["scene.anomaly.json", "scene.anomaly.npy", "scene.anomaly.png"]);
    let report: Value = serde_json::from_slice(&fs::read(out.join("scene.anomaly.json")).unwrap()).unwrap();
    // The bundled model reads 32 tokens: the built-in sentences do not fit, and that is said.
    assert_eq!((report["states"].as_str(), report["prompts"].as_u64()), (Some("phrases"), Some(14)));
    let npy = npyz::NpyFile::new(std::io::BufReader::new(fs::File::open(out.join("scene.anomaly.npy")).unwrap())).unwrap();
    assert_eq!(npy.shape(), [360, 480]);
    let map: Vec<f32> = npy.into_vec().unwrap();
    let largest = map.iter().copied().fold(f32::MIN, f32::max);
    assert_eq!(report["score"].as_f64().unwrap() as f32, largest);
    let peak = |i: usize| report["peak"][i].as_u64().unwrap() as usize;
    assert_eq!(map[peak(1) * 480 + peak(0)], largest);
    // No temperature: probabilities of cosines lie between 1 / (1 + e^2) and its opposite, and not on their ends.
    assert!(map.iter().all(|p| (0.12..0.88).contains(p)));
    assert_eq!(report["colours"][1].as_f64().unwrap() as f32, largest);
    let picture = image::open(out.join("scene.anomaly.png")).unwrap().to_rgb8();
    assert!(picture.width() == 480 && picture.height() > 360, "the scale is below the picture");
    assert_eq!(picture.get_pixel(0, 370).0, [0, 0, 128], "the cold end of the scale");
}

#[test]
fn folders_go_on_past_a_bad_file_and_json_says_all() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    fs::create_dir(&pictures).unwrap();
    for name in ["scene.png", "scene_2.png", "scene_3.png"] {
        fs::copy(root().join("weights/demo").join(name), pictures.join(name)).unwrap();
    }
    fs::write(pictures.join("bad.png"), "no picture").unwrap();
    fs::write(folder.path().join("mine.txt"), "[normal]\nhappy {}\n[abnormal]\nsad {}\n[templates]\na photo of a {}.\n").unwrap();
    let arguments =
        ["anomaly", "pictures", "--object", "house", "--states", "mine.txt", "--range", "0.4,0.6", "--size", "aspect", "--json"];
    let out = lancet(folder.path(), arguments);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && said.contains("bad.png") && said.contains("1 of 4 images failed"), "{said}");
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((report["states"].as_str(), report["prompts"].as_u64()), (Some("mine.txt"), Some(2)));
    let images = report["images"].as_array().unwrap();
    assert_eq!(images.len(), 3);
    // Images of three shapes, each seen in its own and scored as alone.
    for (image, name) in images.iter().zip(["scene", "scene_2", "scene_3"]) {
        assert_eq!(image["overlay"], format!("{name}.anomaly.png"));
        assert_eq!(image["colours"][0].as_f64().unwrap() as f32, 0.4);
        let path = format!("pictures/{name}.png");
        let alone = succeed(folder.path(), ["anomaly", &path, "--object", "house", "--states", "mine.txt", "--size", "aspect", "--json"]);
        let alone: Value = serde_json::from_str(&alone).unwrap();
        for key in ["score", "image_probability", "grid", "size", "peak"] {
            assert_eq!(image[key], alone["images"][0][key], "{name}: {key}");
        }
    }
    assert_ne!(images[0]["grid"], images[2]["grid"]);
}

#[test]
fn what_cannot_be_is_said_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let image = scene();
    let image = image.to_str().unwrap();
    fs::write(folder.path().join("half.txt"), "[normal]\nfine {}\n").unwrap();
    let rn = root().join("tests/golden/weights/openai_rn_f16.safetensors");
    for (arguments, word) in [
        (vec!["anomaly", image], "--object"),
        (vec!["anomaly", image, "--object", "  "], "--object"),
        (vec!["anomaly", "nowhere.png", "--object", "cup"], "nowhere.png"),
        (vec!["anomaly", image, "--object", "cup", "--states", "nowhere.txt"], "nowhere.txt"),
        (vec!["anomaly", image, "--object", "cup", "--states", "half.txt"], "[abnormal]"),
        (vec!["anomaly", image, "--object", "cup", "--states", "objects", "--texture"], "--texture"),
        (vec!["anomaly", image, "--object", "teddy bear", "--states", "objects"], "--states phrases"),
        (vec!["anomaly", image, "--object", "cup", "--range", "0.6,0.4"], "LOW,HIGH"),
        (vec!["anomaly", image, "--object", &"very ".repeat(60), "--states", "phrases"], "tokens"),
        (vec!["anomaly", image, "--object", "cup", "--model", rn.to_str().unwrap()], "tokenizer"),
    ] {
        let out = lancet(folder.path(), &arguments);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success() && said.contains(word) && !said.contains("panicked"), "{arguments:?}: {said}");
        assert!(!folder.path().join("lancet-out").exists(), "{arguments:?} leaves something behind");
    }
}
