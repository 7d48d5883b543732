//! `lancet segment`: pictures, areas, and input that cannot be segmented.

use crate::{lancet, listing, root, scene, succeed};
use std::fs;
use std::path::Path;

const LABELS: [&str; 5] = ["house", "tree", "helicopter", "teddy bear", "basketball"];

/// Indices and palette of an indexed PNG.
fn indices(path: &Path) -> (Vec<u8>, Vec<u8>, [u32; 2]) {
    let decoder = png::Decoder::new(std::io::BufReader::new(fs::File::open(path).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let (info, mut pixels) = (reader.info().clone(), vec![0; reader.output_buffer_size().unwrap()]);
    assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Indexed, png::BitDepth::Eight));
    reader.next_frame(&mut pixels).unwrap();
    (pixels, info.palette.unwrap().to_vec(), [info.width, info.height])
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn objects_get_their_classes() {
    let folder = tempfile::tempdir().unwrap();
    let image = scene();
    let said = succeed(folder.path(), ["segment", image.to_str().unwrap()].into_iter().chain(LABELS));
    assert!(said.contains("teddy bear") && said.contains("overlay"), "{said}");
    let out = folder.path().join("lancet-out");
    assert_eq!(listing(&out), ["scene.segment.json", "scene.segment.overlay.png", "scene.segment.png"]);

    let (pixels, palette, size) = indices(&out.join("scene.segment.png"));
    assert_eq!(size, [480, 360]);
    // Black is kept for a background, and there is none.
    assert_eq!(palette[..6], [128, 0, 0, 0, 128, 0]);
    let masks = image::open(root().join("weights/demo/scene.masks.png")).unwrap().to_luma8();
    let objects: Vec<(u8, u8)> = masks.as_raw().iter().zip(&pixels).filter(|(m, _)| **m > 0).map(|(m, p)| (*m, p + 1)).collect();
    let right = objects.iter().filter(|(m, p)| m == p).count() as f64 / objects.len() as f64;
    assert!(right > 0.85, "{:.1} % of the objects' pixels have the right class", 100.0 * right);

    let report = json(&out.join("scene.segment.json"));
    for (i, label) in LABELS.iter().enumerate() {
        let class = &report["classes"][i];
        assert_eq!(class["class"], *label);
        let area = pixels.iter().filter(|&&p| usize::from(p) == i).count();
        assert_eq!(class["area"].as_u64(), Some(area as u64), "{label}");
        assert!((class["fraction"].as_f64().unwrap() - area as f64 / (480.0 * 360.0)).abs() < 1e-9);
        assert!((0.2..=1.0).contains(&class["mean_confidence"].as_f64().unwrap()));
    }
}

#[test]
fn several_images_names_a_class_and_a_threshold() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    fs::create_dir(&pictures).unwrap();
    for name in ["scene.png", "scene_2.png"] {
        fs::copy(root().join("weights/demo").join(name), pictures.join(name)).unwrap();
    }
    fs::write(folder.path().join("classes.txt"), "# two\nplant = tree, palm tree\nhouse\n").unwrap();
    let also = root().join("weights/demo/scene.png");
    let run = ["segment", "pictures", "sailboat, boat", "--classes", "classes.txt", "--threshold", "0.6", "--min-area", "0.02", "--pamr=0"];
    let said = succeed(folder.path(), run.into_iter().chain(["--also", also.to_str().unwrap(), "--json", "--out", "o"]));
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["images"].as_array().unwrap().len(), 3);
    let names = listing(&folder.path().join("o"));
    assert!(names.contains(&"scene-2.segment.png".to_owned()) && names.contains(&"scene_2.segment.json".to_owned()), "{names:?}");
    let classes = &report["images"][1]["classes"];
    let titles: Vec<_> = (0..4).map(|i| classes[i]["class"].as_str().unwrap()).collect();
    assert_eq!(titles, ["background", "plant", "house", "sailboat"]);
    assert!(classes[0]["area"].as_u64().unwrap() > 0 && classes[1]["area"].as_u64().unwrap() > 0);
    // The same picture twice: the kept plan gives the same answer.
    assert_eq!(report["images"][0]["classes"], report["images"][2]["classes"]);
    let (_, palette, _) = indices(&folder.path().join("o/scene.segment.png"));
    assert_eq!(palette[..3], [0, 0, 0]);
}

#[test]
fn windows_and_built_in_lists() {
    let folder = tempfile::tempdir().unwrap();
    let image = scene();
    let run = |more: &[&str]| {
        let said = succeed(folder.path(), ["segment", image.to_str().unwrap(), "--templates", "none", "--json"].iter().chain(more));
        serde_json::from_str::<serde_json::Value>(&said).unwrap()["images"][0].clone()
    };
    // 192 x 144 has columns at 0, 48, 96 and rows at 0, 48.
    let image = run(&["house", "tree", "--short", "144", "--crop", "96"]);
    assert_eq!((image["windows"].as_u64(), image["input_size"][0].as_u64(), image["grid"][0].as_u64()), (Some(6), Some(192), Some(12)));
    // A window that is no multiple of the patch, and no refinement.
    let image = run(&["house", "tree", "--short", "100", "--crop", "60", "--stride", "50", "--pamr=0"]);
    assert_eq!((image["windows"].as_u64(), image["grid"][0].as_u64()), (Some(6), Some(7)));
    let image = run(&["--classes", "cityscapes"]);
    assert_eq!((image["windows"].as_u64(), image["classes"].as_array().unwrap().len()), (Some(1), 19));
    let image = run(&["house", "tree", "--size", "aspect"]);
    assert_eq!((image["grid"][0].as_u64(), image["grid"][1].as_u64()), (Some(14), Some(10)));
}

#[test]
fn padding_closing_and_scores_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let image = scene();
    let run = |out: &str, more: &[&str]| {
        let fixed = ["segment", image.to_str().unwrap(), "--templates", "none", "--json", "--pamr=0", "--out", out];
        let said = succeed(folder.path(), fixed.iter().chain(&LABELS).chain(more));
        let report: serde_json::Value = serde_json::from_str(&said).unwrap();
        (report, indices(&folder.path().join(out).join("scene.segment.png")).0)
    };
    let windows = ["--short", "100", "--crop", "60", "--stride", "50"];
    let (cut, before) = run("cut", &windows);
    let (padded, after) = run("padded", &[&windows[..], &["--pad"]].concat());
    // 60 pixels are 7 patches of 8 and a rest, which padding makes the eighth.
    assert_eq!((cut["images"][0]["grid"][0].as_u64(), padded["images"][0]["grid"][0].as_u64()), (Some(7), Some(8)));
    assert_eq!(padded["padded_windows"], true);
    // Zeros are no part of the picture: objects stay where they are (windows this small find 73 % of them either way).
    let masks = image::open(root().join("weights/demo/scene.masks.png")).unwrap().to_luma8();
    let right = |found: &[u8]| {
        let objects: Vec<bool> = masks.as_raw().iter().zip(found).filter(|(m, _)| **m > 0).map(|(m, f)| *m == f + 1).collect();
        objects.iter().filter(|&&r| r).count() as f64 / objects.len() as f64
    };
    assert!(before != after && right(&after) > right(&before) - 0.05, "{} of the objects, padded {}", right(&before), right(&after));

    // No pixel is left that all its neighbours surpass.
    let (report, closed) = run("closed", &[&windows[..], &["--closing"]].concat());
    assert_eq!(report["closing"], true);
    let surpassed = |pixels: &[u8]| {
        let lone = |at: usize| {
            let around = [at - 481, at - 480, at - 479, at - 1, at + 1, at + 479, at + 480, at + 481];
            around.iter().all(|&i| pixels[i] > pixels[at])
        };
        (1..359).flat_map(|y| (1..479).map(move |x| y * 480 + x)).filter(|&at| lone(at)).count()
    };
    assert_eq!(surpassed(&closed), 0);
    assert!(before.iter().zip(&closed).all(|(b, c)| c >= b), "closing never lowers an index");

    // What no patch is likely to show is nowhere; what all are likely to show stays.
    let areas = |report: &serde_json::Value| {
        (0..LABELS.len()).map(|i| report["images"][0]["classes"][i]["area"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let (all, _) = run("all", &["submarine", "--presence", "0"]);
    let (present, _) = run("present", &["submarine", "--presence", "0.95"]);
    assert!(areas(&all).iter().all(|&area| area > 0), "{:?}", areas(&all));
    assert!(areas(&present).iter().sum::<u64>() >= areas(&all).iter().sum::<u64>());
    let (whole, _) = run("whole", &["--class-row"]);
    assert_eq!(whole["times_class_row"], true);
    assert_ne!(areas(&whole), areas(&all)[..LABELS.len()]);

    // Segments take one class each, and none that had no pixel before.
    let (single, _) = run("single", &["--presence", "0"]);
    let (voted, _) = run("voted", &["--cluster-vote", "0.5,3"]);
    assert_eq!(voted["cluster_vote"], serde_json::json!([0.5, 3]));
    assert_ne!(areas(&voted), areas(&single));
    assert!(areas(&voted).iter().zip(areas(&single)).all(|(&after, before)| after == 0 || before > 0));
}

#[test]
fn bad_input_is_refused() {
    let refused = |arguments: &[&str], words: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(scene(), folder.path().join("scene.png")).unwrap();
        fs::write(folder.path().join("bad.txt"), "dog,, cat\n").unwrap();
        let out = lancet(folder.path(), arguments);
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success(), "{arguments:?} succeeded");
        for word in words {
            assert!(stderr.contains(word), "{arguments:?}: \"{word}\" is not in: {stderr}");
        }
        assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
        assert!(!folder.path().join("lancet-out").exists(), "{arguments:?} wrote something");
    };
    refused(&["segment", "scene.png"], &["no classes"]);
    refused(&["segment", "scene.png", "cat"], &["at least two"]);
    refused(&["segment", "scene.png", "cat", "dog", "--cluster-vote", "0.7"], &["0.7,3"]);
    refused(&["segment", "scene.png", "cat", "dog", "--cluster-vote", "0,3"], &["eps 0"]);
    refused(
        &["segment", "scene.png", "cat", "dog", "--cluster-vote", "0.7,3", "--short", "96", "--crop", "64"],
        &["whole image", "window"],
    );
    refused(&["segment", "scene.png", "cat", "cat"], &["\"cat\"", "twice"]);
    refused(&["segment", "scene.png", "cat", "dog,"], &["dog,"]);
    refused(&["segment", "nowhere.png", "cat", "dog"], &["nowhere.png"]);
    refused(&["segment", ".", "cat", "dog", "--classes", "imagenet"], &["imagenet", "voc21"]);
    refused(&["segment", "scene.png", "--classes", "bad.txt"], &["bad.txt", "dog,, cat"]);
    refused(&["segment", "scene.png", "--classes", "voc21", "--background", "sky"], &["--background"]);
    refused(&["segment", "scene.png", "cat", "dog", "--protocol", "sclip"], &["--classes"]);
    refused(&["segment", "scene.png", "--classes", "ade20k", "--protocol", "itaclip"], &["itaclip", "ade20k"]);
    refused(&["segment", "scene.png", "cat", "dog", "--short", "96", "--crop", "32", "--stride", "40"], &["step"]);
    refused(&["segment", "scene.png", "cat", "dog", "--short", "96", "--crop", "4"], &["patch"]);
    refused(&["segment", "scene.png", "cat", "dog", "--logit-scale", "nan"], &["logit scale"]);
    refused(&["segment", "scene.png", "cat", "dog", "--threshold", "2"], &["threshold"]);
    refused(&["segment", "scene.png", "cat", "dog", "--presence", "1.5"], &["presence 1.5"]);
    refused(&["segment", "scene.png", "cat", "dog", "--short", "96", "--pad"], &["--crop"]);
    refused(&["segment", "scene.png", "cat", "dog", "--short", "96", "--crop", "0", "--pad"], &["padding", "windows"]);
    refused(&["segment", "scene.png", "cat", "dog", "--dilations", "0"], &["dilations"]);
}
