//! The program as its users run it: results, files, and every kind of bad input.
#![cfg(feature = "cli")]

mod anomaly;
mod bad_input;
mod classify;
mod compare;
mod convert;
mod eval;
mod files;
mod many;
mod methods;
mod models;
mod points;
mod resnet;
mod results;
mod segment;
#[path = "../hub/server.rs"]
mod server;
mod tune;
mod words;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A picture of the repository.
fn scene() -> PathBuf {
    root().join("weights/demo/scene.png")
}

/// Runs `lancet` with its cache in `folder`; words of `arguments` may be paths.
fn lancet<S: AsRef<std::ffi::OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = S>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lancet"))
        .args(arguments)
        .env("LANCET_CACHE", folder.join("cache"))
        .current_dir(folder)
        .output()
        .expect("the program starts")
}

/// Runs `lancet` and expects success; its stdout.
fn succeed<S: AsRef<std::ffi::OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = S>) -> String {
    let out = lancet(folder, arguments);
    assert!(out.status.success(), "exit {:?}: {}", out.status.code(), String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// File names in a folder, sorted; empty if it is not there.
fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .map(|d| d.filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned())).collect())
        .unwrap_or_default();
    names.sort();
    names
}
