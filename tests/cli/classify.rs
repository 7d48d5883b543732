//! `lancet classify`: what it says of the demo scenes, in every format, and what it does with bad files.

use crate::{lancet, root, scene, succeed};
use std::fs;

const LABELS: [&str; 8] = ["--label", "teddy bear", "--label", "house", "--label", "cat", "--label", "tree"];

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn probabilities_are_the_softmax_of_the_scaled_cosines() {
    let folder = tempfile::tempdir().unwrap();
    let image = scene();
    let run = [&["classify", image.to_str().unwrap(), "--json"], LABELS.as_slice()].concat();
    let report = json(&succeed(folder.path(), &run));
    let rows = report["images"][0]["labels"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[3]["label"], "cat", "the only one that is not there");
    let teddy = rows.iter().find(|r| r["label"] == "teddy bear").unwrap();
    let scale = report["logit_scale"].as_f64().unwrap();
    let number = |row: &serde_json::Value, key: &str| row[key].as_f64().unwrap();
    let sum: f64 = rows.iter().map(|r| (scale * number(r, "cosine")).exp()).sum();
    for row in rows {
        assert!((number(row, "score") - (scale * number(row, "cosine")).exp() / sum).abs() < 1e-5, "{row}");
    }
    assert!(rows.is_sorted_by(|a, b| number(a, "score") >= number(b, "score")));
    // The cosine is that of the features that `encode` writes: one model, two ways.
    succeed(folder.path(), ["encode", image.to_str().unwrap(), "--out", "i.npy"]);
    succeed(folder.path(), ["encode", "--text", "teddy bear", "--templates", "ensemble", "--out", "t.npy"]);
    let values = |name: &str| -> Vec<f32> {
        let bytes = fs::read(folder.path().join(name)).unwrap();
        npyz::NpyFile::new(&bytes[..]).unwrap().into_vec().unwrap()
    };
    let (i, t) = (values("i.npy"), values("t.npy"));
    let norm = i.iter().map(|v| v * v).sum::<f32>().sqrt();
    let cosine = i.iter().zip(&t).map(|(a, b)| a * b).sum::<f32>() / norm;
    assert!((f64::from(cosine) - number(teddy, "cosine")).abs() < 1e-5);
}

#[test]
fn multi_label_is_surgery_on_the_class_token() {
    let folder = tempfile::tempdir().unwrap();
    let image = scene();
    let run = [&["classify", image.to_str().unwrap(), "--json", "--multi-label"], LABELS.as_slice()].concat();
    let report = json(&succeed(folder.path(), &run));
    let rows = report["images"][0]["labels"].as_array().unwrap();
    let all = |key: &str| -> Vec<f32> { rows.iter().map(|r| r[key].as_f64().unwrap() as f32).collect() };
    let expected = lancet::reference::feature_surgery_labels(&all("cosine"), 1, 4, 2.0, true);
    for (got, want) in all("score").iter().zip(&expected) {
        assert!((got - want).abs() < 1e-5, "{got} {want}");
    }
    assert!(all("score").iter().sum::<f32>().abs() < 1e-5, "what labels share is gone");
    let few = [&run[..], &["--threshold", "0"]].concat();
    let few = json(&succeed(folder.path(), &few));
    assert!(few["images"][0]["labels"].as_array().unwrap().iter().all(|r| r["score"].as_f64().unwrap() >= 0.0));
    // One label would be zero: the empty text is what is subtracted then, and that is said.
    let one = json(&succeed(folder.path(), ["classify", image.to_str().unwrap(), "--label", "cat", "--multi-label", "--json"]));
    assert!(one["notice"].as_str().unwrap().contains("empty text"));
    assert_ne!(one["images"][0]["labels"][0]["score"], 0.0);
}

#[test]
fn folders_csv_and_a_bad_file_among_good_ones() {
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("a, \"b\"");
    fs::create_dir(&photos).unwrap();
    for name in ["scene.png", "scene_2.png"] {
        fs::copy(root().join("weights/demo").join(name), photos.join(name)).unwrap();
    }
    fs::write(photos.join("broken.jpg"), "no image").unwrap();
    fs::write(folder.path().join("names.txt"), "cat\nhouse\n").unwrap();
    let run = ["classify", photos.to_str().unwrap(), "--labels", "names.txt", "--top", "1", "--format", "csv", "--out", "found.csv"];
    let out = lancet(folder.path(), run);
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1));
    assert!(stderr.contains("broken.jpg") && stderr.contains("1 of 3 images"), "{stderr}");
    let mut csv = csv::Reader::from_path(folder.path().join("found.csv")).unwrap();
    assert_eq!(csv.headers().unwrap(), ["image", "rank", "label", "score", "cosine"].as_slice());
    let rows: Vec<csv::StringRecord> = csv.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0][0], &rows[0][2]), (photos.join("scene.png").to_str().unwrap(), "house"));
}

#[test]
fn what_it_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let image = scene();
    let image = image.to_str().unwrap();
    for (arguments, word) in [
        (vec!["classify", image], "no labels"),
        (vec!["classify", image, "--label", "a", "--label", "a"], "twice"),
        (vec!["classify", image, "--label", "a", "--threshold", "NaN"], "--threshold"),
        (vec!["classify", image, "--label", "a", "--top", "0"], "--top"),
        (vec!["classify", "nowhere/*.png", "--label", "a"], "no image here"),
        (vec!["classify", "nowhere.png", "--label", "a"], "nowhere.png"),
        (vec!["classify", "--label", "a"], "IMAGES"),
    ] {
        let out = lancet(folder.path(), &arguments);
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success() && stderr.contains(word), "{arguments:?}: {stderr}");
    }
}
