//! The layer rule of ARCHITECTURE: imports point down only.
//!
//! A module uses lower layers and its own files, never a higher layer and never a neighbour on its own.

use std::fs;
use std::path::{Path, PathBuf};

/// Lowest first.
const LAYERS: [&[&str]; 9] = [
    &["error"],
    &["shape", "reference"],
    &["gpu"],
    &["engine"],
    &["weights", "ops", "hub"],
    &["clip"],
    &["explain"],
    &["eval"],
    &["lib", "bin"],
];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// Names behind `crate::` on a line of code: one, or several in braces.
fn imports(line: &str) -> Vec<String> {
    let code = line.split("//").next().unwrap_or_default();
    let name = |s: &str| s.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    code.split("crate::")
        .skip(1)
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(list) => list.split(',').map(name).collect(),
            None => vec![name(rest)],
        })
        .collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> =
        entries.map(|e| e.expect("a folder entry").path()).flat_map(|p| if p.is_dir() { rust_files(&p) } else { vec![p] }).collect();
    files.retain(|p| p.extension().is_some_and(|x| x == "rs"));
    files
}

#[test]
fn imports_point_down() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for path in rust_files(&src) {
        let place = path.strip_prefix(&src).expect("a file below src");
        let module =
            place.components().next().map(|c| c.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()).unwrap_or_default();
        let Some(own) = layer(&module) else { panic!("src/{}: add module {module} to LAYERS in tests/layers.rs", place.display()) };
        let text = fs::read_to_string(&path).expect("source text");
        // `crate` of a program is the program; the library's root only re-exports.
        for (number, line) in text.lines().enumerate().filter(|_| own + 1 < LAYERS.len()) {
            // Names that are no module are the root's re-exports (`crate::Result`): a round trip through the top.
            wrong.extend(
                imports(line)
                    .into_iter()
                    .filter(|to| *to != module && layer(to).is_none_or(|to| to >= own))
                    .map(|to| format!("src/{}:{}: {module} uses crate::{to}", place.display(), number + 1)),
            );
        }
    }
    assert!(wrong.is_empty(), "imports must point down ({LAYERS:?}, lowest first):\n{}", wrong.join("\n"));
}

#[test]
fn an_upward_import_is_seen() {
    assert_eq!(imports("use crate::clip::Clip;"), ["clip"]);
    assert_eq!(imports("    let x: crate::explain::Method = crate::ops::f(); // crate::bin"), ["explain", "ops"]);
    assert_eq!(imports("use crate::{error::Error, gpu};"), ["error", "gpu"]);
    assert!(imports("//! see crate::clip").is_empty());
    assert!(layer("error") < layer("gpu") && layer("ops") < layer("clip") && layer("unheard_of").is_none());
}
