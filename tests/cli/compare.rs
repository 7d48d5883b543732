//! `lancet compare`: the sheet, what methods cost and share, masks, and choices that make no sense.

use crate::bad_input::{nothing, refused};
use crate::{lancet, listing, root, scene, succeed};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// What is on the bundled scene, in the order of the numbers of its mask.
const LABELS: [&str; 5] = ["house", "tree", "helicopter", "teddy bear", "basketball"];

fn truth() -> PathBuf {
    root().join("weights/demo/scene.masks.png")
}

/// `lancet compare` of the bundled scene, as JSON.
fn compared(folder: &Path, more: &[&str]) -> Value {
    let image = scene();
    let mut arguments = vec!["compare", image.to_str().unwrap(), "--json"];
    arguments.extend(more);
    serde_json::from_str(&succeed(folder, arguments)).unwrap()
}

fn find<'a>(report: &'a Value, method: &str) -> &'a Value {
    report["methods"].as_array().unwrap().iter().find(|m| m["name"] == method).unwrap_or_else(|| panic!("no {method}: {report}"))
}

#[test]
fn all_methods_on_one_page_with_their_costs() {
    let folder = tempfile::tempdir().unwrap();
    let image = scene();
    let arguments = ["compare", image.to_str().unwrap(), "house", "tree", "--runs", "1"];
    let out = lancet(folder.path(), arguments);
    let (said, noted) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{noted}");
    for word in ["surgery-architecture", "sc-clip", "resclip", "together", "passes of plain CLIP", "device times", "scene.compare.png"] {
        assert!(said.contains(word), "\"{word}\" is not in: {said}");
    }
    assert!(noted.contains("anoclip is left out") && noted.contains("lancet anomaly"), "{noted}");
    assert_eq!(listing(&folder.path().join("lancet-out")), ["scene.compare.png"]);
    let page = image::open(folder.path().join("lancet-out/scene.compare.png")).unwrap().to_rgb8();
    // A row for each method, and one for the picture; the picture is in the corner, and the maps are in colour.
    assert_eq!(page.height(), 6 + 120 + 22 + lancet::Method::ALL.len() as u32 * (120 + 6));
    let own = image::imageops::thumbnail(&image::open(&image).unwrap().to_rgb8(), 160, 120);
    assert_eq!(page.get_pixel(6 + 50, 6 + 40), own.get_pixel(50, 40));
    let last = image::imageops::crop_imm(&page, page.width() - 166, page.height() - 126, 160, 120).to_image();
    assert!(last.pixels().any(|p| p[0] > 130 && p[2] < 110) && last.pixels().any(|p| p[2] > 110 && p[0] < 110), "warm and cold");
}

#[test]
fn shared_steps_are_paid_once() {
    let folder = tempfile::tempdir().unwrap();
    let report = compared(folder.path(), &["house", "tree", "--methods", "clip,surgery,clearclip,naclip", "--runs", "2"]);
    let device = |key: &str| report["device"][key].as_f64().unwrap();
    let (mut own, mut each) = (0.0, 0.0);
    for method in report["methods"].as_array().unwrap() {
        let (alone, shared) = (method["own_ms"].as_f64().unwrap(), method["shared_ms"].as_f64().unwrap());
        assert!(shared > 0.0, "{method}");
        (own, each) = (own + alone, each + alone + shared);
    }
    assert!((device("separately_ms") - each).abs() < 1e-6 && device("clip_ms") > 0.0);
    // What one owns is counted once, so the whole lies between what is owned and what is paid one by one.
    assert!(own < device("together_ms") && device("together_ms") < each, "{report}");
    // Behind the tokens that enter the last block, these two have an attention each, and no MLP.
    for method in ["clearclip", "naclip"] {
        let method = find(&report, method);
        assert!(method["shared_ms"].as_f64() > method["own_ms"].as_f64(), "{method}");
    }
    let untimed = compared(folder.path(), &["house", "--methods", "clip", "--runs", "0"]);
    assert!(untimed["device"].is_null() && untimed["methods"][0]["own_ms"].is_null());
}

#[test]
fn a_method_scores_as_it_does_alone() {
    let folder = tempfile::tempdir().unwrap();
    let report = compared(folder.path(), &["house", "tree", "--methods", "naclip,surgery", "--maps", "--runs", "0"]);
    let image = scene();
    for method in ["naclip", "surgery"] {
        succeed(folder.path(), ["explain", image.to_str().unwrap(), "house", "tree", "--method", method, "--out", method, "--json"]);
        let alone: Value = serde_json::from_slice(&fs::read(folder.path().join(method).join("scene.json")).unwrap()).unwrap();
        for (i, label) in ["house", "tree"].iter().enumerate() {
            let (here, there) = (&find(&report, method)["labels"][i], &alone["labels"][i]);
            // Fused or not, sums of the dual blocks are rounded in another order.
            let close = |a: &Value, b: &Value| (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-4;
            assert!(close(&here["class_cosine"], &there["score"]) && close(&here["peak_score"], &there["peak"]["score"]), "{here} {there}");
            // And looks as it does alone: a level of the colours at most.
            let drawn = image::open(folder.path().join(format!("lancet-out/scene.{method}.{label}.png"))).unwrap().to_rgb8();
            let own = image::open(folder.path().join(format!("{method}/scene.{label}.png"))).unwrap().to_rgb8();
            assert_eq!(drawn.dimensions(), own.dimensions());
            let furthest = drawn.as_raw().iter().zip(own.as_raw()).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(furthest <= Some(6), "{method} {label}: {furthest:?}");
        }
    }
}

#[test]
fn masks_measure_maps() {
    let folder = tempfile::tempdir().unwrap();
    let path = truth();
    let mask = path.to_str().unwrap();
    let mut arguments = LABELS.to_vec();
    arguments.extend(["--methods", "clip,surgery", "--runs", "0", "--truth"]);
    let by_number = compared(folder.path(), &[arguments.as_slice(), &[mask]].concat());
    let [clip, surgery] = ["clip", "surgery"].map(|m| find(&by_number, m).clone());
    // The paper's point: plain CLIP's maps are worse than CLIP Surgery's.
    assert!(surgery["msc"].as_f64() > clip["msc"].as_f64() && surgery["miou"].as_f64() > clip["miou"].as_f64(), "{surgery} {clip}");
    let mean = surgery["labels"].as_array().unwrap().iter().map(|l| l["iou"].as_f64().unwrap()).sum::<f64>() / 5.0;
    assert!((mean - surgery["miou"].as_f64().unwrap()).abs() < 1e-12);
    assert!(surgery["miou_one_threshold"].as_f64() <= surgery["miou"].as_f64());
    // A folder of masks says the same.
    let pixels = image::open(&path).unwrap().to_rgb8();
    let numbers = numbers(&path);
    fs::create_dir(folder.path().join("masks")).unwrap();
    for (i, label) in LABELS.iter().enumerate() {
        let own: Vec<u8> = numbers.iter().map(|&n| if usize::from(n) == i + 1 { 255 } else { 0 }).collect();
        let file = folder.path().join(format!("masks/{label}.png"));
        image::GrayImage::from_raw(pixels.width(), pixels.height(), own).unwrap().save(file).unwrap();
    }
    let by_folder = compared(folder.path(), &[arguments.as_slice(), &["masks"]].concat());
    assert_eq!(by_folder["methods"], by_number["methods"]);
    // Fewer labels in another order, with names for the numbers; the table has the measures.
    fs::write(folder.path().join("names.txt"), LABELS.join("\n")).unwrap();
    let image = scene();
    let some = ["compare", image.to_str().unwrap(), "tree", "house", "--methods", "surgery", "--truth", mask, "--truth-names", "names.txt"];
    let said = succeed(folder.path(), some);
    assert!(said.contains("mIoU") && said.contains("mSC") && said.contains("own ms"), "{said}");
}

/// The numbers of a mask with a palette.
fn numbers(path: &Path) -> Vec<u8> {
    let mut decoder = png::Decoder::new(std::io::BufReader::new(fs::File::open(path).unwrap()));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().unwrap();
    assert_eq!(reader.info().bit_depth, png::BitDepth::Eight);
    let mut data = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut data).unwrap();
    data
}

#[test]
fn what_does_not_run_here_is_named() {
    let folder = tempfile::tempdir().unwrap();
    // 25 patches: too few for SC-CLIP's 30 neighbours.
    let small = compared(folder.path(), &["house", "tree", "--size", "40", "--runs", "0"]);
    let left_out = |report: &Value| -> Vec<String> {
        report["left_out"].as_array().unwrap().iter().map(|l| l["name"].as_str().unwrap().to_owned()).collect()
    };
    let names = left_out(&small);
    assert!(names.contains(&"sc-clip".to_owned()) && names.contains(&"anoclip".to_owned()) && names.len() == 2, "{names:?}");
    // One label: what labels share is nothing, and the empty text takes its place.
    let image = scene();
    let one = lancet(folder.path(), ["compare", image.to_str().unwrap(), "house", "--methods", "surgery,surgery-empty-text", "--json"]);
    assert!(String::from_utf8_lossy(&one.stderr).contains("empty text"));
    let one: Value = serde_json::from_slice(&one.stdout).unwrap();
    assert_eq!(one["methods"][0]["labels"], one["methods"][1]["labels"]);
}

#[test]
fn a_method_of_ones_own_stands_beside_the_others() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.toml"), "base = \"naclip\"\ngaussian = 2.0\n").unwrap();
    fs::write(folder.path().join("same.toml"), "base = \"naclip\"\n").unwrap();
    let report = compared(folder.path(), &["house", "tree", "--methods", "naclip,mine.toml,same.toml", "--runs", "0"]);
    assert_eq!(find(&report, "naclip")["labels"], find(&report, "same")["labels"]);
    assert_ne!(find(&report, "naclip")["labels"], find(&report, "mine")["labels"]);
    let twice = ["compare", scene().to_str().unwrap(), "house", "tree", "--methods", "mine.toml,./mine.toml"].map(String::from);
    let out = lancet(folder.path(), twice);
    assert!(!out.status.success() && String::from_utf8_lossy(&out.stderr).contains("mine is there twice"));
}

#[test]
fn the_list_names_every_method() {
    let folder = tempfile::tempdir().unwrap();
    let said = succeed(folder.path(), ["compare", "--list"]);
    assert_eq!(said.lines().count(), lancet::Method::ALL.len() + 1);
    for method in lancet::Method::ALL {
        assert!(said.lines().any(|l| l.starts_with(method.name.as_ref()) && l.ends_with(method.about.as_ref())), "{}", method.name);
    }
    assert!(said.contains("anoclip"));
    let rows: Value = serde_json::from_str(&succeed(folder.path(), ["compare", "--list", "--json"])).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), said.lines().count());
}

#[test]
fn bad_choices() {
    let expect = |arguments: &[&str], words: &[&str]| refused(nothing, &[&["compare", "scene.png"], arguments].concat(), words);
    expect(&["house", "--methods", "clip,grad-cam"], &["grad-cam", "expected one of", "surgery"]);
    expect(&["house", "--methods", "clip,clip"], &["clip is there twice"]);
    expect(&["house", "--methods", "clip,"], &["a name is empty"]);
    expect(&["house", "--methods", "all,clip"], &["give it alone"]);
    expect(&["house", "tree", "--methods", "clip,anoclip"], &["anoclip", "lancet anomaly"]);
    expect(&["house", "tree", "--size", "40", "--methods", "clip,sc-clip"], &["method sc-clip", "neighbours"]);
    expect(&["house", "house"], &["given twice"]);
    expect(&[], &["no labels"]);
    expect(&["house", "--size", "4"], &["4"]);
    refused(nothing, &["compare", "absent.png", "house"], &["absent.png"]);
    refused(nothing, &["compare", "scene.png", "house", "--runs", "many"], &["--runs", "many"]);
    let rn = root().join("tests/golden/weights/openai_rn_f16.safetensors");
    expect(&["house", "--model", rn.to_str().unwrap(), "--methods", "sclip"], &["method sclip", "ResNet"]);
}

#[test]
fn bad_masks() {
    let path = truth();
    let mask = path.to_str().unwrap();
    let expect = |prepare: &dyn Fn(&Path), arguments: &[&str], words: &[&str]| {
        refused(prepare, &[&["compare", "scene.png"], arguments].concat(), words);
    };
    let none = |_: &Path| {};
    // Numbers beyond the labels.
    expect(&none, &["house", "tree", "--truth", mask], &["--truth-names", "stands for no class"]);
    expect(&none, &["house", "--truth", "absent.png"], &["absent.png"]);
    expect(&none, &["house", "--truth-names", "voc20"], &["required"]);
    expect(&none, &["house", "--truth", mask, "--truth-names", "no-list"], &["no-list"]);
    expect(&none, &["house", "--truth", mask, "--truth-names", "voc20"], &["\"house\" is not among"]);
    expect(&none, &["cow", "--truth", mask, "--truth-names", "voc20"], &["none of the labels is on it"]);
    let small = |folder: &Path| image::GrayImage::new(10, 20).save(folder.join("small.png")).unwrap();
    expect(&small, &["house", "--truth", "small.png"], &["small.png", "10x20", "480x360"]);
    let folder = |folder: &Path| {
        fs::create_dir(folder.join("masks")).unwrap();
        image::GrayImage::new(480, 360).save(folder.join("masks/house.png")).unwrap();
    };
    expect(&folder, &["house", "tree", "--truth", "masks"], &["\"tree\" has no mask", "tree.png"]);
    expect(&folder, &["house", "--truth", "masks"], &["all are empty"]);
    expect(&folder, &["house", "--truth", "masks", "--truth-names", "voc20"], &["drop it"]);
    expect(
        &|f| fs::write(f.join("colour.png"), fs::read(scene()).unwrap()).unwrap(),
        &["house", "--truth", "colour.png"],
        &["grey or palette"],
    );
}
