//! Many images in one run: bad files, names, resuming, and what single runs give.

use crate::{lancet, listing, root, scene, succeed};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// `count` pictures in `folder/NAME`: the scenes of the repository in turn.
fn photos(folder: &Path, name: &str, count: usize) -> PathBuf {
    let photos = folder.join(name);
    fs::create_dir_all(&photos).unwrap();
    let scenes = ["scene", "scene_2", "scene_3", "scene_4"];
    for i in 0..count {
        fs::copy(root().join(format!("weights/demo/{}.png", scenes[i % 4])), photos.join(format!("f{i:02}.png"))).unwrap();
    }
    photos
}

fn report(out: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(out.join("lancet-run.json")).unwrap()).unwrap()
}

/// (done, skipped, failed).
fn counts(out: &Path) -> (u64, u64, u64) {
    let report = report(out);
    let count = |key: &str| report[key].as_u64().unwrap();
    (count("done"), count("skipped"), count("failed"))
}

#[test]
fn a_folder_gives_what_single_images_give() {
    let folder = tempfile::tempdir().unwrap();
    photos(folder.path(), "photos", 5);
    let said =
        succeed(folder.path(), ["explain", "photos", "house", "moon", "--out", "many", "--npy", "--alpha", "--json", "--batch", "2"]);
    assert!(said.contains("5 explained") && said.contains("GPU busy"), "{said}");
    assert_eq!(counts(&folder.path().join("many")), (5, 0, 0));
    let run = report(&folder.path().join("many"));
    let busy = run["speed"]["gpu_busy"].as_f64().unwrap();
    assert!(busy > 0.0 && busy <= 1.0, "{busy}");
    for i in 0..5 {
        succeed(folder.path(), ["explain", &format!("photos/f{i:02}.png"), "house", "moon", "--out", "one", "--npy", "--alpha", "--json"]);
    }
    let mut many = listing(&folder.path().join("many"));
    many.retain(|n| !n.starts_with("lancet-run"));
    assert_eq!(many, listing(&folder.path().join("one")));
    assert_eq!(many.len(), 5 * (2 * 3 + 2));
    for name in many {
        let [many, one] = ["many", "one"].map(|f| fs::read(folder.path().join(f).join(&name)).unwrap());
        if name.ends_with(".json") {
            let [many, one]: [serde_json::Value; 2] = [many, one].map(|bytes| serde_json::from_slice(&bytes).unwrap());
            assert!(many["labels"] == one["labels"] && many["sheet"] == one["sheet"], "{name}");
        } else {
            assert!(many == one, "{name} differs");
        }
    }
}

#[test]
fn a_bad_file_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path(), "photos", 3);
    fs::write(photos.join("f01.png"), "no picture").unwrap();
    let out = lancet(folder.path(), ["explain", "photos/", "absent.png", "-l", "cat", "--out", "maps"]);
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{stderr}");
    for words in ["failed: image photos/f01.png: not an image", "failed: absent.png: No such file", "error: 2 of 4 images failed"] {
        assert!(stderr.contains(words), "no \"{words}\" in: {stderr}");
    }
    let maps = folder.path().join("maps");
    let expected = ["f00.cat.png", "f00.sheet.png", "f02.cat.png", "f02.sheet.png", "lancet-run.json", "lancet-run.jsonl"];
    assert_eq!(listing(&maps), expected);
    assert_eq!(counts(&maps), (2, 0, 2));
    let run = report(&maps);
    assert_eq!(run["images"][1]["status"], "failed");
    assert!(run["images"][1]["error"].as_str().unwrap().contains("not an image"));
    // Mended, it is done; the others are not done again.
    fs::copy(scene(), photos.join("f01.png")).unwrap();
    succeed(folder.path(), ["explain", "photos/", "-l", "cat", "--out", "maps"]);
    assert_eq!(counts(&maps), (1, 2, 0));
}

#[test]
fn only_what_is_finished_and_unchanged_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path(), "photos", 3);
    let maps = folder.path().join("maps");
    let run = |more: &[&str]| {
        succeed(folder.path(), ["explain", "photos", "--out", "maps", "--templates", "none"].iter().chain(more));
        counts(&maps)
    };
    assert_eq!(run(&["-l", "cat"]), (3, 0, 0));
    assert_eq!(run(&["-l", "cat"]), (0, 3, 0));
    assert_eq!(run(&["-l", "cat", "--redo"]), (3, 0, 0));
    assert_eq!(run(&["-l", "dog"]), (3, 0, 0), "other labels");
    assert_eq!(run(&["-l", "dog", "--method", "maskclip"]), (3, 0, 0), "another method");
    assert_eq!(run(&["-l", "dog", "--method", "maskclip", "--size", "64"]), (3, 0, 0), "another size");
    assert_eq!(run(&["-l", "dog", "--method", "maskclip", "--size", "64", "--no-sheet"]), (3, 0, 0), "other files");
    let last = ["-l", "dog", "--method", "maskclip", "--size", "64", "--no-sheet"];
    fs::remove_file(maps.join("f00.dog.png")).unwrap();
    fs::copy(root().join("weights/demo/scene_4.png"), photos.join("f01.png")).unwrap();
    assert_eq!(run(&last), (2, 1, 0), "a result that is gone, a picture that has changed");
    assert_eq!(run(&last), (0, 3, 0));
}

#[test]
fn a_killed_run_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    photos(folder.path(), "frames", 24);
    let maps = folder.path().join("maps");
    let arguments = ["explain", "frames/*.png", "house", "tree", "moon", "--out", "maps"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_lancet"))
        .args(arguments)
        .env("LANCET_CACHE", folder.path().join("cache"))
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let finished = || fs::read_to_string(maps.join("lancet-run.jsonl")).unwrap_or_default().lines().count();
    while finished() < 2 && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "it had time to finish");
    let before = finished();
    assert!((2..24).contains(&before), "{before} images when it was killed");
    // Whatever has a name is whole; nothing else lies open.
    for name in listing(&maps).iter().filter(|n| n.ends_with(".png")) {
        image::open(maps.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    assert!(!maps.join("lancet-run.json").exists());
    let first = maps.join("f00.house.png");
    let written = fs::metadata(&first).unwrap().modified().unwrap();

    succeed(folder.path(), arguments);
    assert_eq!(counts(&maps), (24 - before as u64, before as u64, 0));
    assert_eq!(fs::metadata(&first).unwrap().modified().unwrap(), written, "a finished image was done again");
    let all = listing(&maps);
    assert_eq!(all.len(), 24 * 4 + 2, "what the killed run left behind is gone: {all:?}");
}

#[test]
fn names_do_not_collide() {
    let folder = tempfile::tempdir().unwrap();
    photos(folder.path(), "cam/left", 2);
    photos(folder.path(), "cam/right", 1);
    succeed(folder.path(), ["explain", "cam/left/", "cam/right/", "sheet", "moon", "--out", "maps", "--templates", "none"]);
    assert_eq!(listing(&folder.path().join("maps")), ["lancet-run.json", "lancet-run.jsonl", "left", "right"]);
    let right = ["f00.moon.png", "f00.sheet-2.png", "f00.sheet.png"];
    assert_eq!(listing(&folder.path().join("maps/right")), right);
    assert_eq!(listing(&folder.path().join("maps/left")).len(), 6);
}
