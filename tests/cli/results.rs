//! What the program writes is what the library computes.

use crate::{listing, root, scene, succeed};
use lancet::weights::Weights;
use std::fs;
use std::path::Path;

/// Values and shape of a NumPy file.
fn npy(path: &Path) -> (Vec<f32>, Vec<u64>) {
    let bytes = fs::read(path).unwrap();
    let file = npyz::NpyFile::new(&bytes[..]).unwrap();
    let shape = file.shape().to_vec();
    (file.into_vec().unwrap(), shape)
}

#[test]
fn explain_writes_maps_sheet_and_report() {
    let folder = tempfile::tempdir().unwrap();
    let image = scene();
    let arguments = ["explain", image.to_str().unwrap(), "house", "teddy bear", "--out", "maps", "--npy", "--alpha", "--json"];
    let said = succeed(folder.path(), arguments);
    assert!(said.contains("teddy bear") && said.contains("contact sheet"), "{said}");
    let expected = [
        "scene.house.alpha.png",
        "scene.house.npy",
        "scene.house.png",
        "scene.json",
        "scene.sheet.png",
        "scene.teddy bear.alpha.png",
        "scene.teddy bear.npy",
        "scene.teddy bear.png",
    ];
    let out = folder.path().join("maps");
    assert_eq!(listing(&out), expected);
    let (map, shape) = npy(&out.join("scene.teddy bear.npy"));
    assert_eq!(shape, [360, 480]);
    assert!(map.iter().all(|v| (0.0..=1.0).contains(v)) && map.iter().any(|&v| v > 0.9));
    let report: serde_json::Value = serde_json::from_slice(&fs::read(out.join("scene.json")).unwrap()).unwrap();
    let (x, y) = (report["labels"][1]["peak"]["x"].as_u64().unwrap(), report["labels"][1]["peak"]["y"].as_u64().unwrap());
    let strongest = map.iter().copied().fold(f32::MIN, f32::max);
    // To a rounding: the peak is found on the grid.
    assert!((map[(y * 480 + x) as usize] - strongest).abs() < 1e-6, "the peak is where the map is largest");
    // The scene's mask: teddy bear is object 4 (weights/demo/scene.json).
    let masks = image::open(root().join("weights/demo/scene.masks.png")).unwrap().to_luma8();
    assert_eq!(masks.get_pixel(x as u32, y as u32).0[0], 4, "the peak lies on the object");
    for key in ["method", "adapter", "model", "grid", "time_ms"] {
        assert!(!report[key].is_null(), "{key}");
    }
}

#[test]
fn one_label_says_what_it_does_instead() {
    let folder = tempfile::tempdir().unwrap();
    let out = crate::lancet(folder.path(), ["explain", scene().to_str().unwrap(), "house", "--npy", "--quiet"]);
    assert!(out.status.success() && out.stdout.is_empty());
    assert!(String::from_utf8_lossy(&out.stderr).contains("note: one label"));
    let (map, _) = npy(&folder.path().join("lancet-out/scene.house.npy"));
    assert!(map.iter().any(|&v| v > 0.9), "not a zero map");
}

#[test]
fn encode_images_and_texts() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (scene(), root().join("weights/demo/scene_2.png"));
    let (a, b) = (a.to_str().unwrap(), b.to_str().unwrap());
    succeed(folder.path(), ["encode", a, b, "--out", "class.npy"]);
    succeed(folder.path(), ["encode", a, b, "--tokens", "--out", "tokens.npy"]);
    let (class, shape) = npy(&folder.path().join("class.npy"));
    assert_eq!(shape, [2, 192]);
    let (tokens, shape) = npy(&folder.path().join("tokens.npy"));
    assert_eq!(shape, [2, 145, 192]);
    assert_eq!(class[192..], tokens[145 * 192..][..192], "row 0 of the tokens is the class row");

    let said = succeed(folder.path(), ["encode", "--text", "a cat", "--text", "a dog", "--out", "plain.npy", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&report["rows"], &report["shape"]), (&serde_json::json!(["a cat", "a dog"]), &serde_json::json!([2, 192])));
    succeed(folder.path(), ["encode", "--text", "cat", "--templates", "ensemble", "--out", "ensemble.npy"]);
    assert_eq!(npy(&folder.path().join("plain.npy")).1, [2, 192]);
    let (unit, _) = npy(&folder.path().join("ensemble.npy"));
    let length = unit.iter().map(|v| v * v).sum::<f32>().sqrt();
    assert!((length - 1.0).abs() < 1e-5, "{length}");
    // From the cache: the same bits.
    succeed(folder.path(), ["encode", "--text", "cat", "--templates", "ensemble", "--out", "again.npy"]);
    assert_eq!(npy(&folder.path().join("again.npy")).0, unit);
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_failure_of_ours() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_lancet"))
        .args(["models", "--json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    child.wait().unwrap();
    assert_eq!(said, "");
}

#[test]
fn a_damaged_cache_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str| {
        succeed(folder.path(), ["encode", "--text", "cat", "--templates", "ensemble", "--out", name]);
        npy(&folder.path().join(name)).0
    };
    let first = run("a.npy");
    let mut entries = 0;
    for model in fs::read_dir(folder.path().join("cache/labels")).unwrap() {
        for entry in fs::read_dir(model.unwrap().path()).unwrap() {
            let path = entry.unwrap().path();
            let mut bytes = fs::read(&path).unwrap();
            bytes[40] ^= 0xff;
            fs::write(&path, bytes).unwrap();
            entries += 1;
        }
    }
    assert!(entries >= 2, "the label and the empty text were cached");
    assert_eq!(run("b.npy"), first);
}

#[test]
fn a_text_cut_once_is_still_refused_without_truncate() {
    let folder = tempfile::tempdir().unwrap();
    let long = "word ".repeat(100);
    let run = ["encode", "--text", long.as_str(), "--templates", "ensemble", "--out", "x.npy"];
    succeed(folder.path(), run.into_iter().chain(["--truncate"]));
    let out = crate::lancet(folder.path(), run);
    assert!(!out.status.success(), "the cache must not answer for another setting");
    assert!(String::from_utf8_lossy(&out.stderr).contains("--truncate"));
}

#[test]
fn golden_features_come_out_of_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let golden = root().join("tests/golden");
    let image = golden.join("images/scene_rgb_131x97.png");
    let model = golden.join("weights/openai_vit_f16.safetensors");
    let arguments =
        ["encode", image.to_str().unwrap(), "--tokens", "--method", "surgery", "--model", model.to_str().unwrap(), "--out", "f.npy"];
    let out = crate::lancet(folder.path(), arguments);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let (got, shape) = npy(&folder.path().join("f.npy"));
    assert_eq!(shape, [1, 50, 96]);
    let file = Weights::open(golden.join("expected/vit_stored_precision.safetensors")).unwrap();
    let expected = file.floats(&lancet::weights::Stored::Plain("openai_f16.scene.surgery.features".into()), "").unwrap();
    let worst = got.iter().zip(&expected).map(|(g, e)| (g - e).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-4, "from file to feature: {worst:e}");
}

#[test]
fn profile_and_info_speak_json() {
    let folder = tempfile::tempdir().unwrap();
    let report: serde_json::Value = serde_json::from_str(&succeed(folder.path(), ["profile", "--runs", "2", "--json"])).unwrap();
    assert!(report["median_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(report["runs_ms"].as_array().unwrap().len(), 2);
    assert!(report["steps"].as_array().unwrap().len() > 20);
    let ceilings = &report["ceilings"];
    assert!(ceilings["gflops_per_second"].as_f64().unwrap() > 0.1 && ceilings["gbytes_per_second"].as_f64().unwrap() > 0.1, "{ceilings}");
    // The whole is its kernels: the same work, and a least time that is the sum of theirs.
    let kernels = report["kernels"].as_array().unwrap();
    let sum = |key: &str| kernels.iter().map(|k| k[key].as_f64().unwrap()).sum::<f64>();
    assert!((sum("gflops") - report["gflops_total"].as_f64().unwrap()).abs() < 1e-9 && (sum("share") - 1.0).abs() < 1e-9);
    let percent = report["percent_of_ceiling"].as_f64().unwrap();
    let expected = 100.0 * sum("floor_ms") / report["median_ms"].as_f64().unwrap();
    assert!((percent - expected).abs() < 1e-6 * expected, "{percent} %, expected {expected} %");
    let bound = |kernel: &str| kernels.iter().find(|k| k["kernel"] == kernel).unwrap()["bound"].clone();
    assert_eq!((bound("normalize"), report["machine"]["date"].as_str().unwrap().len()), ("memory".into(), 20));
    let info: serde_json::Value = serde_json::from_str(&succeed(folder.path(), ["info", "--json"])).unwrap();
    assert!(!info["adapter"].as_str().unwrap().is_empty() && !info["kernels"].as_array().unwrap().is_empty());
}

#[test]
fn profile_follows_growing_work() {
    let folder = tempfile::tempdir().unwrap();
    let grow = |axis: &str, more: &[&str]| -> serde_json::Value {
        let arguments = ["profile", "--grow", axis, "--runs", "1", "--json", "--no-ceilings", "--label-count", "3"];
        serde_json::from_str(&succeed(folder.path(), arguments.iter().chain(more))).unwrap()
    };
    let labels = grow("labels", &[]);
    let values: Vec<u64> = labels["points"].as_array().unwrap().iter().map(|p| p["labels"].as_u64().unwrap()).collect();
    assert_eq!(values, [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]);
    assert!(labels["ended"].is_null() && labels["ceilings"].is_null());
    // More labels are more work, of the kernels that see labels only.
    let gflops = |point: usize, kernel: &str| {
        let kernels = labels["points"][point]["kernels"].as_array().unwrap();
        // Matrix products have several kernels.
        let of_kind = kernels.iter().filter(|k| k["kernel"].as_str().unwrap().starts_with(kernel));
        of_kind.map(|k| k["gflops"].as_f64().unwrap()).sum::<f64>()
    };
    assert!(gflops(2, "matmul") > 0.0);
    assert_eq!(gflops(2, "matmul"), gflops(9, "matmul"));
    assert!((gflops(9, "similarity") / gflops(2, "similarity") - 200.0).abs() < 1e-6);
    // A run that takes longer than asked for is the last.
    let tokens = grow("tokens", &["--longest", "0.000001"]);
    assert_eq!(tokens["points"].as_array().unwrap().len(), 1);
    assert_eq!(tokens["points"][0]["tokens"], 50);
    assert!(tokens["ended"].as_str().unwrap().contains("--longest"), "{}", tokens["ended"]);
    for bad in [&["--grow", "words"][..], &["--longest", "5"], &["--grow", "batch", "--texts"], &["--grow", "batch", "--longest", "0"]] {
        let out = crate::lancet(folder.path(), ["profile"].iter().chain(bad));
        assert!(!out.status.success(), "{bad:?} was taken");
    }
}

#[test]
fn profile_of_an_ensemble_counts_what_sharing_saves() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("labels.txt"), "cat\ndog\n").unwrap();
    let said = succeed(folder.path(), ["profile", "--texts", "--labels", "labels.txt", "--runs", "1", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((report["labels"].as_u64(), report["templates"].as_u64(), report["plans"].as_u64()), (Some(2), Some(85), Some(1)));
    assert_eq!(report["padded"]["rows"], 2 * 85 * 32);
    assert!(report["rows"].as_u64() < report["tokens"].as_u64(), "beginnings are shared: {report}");
    assert!(report["flops_ratio"].as_f64().unwrap() > 3.0, "{report}");
    let out = crate::lancet(folder.path(), ["profile", "--labels", "labels.txt"]);
    assert!(!out.status.success(), "labels without --texts mean nothing");
}

/// What `--precision` promises: every map within so much of its range 0..1.
#[test]
fn narrow_storage_stays_within_its_tolerance() {
    let folder = tempfile::tempdir().unwrap();
    let labels = ["house", "tree", "helicopter", "teddy bear", "basketball"];
    let maps = |precision: &str| -> Vec<Vec<f32>> {
        let image = scene();
        let mut arguments = vec!["explain", image.to_str().unwrap(), "--npy", "--quiet", "--precision", precision, "--out", precision];
        arguments.extend(labels);
        succeed(folder.path(), arguments);
        labels.iter().map(|label| npy(&folder.path().join(format!("{precision}/scene.{label}.npy"))).0).collect()
    };
    let stored = maps("stored");
    for (precision, limit) in [("f16", 0.002), ("int8", 0.02)] {
        for ((label, got), want) in labels.iter().zip(maps(precision)).zip(&stored) {
            let furthest = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(furthest > 0.0 && furthest < limit, "{precision}, {label}: {furthest}");
        }
    }
}
