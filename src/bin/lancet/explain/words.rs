//! Which words of the command line are pictures, and which are labels.

use crate::inputs::has_image_ending;
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Splits the words into pictures and labels. With labels given otherwise (`explicit`), all words are pictures. Else the
/// first one is, and those right behind it that look like one; the rest are labels. What is there or not never decides;
/// but a label that is also the name of something here is refused, since it may be meant as a picture.
pub fn split(words: &[OsString], explicit: &[String]) -> Result<(Vec<PathBuf>, Vec<String>)> {
    let paths = |words: &[OsString]| words.iter().map(PathBuf::from).collect::<Vec<_>>();
    if !explicit.is_empty() {
        if let Some(odd) = words.iter().find(|w| !looks_like_input(w) && !Path::new(w).exists()) {
            let odd = odd.to_string_lossy();
            bail!(
                "\"{odd}\": no such file or folder; with labels behind --label or --, all other words are images: write --label \"{odd}\" for a label"
            );
        }
        return Ok((paths(words), explicit.to_vec()));
    }
    let count = 1 + words.iter().skip(1).take_while(|w| looks_like_input(w)).count();
    let (inputs, rest) = words.split_at(count.min(words.len()));
    let mut labels = Vec::new();
    for word in rest {
        let label = word.to_str().with_context(|| format!("label {}: not UTF-8", word.to_string_lossy()))?;
        if looks_like_input(word) {
            let before = rest[0].to_string_lossy();
            bail!(
                "\"{label}\" looks like an image but stands behind the label \"{before}\"; put images first, or labels behind --label or --"
            );
        }
        if Path::new(word).exists() {
            bail!(
                "\"{label}\" could be a label or the file or folder of that name here; write --label \"{label}\" or ./{label}/ for a folder"
            );
        }
        labels.push(label.to_owned());
    }
    Ok((paths(inputs), labels))
}

/// An image's ending, a folder's slash, or a star.
fn looks_like_input(word: &OsString) -> bool {
    let text = word.to_string_lossy();
    has_image_ending(Path::new(word)) || text.ends_with(std::path::is_separator) || text.contains('*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_words(words: &[&str], explicit: &[&str]) -> Result<(Vec<PathBuf>, Vec<String>)> {
        let explicit: Vec<String> = explicit.iter().map(|s| s.to_string()).collect();
        split(&words.iter().map(OsString::from).collect::<Vec<_>>(), &explicit)
    }

    #[test]
    fn images_come_first() {
        let expect = |words: &[&str], explicit: &[&str], inputs: &[&str], labels: &[&str]| {
            let (got_inputs, got_labels) = split_words(words, explicit).unwrap();
            assert_eq!(got_inputs, inputs.iter().map(PathBuf::from).collect::<Vec<_>>(), "{words:?}");
            assert_eq!(got_labels, labels, "{words:?}");
        };
        expect(&["a.png", "dog", "park bench"], &[], &["a.png"], &["dog", "park bench"]);
        expect(&["camera", "dog"], &[], &["camera"], &["dog"]);
        expect(&["a.png", "b.JPG", "c/", "d/*", "dog"], &[], &["a.png", "b.JPG", "c/", "d/*"], &["dog"]);
        expect(&["a.png", "black/white cat"], &[], &["a.png"], &["black/white cat"]);
        expect(&["a.png", "src"], &["dog"], &["a.png", "src"], &["dog"]);
        expect(&["a.png"], &[], &["a.png"], &[]);
    }

    #[test]
    fn doubt_is_refused() {
        let said = |words: &[&str], explicit: &[&str]| split_words(words, explicit).unwrap_err().to_string();
        // Tests run in the repository, which has a folder `src`.
        assert!(said(&["a.png", "src"], &[]).contains("could be a label or the file or folder"));
        assert!(said(&["a.png", "dog", "b.png"], &[]).contains("behind the label \"dog\""));
        assert!(said(&["a.png", "dog"], &["cat"]).contains("--label \"dog\""));
    }
}
