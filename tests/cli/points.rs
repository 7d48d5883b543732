//! `lancet points`: what it writes is in SAM's form and lies on what was named.

use crate::{lancet, listing, root, scene, succeed};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn report(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// (x, y, label) of all points.
fn points(report: &Value) -> Vec<(u32, u32, u64)> {
    let (coords, labels) = (report["point_coords"].as_array().unwrap(), report["point_labels"].as_array().unwrap());
    assert_eq!(coords.len(), labels.len());
    let whole = |v: &Value| v.as_u64().unwrap() as u32;
    coords.iter().zip(labels).map(|(c, l)| (whole(&c[0]), whole(&c[1]), l.as_u64().unwrap())).collect()
}

#[test]
fn points_lie_on_the_object() {
    let folder = tempfile::tempdir().unwrap();
    let image = scene();
    let said = succeed(folder.path(), ["points", image.to_str().unwrap(), "teddy bear", "--out", "p", "--heat"]);
    assert!(said.contains("positive") && said.contains("scene.points.json"), "{said}");
    assert_eq!(listing(&folder.path().join("p")), ["scene.points.json", "scene.points.png"]);
    let report = report(&folder.path().join("p/scene.points.json"));
    assert_eq!((&report["size"], &report["minus"]), (&json!([480, 360]), &json!("empty text")));
    assert!((report["threshold"].as_f64().unwrap() - 0.8).abs() < 1e-6);
    // 12 patches a side are the model's own; 32 / 14 of that, on an even number.
    assert_eq!(report["grid"], json!([28, 28]));
    // The scene's mask: teddy bear is object 4 (weights/demo/scene.json).
    let masks = image::open(root().join("weights/demo/scene.masks.png")).unwrap().to_luma8();
    let on = |x, y| masks.get_pixel(x, y).0[0] == 4;
    let points = points(&report);
    let best = points.iter().rfind(|p| p.2 == 1).unwrap();
    assert!(on(best.0, best.1), "the strongest point, the last positive one, lies on the object: {best:?}");
    assert!(points.iter().filter(|p| p.2 == 0).all(|p| !on(p.0, p.1)), "negatives lie elsewhere: {points:?}");
    assert_eq!(points.iter().filter(|p| p.2 == 0).count() * 2, points.len());
    assert_eq!(image::image_dimensions(folder.path().join("p/scene.points.png")).unwrap(), (480, 360));
}

#[test]
fn several_texts_and_several_images() {
    let folder = tempfile::tempdir().unwrap();
    // Two images of one name.
    for sub in ["a", "b"] {
        fs::create_dir(folder.path().join(sub)).unwrap();
        fs::copy(scene(), folder.path().join(sub).join("x.png")).unwrap();
    }
    let said = succeed(folder.path(), ["points", "a", "b", "tree + basketball", "--json", "--max-points", "2", "--size", "aspect:144"]);
    let lines: Vec<Value> = said.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(listing(&folder.path().join("lancet-out")), ["x-2.points.json", "x-2.points.png", "x.points.json", "x.points.png"]);
    assert_eq!(report(&folder.path().join("lancet-out/x-2.points.json")), lines[1]);
    let texts: Vec<&str> = lines[0]["parts"].as_array().unwrap().iter().map(|p| p["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["tree", "basketball"]);
    assert_eq!(lines[0]["grid"], json!([20, 15]));
    // Negatives first; at most two of them, and at most two positives of each text.
    let labels: Vec<u64> = points(&lines[0]).iter().map(|p| p.2).collect();
    assert!(labels.is_sorted() && labels.iter().filter(|&&l| l == 0).count() <= 2 && labels.len() <= 6, "{labels:?}");
}

#[test]
fn against_other_labels_is_another_question() {
    let folder = tempfile::tempdir().unwrap();
    let image = scene();
    let run = |out: &str, more: &[&str]| {
        let start = ["points", image.to_str().unwrap(), "house", "--out", out, "--size", "96", "--down-sample", "1", "--quantile", "0.95"];
        succeed(folder.path(), start.iter().chain(more));
        report(&folder.path().join(out).join("scene.points.json"))
    };
    let alone = run("alone", &[]);
    let told_apart = run("apart", &["--against", "tree", "house", "basketball"]);
    assert_eq!((&alone["against"], &told_apart["against"]), (&json!([]), &json!(["tree", "basketball"])));
    assert_eq!(told_apart["minus"], "labels");
    assert_ne!(alone["point_coords"], told_apart["point_coords"]);
    for r in [&alone, &told_apart] {
        assert_eq!((&r["threshold"], &r["grid"]), (&Value::Null, &json!([12, 12])));
        // A twentieth of 144 cells, rounded up: 8.
        assert_eq!(points(r).len(), 16);
    }
}

#[test]
fn what_cannot_be_pointed_at_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let image = scene();
    let refused = |arguments: &[&str], word: &str| {
        let out = lancet(folder.path(), ["points", image.to_str().unwrap()].iter().chain(arguments));
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && said.contains(word) && !said.contains("panicked"), "{arguments:?}: {said}");
        assert!(!folder.path().join("lancet-out").exists(), "{arguments:?} wrote something");
    };
    refused(&[], "<TEXT>");
    refused(&[""], "nothing to point at");
    refused(&["cat+"], "one side of a +");
    refused(&["cat+cat"], "\"cat\" is in it twice");
    refused(&["cat", "--against", "cat"], "only what is sought");
    refused(&["cat", "--threshold", "1.5"], "0 to 1");
    refused(&["cat", "--quantile", "nan"], "0 to 1");
    refused(&["cat", "--threshold", "0.5", "--quantile", "0.5"], "cannot be used with");
    refused(&["cat", "--down-sample", "0"], "down-sample");
    refused(&["cat", "--size", "8"], "single cell");
}

#[test]
fn a_bad_image_costs_the_others_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let image = scene();
    for (program, words, results) in [
        ("points", ["nowhere.png", image.to_str().unwrap(), "house"].as_slice(), ["scene.points.json", "scene.points.png"].as_slice()),
        (
            "segment",
            &["nowhere.png", "house", "tree", "--also", image.to_str().unwrap(), "--pamr=0"],
            &["scene.segment.json", "scene.segment.overlay.png", "scene.segment.png"],
        ),
    ] {
        let out = lancet(folder.path(), [program].iter().chain(words).chain(&["--out", program]));
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(said.contains("failed: nowhere.png") && said.contains("1 of 2 images failed"), "{program}: {said}");
        assert_eq!(out.status.code(), Some(1), "{program}");
        assert_eq!(listing(&folder.path().join(program)), results, "{program}");
    }
}

#[test]
fn the_example_makes_a_mask_of_the_object() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("mask.png");
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_sam_points"))
        .args(["weights/demo/scene.png", "teddy bear", target.to_str().unwrap()])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let (mask, truth) =
        (image::open(&target).unwrap().to_luma8(), image::open(root().join("weights/demo/scene.masks.png")).unwrap().to_luma8());
    let pairs: Vec<(bool, bool)> = mask.pixels().zip(truth.pixels()).map(|(m, t)| (m.0[0] > 0, t.0[0] == 4)).collect();
    let count = |f: fn(&(bool, bool)) -> bool| pairs.iter().filter(|p| f(p)).count() as f32;
    let iou = count(|p| p.0 && p.1) / count(|p| p.0 || p.1);
    assert!(iou > 0.6, "IoU {iou}");
}
