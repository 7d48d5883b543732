//! `lancet methods`, and methods of one's own in TOML files wherever a method is taken.

use crate::{lancet, listing, root, scene, succeed};
use serde_json::Value;
use std::fs;

#[test]
fn a_printed_preset_is_that_preset() {
    let folder = tempfile::tempdir().unwrap();
    let all: Value = serde_json::from_str(&succeed(folder.path(), ["methods", "--json"])).unwrap();
    let said = succeed(folder.path(), ["methods"]);
    let help = succeed(folder.path(), ["explain", "--help"]);
    for row in all.as_array().unwrap() {
        let name = row["name"].as_str().unwrap();
        assert!(said.contains(name) && help.contains(name), "{name} is not in: {said}{help}");
    }
    let printed = succeed(folder.path(), ["methods", "sc-clip"]);
    fs::write(folder.path().join("mine.toml"), &printed).unwrap();
    assert_eq!(succeed(folder.path(), ["methods", "mine.toml"]), printed);
}

#[test]
fn the_documented_example_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (image, file) = (scene(), root().join("docs/my-method.toml"));
    let common = ["--size", "64", "--templates", "none"];
    let arguments = ["explain", image.to_str().unwrap(), "house", "tree", "--method", file.to_str().unwrap()];
    let said = succeed(folder.path(), arguments.iter().chain(&common));
    assert!(said.contains("my-method"), "{said}");
    assert!(listing(&folder.path().join("lancet-out")).iter().any(|f| f.contains("house")));

    // The preset it starts from, on a file of another name, gives what the preset gives.
    fs::write(folder.path().join("same.toml"), "base = \"naclip\"").unwrap();
    let heat = |method: &str, out: &str| {
        let arguments = ["explain", image.to_str().unwrap(), "tree", "--method", method, "--npy", "--out", out];
        succeed(folder.path(), arguments.iter().chain(&common));
        let out = folder.path().join(out);
        listing(&out).iter().map(|f| (f.clone(), fs::read(out.join(f)).unwrap())).collect::<Vec<_>>()
    };
    let (preset, same) = (heat("naclip", "a"), heat("same.toml", "b"));
    assert!(preset.len() > 1 && preset == same, "{} files", preset.len());
    assert!(heat("./same.toml", "c") == preset);
}

#[test]
fn bad_files_are_refused_with_their_line_before_a_model_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |text: &str, words: &[&str]| {
        fs::write(folder.path().join("bad.toml"), text).unwrap();
        for command in [&["explain", "x.png", "dog"][..], &["segment", "x.png", "dog", "cat"], &["encode", "x.png", "--out", "x.npy"]] {
            let out = lancet(folder.path(), command.iter().chain(&["--method", "bad.toml", "--model", "nowhere.safetensors"]));
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            assert!(!out.status.success() && !said.contains("panicked") && said.starts_with("error: method bad.toml"), "{said}");
            assert!(words.iter().all(|w| said.contains(w)), "{said}");
        }
    };
    refused("blocks = 1\ngausian = 5.0", &["bad.toml:2", "gausian", "gaussian"]);
    refused("blocks = 1\n\ngaussian = -5.0", &["bad.toml:3", "gaussian must be a positive number"]);
    refused("base = \"sclip\"\nterms = [\"kk\"\nmlp = false", &["bad.toml:3"]);
    refused("base = \"grad-cam\"", &["bad.toml:1", "grad-cam", "naclip"]);
    refused("blocks = 2\nmlp = false\ndual = true\nterms = []", &["bad.toml:3", "needs an attention term"]);
    let out = lancet(folder.path(), ["methods", "absent.toml"]);
    assert!(!out.status.success() && String::from_utf8_lossy(&out.stderr).contains("absent.toml"));
}
