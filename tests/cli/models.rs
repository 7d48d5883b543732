//! Models by name, as users meet them; the hub is one on this machine.

use crate::server::{COMMIT, Fault, Server};
use crate::{root, scene};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// The bundled model under a published name; its config does not say which activation it has.
fn demo_as_vit() -> Server {
    let read = |name: &str| fs::read(root().join("weights/demo").join(name)).unwrap();
    let config = String::from_utf8(read("open_clip_config.json")).unwrap();
    let silent = config.replace("\"quick_gelu\": true,", "");
    assert_ne!(config, silent);
    Server::start(
        "timm/vit_base_patch16_clip_224.openai",
        [
            ("open_clip_model.safetensors".to_owned(), read("open_clip_model.safetensors")),
            ("open_clip_config.json".to_owned(), silent.into_bytes()),
            ("tokenizer.json".to_owned(), read("tokenizer.json")),
        ],
    )
}

fn run(folder: &Path, server: &Server, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lancet"))
        .args(arguments)
        .envs([("HF_ENDPOINT", server.url.as_str()), ("HF_TOKEN", "hf_x")])
        .env("HF_HUB_CACHE", folder.join("hub"))
        .env("HF_HOME", folder)
        .env("LANCET_CACHE", folder.join("cache"))
        .env_remove("HF_HUB_OFFLINE")
        .current_dir(folder)
        .output()
        .expect("the program starts")
}

#[track_caller]
fn works(folder: &Path, server: &Server, arguments: &[&str]) -> String {
    let out = run(folder, server, arguments);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[track_caller]
fn fails(folder: &Path, server: &Server, arguments: &[&str]) -> String {
    let out = run(folder, server, arguments);
    assert!(!out.status.success(), "{arguments:?} succeeded");
    let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(stderr.lines().filter(|l| l.starts_with("error: ")).count(), 1, "{stderr}");
    stderr
}

#[test]
fn a_name_is_fetched_on_first_use_and_runs_with_the_activation_of_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let server = demo_as_vit();
    let image = scene();
    let encode = |more: &[&str], out: &str| {
        let arguments = [&["encode", image.to_str().unwrap(), "--out", out], more].concat();
        works(folder.path(), &server, &arguments);
        fs::read(folder.path().join(out)).unwrap()
    };
    let bundled = encode(&[], "demo.npy");
    assert!(server.log().is_empty());
    assert!(encode(&["--model", "vit-b/16:openai"], "named.npy") == bundled, "another activation");
    let requests = server.log().len();
    assert!(encode(&["--model", "ViT-B-16", "--offline"], "offline.npy") == bundled);
    assert_eq!(server.log().len(), requests);
    // As an unnamed repository nothing is known of it, and silence means exact GELU.
    assert!(encode(&["--model", "hf:timm/vit_base_patch16_clip_224.openai"], "silent.npy") != bundled);
}

#[test]
fn listing_fetching_finding_and_removing() {
    let folder = tempfile::tempdir().unwrap();
    let server = demo_as_vit();
    let listing = || -> serde_json::Value { serde_json::from_str(&works(folder.path(), &server, &["models", "--json"])).unwrap() };
    let row = |listing: &serde_json::Value| listing["models"].as_array().unwrap().iter().find(|m| m["name"] == "ViT-B-16").unwrap().clone();
    let before = listing();
    assert_eq!(before["models"].as_array().unwrap().len(), 20);
    assert!(row(&before)["cached"].is_null() && server.log().is_empty());
    let error = fails(folder.path(), &server, &["models", "path", "ViT-B-16"]);
    assert!(error.contains("not in the cache") && error.contains("models fetch ViT-B-16"), "{error}");
    server.fail([Fault::Cut(100)]);
    let said = works(folder.path(), &server, &["models", "fetch", "vit-b-16"]);
    assert!(said.contains(COMMIT), "{said}");
    let path = works(folder.path(), &server, &["models", "path", "ViT-B-16"]);
    assert!(Path::new(path.trim()).is_file());
    assert_eq!(row(&listing())["cached"]["weights"], path.trim());
    let table = works(folder.path(), &server, &["models"]);
    let line = table.lines().find(|l| l.starts_with("ViT-B-16 ")).unwrap();
    assert!(line.contains("MiB") && line.contains("quick_gelu"), "{line}");
    let said = works(folder.path(), &server, &["models", "remove", "ViT-B-16"]);
    assert!(said.contains("freed") && said.lines().count() == 4, "{said}");
    assert!(row(&listing())["cached"].is_null());
    assert!(fails(folder.path(), &server, &["models", "remove", "ViT-B-16"]).contains("not in the cache"));
}

#[test]
fn failures_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let server = demo_as_vit();
    let error = fails(folder.path(), &server, &["models", "fetch", "ViT-B-61"]);
    assert!(error.find("ViT-B-16").unwrap() < error.find("RN50x64").unwrap(), "{error}");
    assert!(fails(folder.path(), &server, &["models", "fetch", "RN50"]).contains("timm/resnet50_clip.openai"));
    let image = scene();
    let explain = ["explain", image.to_str().unwrap(), "cat", "--offline", "--model", "ViT-B-16"];
    assert!(fails(folder.path(), &server, &explain).contains("not in the cache"));
    server.fail([Fault::Damage]);
    let error = fails(folder.path(), &server, &["encode", image.to_str().unwrap(), "--out", "x.npy", "--model", "ViT-B-16"]);
    assert!(error.contains("damaged") && !error.contains("hf_x"), "{error}");
    assert!(!folder.path().join("x.npy").exists() && !folder.path().join("lancet-out").exists());
}
