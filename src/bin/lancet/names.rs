//! Names of results: no two images, and no two labels of an image, write the same file.

use crate::output::file_label;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// What a file of a run itself is called; an image of that name gets another one.
const RESERVED: &str = "lancet-run";

/// One name for each image: its file name without the ending. If two would be the same, all become paths from the deepest
/// folder that holds every image; if two still are (`a.jpg` beside `a.png`), these keep their ending.
pub fn of_images(paths: &[PathBuf]) -> Vec<String> {
    let mut names: Vec<String> = paths.iter().map(|p| stem(p)).collect();
    if !twice(&names).is_empty() {
        let folders: Vec<PathBuf> = paths.iter().map(|p| folder(p)).collect();
        let shared = shared(&folders);
        names = names.iter().zip(&folders).map(|(name, folder)| below(folder, shared, name)).collect();
        let same = twice(&names);
        for ((name, folder), path) in names.iter_mut().zip(&folders).zip(paths) {
            if same.contains(&name.to_lowercase()) {
                let file = path.file_name().map_or_else(|| name.clone(), |f| f.to_string_lossy().into_owned());
                *name = below(folder, shared, &file);
            }
        }
    }
    // `a.b` with label `c` would meet `a` with label `b.c`.
    let all: HashSet<String> = names.iter().map(|n| n.to_lowercase()).collect();
    for name in &mut names {
        let lower = name.to_lowercase();
        if lower == RESERVED || lower.match_indices('.').any(|(dot, _)| all.contains(&lower[..dot])) {
            *name = format!("{}_", name.replace('.', "_"));
        }
    }
    numbered(names)
}

/// One file name part for each label.
pub fn of_labels(labels: &[String]) -> Vec<String> {
    // The contact sheet has the name that a label "sheet" would have.
    let mut parts = vec!["sheet".to_owned()];
    parts.extend(labels.iter().map(|l| file_label(l)));
    numbered(parts).split_off(1)
}

/// File name without its ending.
pub fn stem(image: &Path) -> String {
    image.file_stem().map_or_else(|| "image".into(), |s| s.to_string_lossy().into_owned())
}

/// Those that come more than once, in lower case: some file systems do not tell cases apart.
fn twice(names: &[String]) -> HashSet<String> {
    let mut seen = HashSet::new();
    names.iter().map(|n| n.to_lowercase()).filter(|n| !seen.insert(n.clone())).collect()
}

/// One name for each image: its file name without the ending, later ones of the same name with a number.
pub fn of_stems(paths: &[PathBuf]) -> Vec<String> {
    numbered(paths.iter().map(|p| stem(p)).collect())
}

/// Later ones of the same name get a number.
fn numbered(names: Vec<String>) -> Vec<String> {
    let mut taken: HashSet<String> = HashSet::new();
    let mut next: HashMap<String, usize> = HashMap::new();
    let mut name_one = |name: String| {
        let lower = name.to_lowercase();
        if taken.insert(lower.clone()) {
            return name;
        }
        let n = next.entry(lower.clone()).or_insert(2);
        while !taken.insert(format!("{lower}-{n}")) {
            *n += 1;
        }
        format!("{name}-{n}")
    };
    names.into_iter().map(&mut name_one).collect()
}

fn folder(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    parent.canonicalize().or_else(|_| std::path::absolute(parent)).unwrap_or_else(|_| parent.to_owned())
}

/// The deepest folder that holds all of them.
fn shared(folders: &[PathBuf]) -> &Path {
    let mut shared = folders.first().map_or(Path::new(""), PathBuf::as_path);
    for folder in folders {
        while !folder.starts_with(shared) {
            shared = shared.parent().unwrap_or(Path::new(""));
        }
    }
    shared
}

fn below(folder: &Path, shared: &Path, name: &str) -> String {
    let between = folder.strip_prefix(shared).unwrap_or(Path::new(""));
    between
        .components()
        .filter_map(|part| match part {
            std::path::Component::Normal(part) => Some(format!("{}/", part.to_string_lossy())),
            _ => None,
        })
        .chain([name.to_owned()])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[&str]) -> Vec<String> {
        of_images(&paths.iter().map(PathBuf::from).collect::<Vec<_>>())
    }

    #[test]
    fn no_two_images_write_the_same_file() {
        assert_eq!(names(&["x/a.png", "y/b.jpg"]), ["a", "b"]);
        assert_eq!(names(&["x/1/a.png", "x/2/a.png", "x/b.png"]), ["1/a", "2/a", "b"]);
        assert_eq!(names(&["a.png", "a.jpg", "b.png"]), ["a.png", "a.jpg", "b"]);
        assert_eq!(names(&["x/A.png", "y/a.png"]), ["x/A", "y/a"]);
        assert_eq!(names(&["A.png", "a.png"]), ["A.png", "a.png-2"]);
        assert_eq!(names(&["a.png", "a.b.png"]), ["a", "a_b_"]);
        assert_eq!(names(&["lancet-run.png"]), ["lancet-run_"]);
    }

    #[test]
    fn results_of_one_name_do_not_meet() {
        let paths = ["a/x.png", "b/x.jpg", "x-2.png", "c/x.png"].map(PathBuf::from);
        assert_eq!(of_stems(&paths), ["x", "x-2", "x-2-2", "x-3"]);
    }

    #[test]
    fn no_two_labels_write_the_same_file() {
        let labels = ["a:b", "a?b", "sheet", "Cat", "cat", "cat-2"].map(String::from);
        assert_eq!(of_labels(&labels), ["a_b", "a_b-2", "sheet-2", "Cat", "cat-2", "cat-2-2"]);
    }
}
