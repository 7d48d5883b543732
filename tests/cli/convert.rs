//! `lancet convert`: files, and what it refuses.

use crate::{lancet, listing, root, scene, succeed};
use lancet::Weights;
use sha2::Digest;
use std::fs;

fn refused(folder: &std::path::Path, arguments: &[&str], words: &[&str]) {
    let before = listing(folder);
    let out = lancet(folder, arguments);
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && stderr.lines().count() == 1, "{arguments:?}: {stderr}");
    words.iter().for_each(|word| assert!(stderr.contains(word), "\"{word}\" is not in: {stderr}"));
    assert_eq!(listing(folder), before, "{arguments:?} wrote something");
}

#[test]
fn the_bundled_model_becomes_halves_and_still_sees() {
    let folder = tempfile::tempdir().unwrap();
    let report = succeed(folder.path(), ["convert", "demo", "--dtype", "f32", "--out", "wide", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let file = folder.path().join("wide/open_clip_model.safetensors");
    let bytes = fs::read(&file).unwrap();
    let hash: String = sha2::Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!((&report["sha256"], &report["bytes"]), (&hash.into(), &bytes.len().into()));
    assert_eq!(listing(&folder.path().join("wide")), ["open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json"]);
    // Wide, and back: every value of the bundled file is a half, so it must be the same again.
    let said = succeed(folder.path(), ["convert", "wide", "--dtype", "f16", "--out", "half"]);
    assert!(said.contains("sha256"), "{said}");
    let (half, original) = (
        Weights::open(folder.path().join("half/open_clip_model.safetensors")).unwrap(),
        Weights::open(root().join("weights/demo/open_clip_model.safetensors")).unwrap(),
    );
    for name in half.names() {
        assert!(half.raw(name) == original.raw(name) || name == "logit_scale", "{name}");
    }
    let image = scene();
    let encode = |model: &str| {
        let out = format!("{model}.npy");
        succeed(folder.path(), ["encode", image.to_str().unwrap(), "--model", model, "--out", &out]);
        fs::read(folder.path().join(out)).unwrap()
    };
    assert!(encode("half") == encode("demo"));
    // The config keeps what lancet does not read.
    let config: serde_json::Value = serde_json::from_slice(&fs::read(folder.path().join("half/open_clip_config.json")).unwrap()).unwrap();
    assert_eq!(config["preprocess_cfg"]["resize_mode"], "squash");
    assert_eq!(config["model_cfg"]["quick_gelu"], true);
}

#[test]
fn what_cannot_be_converted() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    write("model.pt", b"PK\x03\x04 ... archive/constants.pkl ...");
    refused(folder.path(), &["convert", "model.pt", "--out", "o"], &["model.pt", "torch.jit.load", "lancet convert model.safetensors"]);
    write("state.bin", b"PK\x03\x04 ... archive/data.pkl ...");
    refused(folder.path(), &["convert", "state.bin", "--out", "o"], &["torch.load", "weights_only=True"]);
    write("not.safetensors", b"hello, this is text");
    refused(folder.path(), &["convert", "not.safetensors", "--out", "o"], &["not a usable safetensors file"]);
    succeed(folder.path(), ["convert", "demo", "--out", "mine"]);
    refused(folder.path(), &["convert", "mine", "--out", "mine"], &["mine", "choose another"]);
    refused(folder.path(), &["convert", "mine", "--out", "./mine/../mine"], &["choose another"]);
    refused(folder.path(), &["convert", "absent.safetensors", "--out", "o"], &["absent.safetensors"]);
    // NaN in the last value: named, and no half-written folder stays.
    let path = folder.path().join("mine/open_clip_model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 2..].copy_from_slice(&0x7e00u16.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    refused(folder.path(), &["convert", "mine", "--out", "o"], &["NaN", "element"]);
}
