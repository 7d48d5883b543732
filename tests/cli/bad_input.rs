//! Each bad input: a non-zero exit code, one clear line, and nothing written.

use crate::{lancet, listing, root, scene};
use std::fs;
use std::path::Path;

/// Runs `lancet ARGS` in a fresh folder that `prepare` fills; expects failure, the words, one line, and no output.
pub fn refused(prepare: impl Fn(&Path), arguments: &[&str], words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(scene(), folder.path().join("scene.png")).unwrap();
    prepare(folder.path());
    let before = listing(folder.path());
    let out = lancet(folder.path(), arguments);
    let stderr = String::from_utf8_lossy(&out.stderr);
    let errors: Vec<&str> = stderr.lines().filter(|l| l.starts_with("error: ")).collect();
    assert!(!out.status.success(), "{arguments:?} succeeded");
    assert_eq!(errors.len(), 1, "{arguments:?}: expected one line, got: {stderr}");
    let said: Vec<&str> = errors[0].split(": ").collect();
    assert!(said.windows(2).all(|w| w[0] != w[1]), "{arguments:?}: says it twice: {}", errors[0]);
    for word in words {
        assert!(errors[0].contains(word), "{arguments:?}: \"{word}\" is not in: {}", errors[0]);
    }
    assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
    let after: Vec<String> = listing(folder.path()).into_iter().filter(|n| n != "cache").collect();
    assert_eq!(before, after, "{arguments:?} wrote something");
}

pub fn nothing(_: &Path) {}

/// A copy of the bundled model, changed by `damage`.
fn model(folder: &Path, damage: impl Fn(&mut Vec<u8>)) {
    let target = folder.join("model");
    fs::create_dir(&target).unwrap();
    for name in ["open_clip_config.json", "tokenizer.json"] {
        fs::copy(root().join("weights/demo").join(name), target.join(name)).unwrap();
    }
    let mut bytes = fs::read(root().join("weights/demo/open_clip_model.safetensors")).unwrap();
    damage(&mut bytes);
    fs::write(target.join("open_clip_model.safetensors"), bytes).unwrap();
}

/// Length of the JSON header.
fn header(bytes: &[u8]) -> usize {
    u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
}

/// Replaces text of the header by text of the same length.
pub fn edit(bytes: &mut [u8], from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let n = header(bytes);
    let at = bytes[8..8 + n].windows(from.len()).position(|w| w == from.as_bytes()).expect("the header has it");
    bytes[8 + at..8 + at + from.len()].copy_from_slice(to.as_bytes());
}

#[test]
fn images() {
    refused(nothing, &["explain", "nowhere.png", "cat"], &["nowhere.png", "No such file"]);
    refused(|f| fs::write(f.join("text.png"), "hello").unwrap(), &["explain", "text.png", "cat"], &["text.png", "not an image"]);
    refused(|f| fs::write(f.join("empty.png"), "").unwrap(), &["explain", "empty.png", "cat"], &["empty.png", "not an image"]);
    refused(|f| fs::create_dir(f.join("empty")).unwrap(), &["explain", "empty", "cat"], &["empty", "no image here"]);
    refused(nothing, &["explain", "*.jpg", "cat"], &["*.jpg", "no image here"]);
    let cut_png = |f: &Path| {
        let bytes = fs::read(scene()).unwrap();
        fs::write(f.join("cut.png"), &bytes[..bytes.len() / 2]).unwrap();
    };
    refused(cut_png, &["explain", "cut.png", "cat"], &["cut.png", "cannot be decoded"]);
    let cut_jpeg = |f: &Path| {
        let bytes = fs::read(root().join("tests/golden/images/scene_rgb_180x240.jpg")).unwrap();
        fs::write(f.join("cut.jpg"), &bytes[..bytes.len() / 2]).unwrap();
    };
    refused(cut_jpeg, &["explain", "cut.jpg", "cat"], &["cut.jpg", "cut off"]);
    refused(|f| fs::write(f.join("bomb.png"), bomb()).unwrap(), &["explain", "bomb.png", "cat"], &["bomb.png", "scale it down"]);
}

/// A PNG whose header promises 60,000 x 60,000 pixels.
fn bomb() -> Vec<u8> {
    let mut bytes = fs::read(scene()).unwrap();
    bytes[16..20].copy_from_slice(&60_000u32.to_be_bytes());
    bytes[20..24].copy_from_slice(&60_000u32.to_be_bytes());
    let crc = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// PNG's checksum.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &b| (0..8).fold(crc ^ u32::from(b), |c, _| if c & 1 == 1 { (c >> 1) ^ 0xedb8_8320 } else { c >> 1 }))
}

#[test]
fn labels_texts_and_options() {
    refused(nothing, &["explain", "scene.png"], &["no labels"]);
    refused(nothing, &["explain", "scene.png", "cat", "cat"], &["\"cat\"", "twice"]);
    refused(nothing, &["explain", "scene.png", "--", "cat", "cat"], &["\"cat\"", "twice"]);
    refused(nothing, &["explain", "scene.png", "cat", "scene.png"], &["looks like an image", "--label"]);
    refused(nothing, &["explain", "scene.png", "dog", "-l", "cat"], &["\"dog\"", "no such file", "--label"]);
    refused(|f| fs::create_dir(f.join("cat")).unwrap(), &["explain", "scene.png", "cat"], &["could be a label or the file or folder"]);
    refused(|f| fs::write(f.join("l.txt"), "# none\n\n").unwrap(), &["explain", "scene.png", "--labels", "l.txt"], &["no labels"]);
    refused(nothing, &["explain", "scene.png", "--labels", "missing.txt"], &["missing.txt"]);
    let long = "word ".repeat(100);
    refused(nothing, &["explain", "scene.png", &long], &["tokens", "--truncate"]);
    refused(nothing, &["explain", "scene.png", "cat", "--method", "grad-cam"], &["grad-cam", "surgery"]);
    refused(|f| fs::write(f.join("t.txt"), "no hole\n").unwrap(), &["explain", "scene.png", "cat", "--templates", "t.txt"], &["no hole"]);
    refused(nothing, &["explain", "scene.png", "cat", "--size", "4"], &["patch", "--size"]);
    refused(nothing, &["explain", "scene.png", "cat", "--size", "12z"], &["12z"]);
    refused(nothing, &["explain", "scene.png", "cat", "--adapter", "no such adapter"], &["no such adapter", "no usable GPU adapter"]);
    refused(nothing, &["encode", "--out", "x.npy"], &["nothing to encode"]);
}

#[test]
fn output_folders() {
    refused(|f| fs::write(f.join("file"), "x").unwrap(), &["explain", "scene.png", "cat", "--out", "file"], &["output folder file"]);
    refused(|f| fs::write(f.join("file"), "x").unwrap(), &["explain", "scene.png", "cat", "--out", "file/below"], &["output folder"]);
    // A failure behind the making of the folder takes the folder away again.
    refused(nothing, &["explain", "scene.png", "cat", "--out", "a/b", "--model", "missing.safetensors"], &["missing.safetensors"]);
}

#[test]
fn models() {
    refused(nothing, &["explain", "scene.png", "cat", "--model", "ViT-Z-99"], &["ViT-Z-99", "unknown model"]);
    refused(|f| fs::create_dir(f.join("m")).unwrap(), &["explain", "scene.png", "cat", "--model", "m"], &["no .safetensors"]);
    let run = ["explain", "scene.png", "cat", "--model", "model"];
    refused(|f| model(f, |b| b.truncate(b.len() - 1000)), &run, &["truncated"]);
    refused(|f| model(f, |b| b.truncate(5)), &run, &["not a usable safetensors file"]);
    refused(|f| model(f, |b| *b = b"PK\x03\x04 a zip file, no model".to_vec()), &run, &["not a usable safetensors file"]);
    refused(|f| model(f, |b| edit(b, "\"visual.proj\"", "\"visual.pr0j\"")), &run, &["no CLIP found"]);
    refused(
        |f| model(f, |b| edit(b, "\"visual.ln_post.weight\"", "\"visual.ln_p0st.weight\"")),
        &run,
        &["visual.ln_post.weight", "missing"],
    );
    refused(|f| model(f, |b| edit(b, "[192,3,8,8]", "[192,8,3,8]")), &run, &["patch convolution"]);
    refused(|f| model(f, |b| edit(b, "[2009,128]", "[128,2009]")), &run, &["vocab_size is 2009"]);
    refused(|f| model(f, |b| edit(b, "[145,192]", "[192,145]")), &run, &["vision positions"]);
    let wrong_config = |f: &Path| {
        model(f, |_| ());
        let path = f.join("model/open_clip_config.json");
        let text = fs::read_to_string(&path).unwrap().replace("\"layers\": 8", "\"layers\": 7");
        fs::write(path, text).unwrap();
    };
    refused(wrong_config, &run, &["vision layers is 7", "have 8"]);
    refused(
        |f| model(f, |_| fs::write(f.join("broken.json"), "{").unwrap()),
        &["explain", "scene.png", "cat", "--model", "model", "--config", "broken.json"],
        &["broken.json", "not JSON"],
    );
    let nan = |b: &mut Vec<u8>| {
        let end = b.len();
        b[end - 2..].copy_from_slice(&0x7e00u16.to_le_bytes());
    };
    refused(|f| model(f, nan), &run, &["NaN"]);
}
