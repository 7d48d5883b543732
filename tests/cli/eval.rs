//! Evaluations: parts join exactly, stopped runs go on, other settings are refused.

use crate::{lancet, root, succeed};
use image::imageops::FilterType;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Demo pictures as scenes, made small, and one of them as a single object; few classes and one template keep texts cheap.
fn scenes(folder: &Path) -> PathBuf {
    let demo = root().join("weights/demo");
    let target = folder.join("scenes");
    fs::create_dir(&target).unwrap();
    let mut list = Vec::new();
    let mut classes: Vec<String> = Vec::new();
    for (name, style) in [("scene", "train"), ("scene_2", "unseen:sea"), ("scene_3", "train"), ("scene_4", "unseen:snow")] {
        let about: Value = serde_json::from_slice(&fs::read(demo.join(format!("{name}.json"))).unwrap()).unwrap();
        let objects = about["objects"].as_array().unwrap();
        let labels: Vec<Value> = objects.iter().map(|o| json!({"class": o["label"], "value": o["mask"]})).collect();
        classes.extend(objects.iter().map(|o| o["label"].as_str().unwrap().to_owned()));
        for (file, filter) in [(format!("{name}.png"), FilterType::Triangle), (format!("{name}.masks.png"), FilterType::Nearest)] {
            let picture = image::open(demo.join(&file)).unwrap();
            let (w, h) = (picture.width() / 3, picture.height() / 3);
            picture.resize_exact(w, h, filter).save(target.join(file)).unwrap();
        }
        list.push(json!({"image": format!("{name}.png"), "mask": format!("{name}.masks.png"), "style": style, "labels": labels}));
    }
    fs::copy(target.join("scene_4.png"), target.join("one.png")).unwrap();
    list.push(json!({"image": "one.png", "style": "train", "single": true, "labels": [{"class": "christmas tree"}]}));
    let file = json!({"version": 1, "classes": classes, "templates": ["a photo of a {}."], "scenes": list});
    fs::write(target.join("scenes.json"), file.to_string()).unwrap();
    target
}

fn eval(folder: &Path, more: &[&str]) -> String {
    let usual =
        ["eval", "scenes", "scenes", "--batch", "2", "--label-set", "all,present", "--tasks", "maps,segmentation,multi-label,zero-shot"];
    succeed(folder, usual.iter().chain(more))
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn parts_join_to_the_whole_and_stopped_runs_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    scenes(folder.path());
    let said = eval(folder.path(), &["--out", "whole"]);
    for word in ["unseen:sea", "unseen ", "all objects", "surgery, present labels", "single objects", "mSC"] {
        assert!(said.contains(word), "{word} is not in: {said}");
    }
    let whole = fs::read(at("whole/result.json")).unwrap();

    // The numbers: surgery finds what raw CLIP misses.
    let result: Value = serde_json::from_slice(&whole).unwrap();
    let row =
        |method: &str| result["maps"].as_array().unwrap().iter().find(|r| r["group"] == "all" && r["method"] == method).unwrap().clone();
    let (clip, surgery) = (row("clip"), row("surgery"));
    assert_eq!(clip["labels"], 17);
    let number = |row: &Value, key: &str| row[key].as_f64().unwrap();
    assert!(number(&surgery, "msc") > 0.2 + number(&clip, "msc").max(0.0), "{clip} {surgery}");
    assert!(number(&surgery, "miou") > 3.0 * number(&clip, "miou"), "{clip} {surgery}");
    assert!(number(&surgery, "pointing") > number(&clip, "pointing") + 0.5, "{clip} {surgery}");
    assert!(row("all objects")["pointing"].is_null() && row("whole image")["msc"] == 0.0);
    assert_eq!(result["segmentation"].as_array().unwrap().len(), 2 * 5, "two methods without feature surgery, five groups");
    assert_eq!(result["zero_shot"][0]["images"], 1);
    assert!(result["multi_label"][0]["map"].as_f64().unwrap() > 0.3);

    // In three parts, which batch other images together; two share a folder.
    for part in [["1/3", "a"], ["2/3", "a"], ["3/3", "b"]] {
        let said = eval(folder.path(), &["--shard", part[0], "--out", part[1]]);
        assert!(said.contains("lancet eval merge"), "{said}");
    }
    let absent = lancet(folder.path(), ["eval", "merge", "a", "--out", "joined"]);
    assert!(!absent.status.success() && String::from_utf8_lossy(&absent.stderr).contains("part 3/3 is missing"));
    assert!(!at("joined").exists());
    succeed(folder.path(), ["eval", "merge", "b", "a", "--out", "joined"]);
    assert_eq!(fs::read(at("joined/result.json")).unwrap(), whole);

    // Killed while the fourth record was written: three images stay as they are.
    let records = at("whole/records.jsonl");
    let (before, text) = (lines(&records), fs::read_to_string(&records).unwrap());
    let cut = before[..4].iter().map(|l| l.len() + 1).sum::<usize>() + 40;
    fs::write(&records, &text[..cut]).unwrap();
    fs::remove_file(at("whole/result.json")).unwrap();
    let out = lancet(folder.path(), ["eval", "merge", "whole", "--out", "joined"]);
    assert!(String::from_utf8_lossy(&out.stderr).contains("run it again"));
    // Their pictures are not looked at again: they are gone.
    let ids: Vec<Value> = before[1..4].iter().map(|l| serde_json::from_str::<Value>(l).unwrap()["id"].clone()).collect();
    for id in &ids {
        fs::write(at("scenes").join(format!("{}.png", id.as_str().unwrap())), "gone").unwrap();
    }
    let printed = eval(folder.path(), &["--out", "whole", "--json"]);
    assert_eq!(printed.trim(), String::from_utf8_lossy(&whole).trim());
    assert_eq!(fs::read(at("whole/result.json")).unwrap(), whole);
    assert_eq!(lines(&records)[..4], before[..4]);

    // Other settings are refused.
    let usual = ["eval", "scenes", "scenes", "--out", "whole"];
    let out = lancet(folder.path(), usual);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && said.contains("another evaluation") && said.contains("batch was 2 and is 1"), "{said}");
    assert_eq!(lines(&records).len(), 6, "refused runs change nothing");
}

#[test]
fn a_public_layout_with_segmentation() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| {
        let path = folder.path().join("voc").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    fs::write(path("ImageSets/Segmentation/val.txt"), "a\nb\n").unwrap();
    for (name, class) in [("a", 8u8), ("b", 19)] {
        let picture = image::open(root().join("weights/demo/scene.png")).unwrap().resize_exact(96, 64, FilterType::Triangle).to_rgb8();
        picture.save(path(&format!("JPEGImages/{name}.jpg"))).unwrap();
        let mask = image::GrayImage::from_fn(96, 64, |x, _| {
            image::Luma([if x < 30 {
                class
            } else if x < 33 {
                255
            } else {
                0
            }])
        });
        mask.save(path(&format!("SegmentationClass/{name}.png"))).unwrap();
    }
    fs::write(
        folder.path().join("names.txt"),
        "background = grass, sky\n".to_owned() + &(1..=20).map(|i| format!("thing {i}\n")).collect::<String>(),
    )
    .unwrap();
    let usual =
        ["eval", "voc", "voc", "--templates", "none", "--methods", "surgery-architecture", "--classes", "names.txt", "--quiet", "--json"];
    let result: Value = serde_json::from_str(&succeed(folder.path(), usual)).unwrap();
    let maps = result["maps"].as_array().unwrap();
    assert_eq!(
        (maps[0]["method"].as_str(), maps[0]["labels"].as_u64(), maps[0]["group"].as_str()),
        (Some("whole image"), Some(2), Some(""))
    );
    // 30 of the 93 columns that are asked about, whatever the threshold.
    assert!((maps[0]["miou"].as_f64().unwrap() - 30.0 / 93.0).abs() < 1e-12);
    assert_eq!(maps[1]["miou"], 1.0, "one object: all objects are it");
    let segmentation = &result["segmentation"][0];
    assert_eq!((segmentation["images"].as_u64(), segmentation["iou"].as_object().unwrap().contains_key("thing 8")), (Some(2), true));
    assert!(result["zero_shot"].is_null());

    // Each by the harness that it was published with, SCLIP through windows; MaskCLIP has none.
    let own = ["eval", "voc", "voc", "--templates", "none", "--classes", "names.txt", "--tasks", "segmentation", "--limit", "1", "--json"];
    let run = |protocol: &str| -> Value {
        let more = ["--methods", "sclip,maskclip", "--protocol", protocol, "--out", protocol];
        serde_json::from_str(&succeed(folder.path(), own.iter().chain(&more))).unwrap()
    };
    let (own, surgery) = (run("own"), run("surgery"));
    assert_ne!(own["segmentation"][0], surgery["segmentation"][0]);
    assert_eq!(own["segmentation"][1], surgery["segmentation"][1]);
    assert_eq!(own["segmentation"][0]["method"], "sclip");
}

/// All numbers below `value`, with where they stand; whole ones counts.
fn numbers(value: &Value, at: String, out: &mut Vec<(String, f64)>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, v)| numbers(v, format!("{at}.{key}"), out)),
        Value::Array(list) => list.iter().enumerate().for_each(|(i, v)| numbers(v, format!("{at}.{i}"), out)),
        Value::Number(number) => out.push((at, number.as_f64().unwrap())),
        _ => {}
    }
}

#[test]
fn all_methods_in_one_pass_have_the_numbers_of_separate_runs() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    scenes(folder.path());
    fs::write(at("mine.toml"), "base = \"gem\"\nblocks = 2").unwrap();
    let usual = ["eval", "scenes", "scenes", "--limit", "2", "--label-set", "all,present", "--tasks", "maps,multi-label", "--json"];
    let run = |methods: &str, out: &str| -> Value {
        let said = succeed(folder.path(), usual.iter().chain(&["--methods", methods, "--out", out]));
        serde_json::from_str(&said).unwrap()
    };
    let together = run("all,surgery@2,mine.toml", "together");
    let listed = succeed(folder.path(), ["methods", "--json"]);
    let presets: Value = serde_json::from_str(&listed).unwrap();
    let methods: Vec<&str> = together["maps"].as_array().unwrap().iter().map(|r| r["method"].as_str().unwrap()).collect();
    for preset in presets.as_array().unwrap() {
        assert!(methods.contains(&preset["name"].as_str().unwrap()), "{preset} is not among {methods:?}");
    }
    for name in ["surgery", "surgery@2", "clip", "gem", "naclip", "resclip", "itaclip-views", "mine.toml"] {
        let alone = run(name, &format!("alone-{name}"));
        for row in alone["maps"].as_array().unwrap() {
            let same = together["maps"].as_array().unwrap().iter().find(|r| r["method"] == row["method"] && r["group"] == row["group"]);
            let (mut got, mut want) = (Vec::new(), Vec::new());
            numbers(same.unwrap_or_else(|| panic!("{name}: no row {}", row["method"])), String::new(), &mut got);
            numbers(row, String::new(), &mut want);
            assert_eq!(got.len(), want.len(), "{name}");
            for ((place, got), (_, want)) in got.iter().zip(&want) {
                // A pixel at a threshold may fall to either side of it.
                assert!((got - want).abs() < 2e-3, "{} {place}: {got} and alone {want}", row["method"]);
            }
        }
        let map = |result: &Value| result["multi_label"][0]["map"].as_f64().unwrap();
        assert!((map(&alone) - map(&together)).abs() < 1e-6, "{name}: the class row");
    }
}

#[test]
fn own_harnesses_and_what_a_model_cannot_run() {
    let folder = tempfile::tempdir().unwrap();
    scenes(folder.path());
    let net = root().join("tests/golden/weights/openai_rn_f16.safetensors");
    let usual = ["eval", "scenes", "scenes", "--limit", "1", "--tasks", "maps", "--templates", "none", "--model", net.to_str().unwrap()];
    let out = lancet(folder.path(), usual.iter().chain(&["--methods", "all", "--out", "net"]));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("left out: method gem") && said.contains("ResNet"), "{said}");
    // What it can run it would; this little model has no tokenizer.
    assert!(!said.contains("left out: method clip:") && !said.contains("left out: method surgery") && said.contains("tokenizer"), "{said}");
    // By its own name a method is asked for, and refused.
    let out = lancet(folder.path(), usual.iter().chain(&["--methods", "gem", "--out", "gem"]));
    assert!(!out.status.success() && String::from_utf8_lossy(&out.stderr).contains("method gem"));

    // Scenes have no published harness, so all segment in CLIP Surgery's way; the result says how it was asked for.
    let usual = ["eval", "scenes", "scenes", "--limit", "1", "--tasks", "segmentation", "--templates", "none", "--json"];
    let run = |more: &[&str]| -> Value { serde_json::from_str(&succeed(folder.path(), usual.iter().chain(more))).unwrap() };
    let own = run(&["--methods", "naclip,maskclip", "--protocol", "own", "--out", "own"]);
    let surgery = run(&["--methods", "naclip,maskclip", "--out", "surgery"]);
    assert_eq!((&own["settings"]["protocol"], &surgery["settings"]["protocol"]), (&json!("own"), &json!("surgery")));
    assert_eq!(own["segmentation"], surgery["segmentation"]);
}

#[test]
fn bad_input() {
    let folder = tempfile::tempdir().unwrap();
    scenes(folder.path());
    let refused = |arguments: &[&str], words: &[&str]| {
        let out = lancet(folder.path(), ["eval"].iter().chain(arguments));
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && !said.contains("panicked"), "{arguments:?}: {said}");
        assert!(words.iter().all(|w| said.contains(w)), "{arguments:?}: {said}");
        assert!(!folder.path().join("lancet-eval").exists(), "{arguments:?} wrote something");
    };
    refused(&[], &["DATASET"]);
    refused(&["scenes", "nowhere"], &["nowhere", "no such folder"]);
    refused(&["voc", "scenes"], &["voc", "JPEGImages"]);
    refused(&["scenes", "scenes", "--shard", "4/3"], &["4/3", "2/8"]);
    refused(&["scenes", "scenes", "--methods", "clip,grad-cam"], &["grad-cam", "surgery"]);
    refused(&["scenes", "scenes", "--methods", "clip,clip"], &["clip", "twice"]);
    refused(&["scenes", "scenes", "--methods", "all,clip"], &["clip", "twice"]);
    refused(&["scenes", "scenes", "--methods", "clip,absent.toml"], &["absent.toml"]);
    refused(&["scenes", "scenes", "--protocol", "mine"], &["mine", "sclip", "own"]);
    refused(&["scenes", "scenes", "--tasks", "segmentation", "--methods", "surgery"], &["surgery-architecture"]);
    refused(&["scenes", "scenes", "--tasks", "segmentation", "--protocol", "sclip"], &["sclip", "scenes"]);
    refused(&["scenes", "scenes", "--limit", "4", "--tasks", "zero-shot"], &["zero-shot", "none"]);
    refused(&["merge", "nowhere", "--out", "x"], &["nowhere"]);
    refused(&["merge", "scenes", "--out", "x"], &["no records"]);
}
