//! Classes of one or more names, and the text form that they are kept in.
//!
//! ```text
//! # a comment
//! background = sky, wall, tree
//! person = person in shirt, person in jeans
//! dog, puppy
//! ```
//!
//! A line is a class: its names, separated by commas, with a title in front of `=` if it is not the first name. Order
//! is the order of the indices. The class titled `background` must be the first.

use crate::error::{Error, Result};
use crate::explain::segment::palette::voc_colour;
use std::ops::Range;

/// The title that makes a class the background.
pub const BACKGROUND: &str = "background";

/// One class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// What it is called.
    pub title: String,
    /// What the model is asked for. Only a background may have none: it then gets what nothing else is likely enough for.
    pub names: Vec<String>,
}

impl Class {
    /// From `title = name, name` or `name, name`, in which case the first name is the title.
    ///
    /// # Errors
    /// No name, or an empty one.
    pub fn parse(text: &str) -> Result<Class> {
        let (title, list) = match text.split_once('=') {
            Some((title, list)) => (Some(title.trim()), list),
            None => (None, text),
        };
        let names: Vec<String> = list.split(',').map(|n| n.trim().to_owned()).collect();
        if names.iter().any(String::is_empty) || title == Some("") {
            return Err(Error::Input { what: format!("class \"{}\": expected names separated by commas, e.g. dog, puppy", text.trim()) });
        }
        Ok(Class { title: title.unwrap_or(&names[0]).to_owned(), names })
    }
}

/// The classes of a segmentation, in the order of their indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classes {
    list: Vec<Class>,
    background: bool,
}

impl Classes {
    /// From a list, the first of which may be the background.
    ///
    /// # Errors
    /// No class, two of one title, a class without a name that is no background, fewer than two names in all, too many.
    pub fn new(list: Vec<Class>) -> Result<Classes> {
        let wrong = |what: String| Err(Error::Input { what });
        let background = list.first().is_some_and(|c| c.title == BACKGROUND);
        for (i, class) in list.iter().enumerate() {
            if list[..i].iter().any(|before| before.title == class.title) {
                return wrong(format!("class \"{}\" is given twice; put its names into one class", class.title));
            }
            if class.title == BACKGROUND && i > 0 {
                return wrong("the background must be the first class".into());
            }
            if class.names.is_empty() && class.title != BACKGROUND {
                return wrong(format!("class \"{}\" has no name", class.title));
            }
        }
        if list.iter().map(|c| c.names.len()).sum::<usize>() < 2 {
            return wrong("segmentation chooses between names and needs at least two: add a class, or names of the background".into());
        }
        if list.len() > usize::from(u16::MAX) {
            return wrong(format!("{} classes; at most {} are possible", list.len(), u16::MAX));
        }
        Ok(Classes { list, background })
    }

    /// From lines in the form at the top of this page.
    ///
    /// # Errors
    /// As [`Classes::new`]; a line that is no class.
    pub fn parse(text: &str) -> Result<Classes> {
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        Classes::new(lines.map(Class::parse).collect::<Result<_>>()?)
    }

    /// The same classes with an empty background in front, if they have none: it gets what nothing is likely enough for.
    #[must_use]
    pub fn with_background(mut self) -> Classes {
        if !self.background {
            self.list.insert(0, Class { title: BACKGROUND.into(), names: Vec::new() });
            self.background = true;
        }
        self
    }

    /// The classes by index.
    pub fn list(&self) -> &[Class] {
        &self.list
    }

    /// True if class 0 is the background.
    pub fn has_background(&self) -> bool {
        self.background
    }

    /// Each class's colour, from PASCAL VOC's palette. Black is kept for a background.
    pub fn colours(&self) -> Vec<[u8; 3]> {
        let first = usize::from(!self.background);
        (first..first + self.list.len()).map(voc_colour).collect()
    }

    /// All names, class by class: what to embed as labels.
    pub fn names(&self) -> Vec<String> {
        self.list.iter().flat_map(|c| c.names.iter().cloned()).collect()
    }

    /// The class of each of [`Classes::names`].
    pub fn class_of_name(&self) -> Vec<u32> {
        self.list.iter().enumerate().flat_map(|(i, c)| c.names.iter().map(move |_| i as u32)).collect()
    }

    /// Where each class's names lie in [`Classes::names`].
    pub fn name_ranges(&self) -> Vec<Range<usize>> {
        self.list
            .iter()
            .scan(0, |at, c| {
                let first = *at;
                *at += c.names.len();
                Some(first..*at)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_classes() {
        let classes = Classes::parse("# two\n\nbackground = sky, wall\n dog, puppy\ntv = television monitor , screen\n").unwrap();
        assert!(classes.has_background());
        assert_eq!(classes.list().iter().map(|c| c.title.as_str()).collect::<Vec<_>>(), ["background", "dog", "tv"]);
        assert_eq!(classes.names(), ["sky", "wall", "dog", "puppy", "television monitor", "screen"]);
        assert_eq!(classes.class_of_name(), [0, 0, 1, 1, 2, 2]);
        assert_eq!(classes.name_ranges(), [0..2, 2..4, 4..6]);
    }

    #[test]
    fn nonsense_is_refused() {
        for (text, words) in [
            ("", "at least two"),
            ("dog", "at least two"),
            ("dog\ncat, dog\ndog", "\"dog\" is given twice"),
            ("dog,, cat\nx", "dog,, cat"),
            ("= dog\ncat", "separated by commas"),
            ("dog\nbackground", "first class"),
        ] {
            let said = Classes::parse(text).unwrap_err().to_string();
            assert!(said.contains(words), "{text:?}: {said}");
        }
    }

    #[test]
    fn an_empty_background_comes_first() {
        let classes = Classes::parse("dog\ncat").unwrap().with_background();
        assert_eq!(classes.list()[0], Class { title: "background".into(), names: vec![] });
        assert_eq!(classes.class_of_name(), [1, 2]);
        assert_eq!(classes.clone().with_background(), classes);
    }
}
