//! States of a thing, normal and abnormal, as prompts, and the text form that they are kept in.
//!
//! ```text
//! # a comment
//! [normal]
//! flawless {}
//! [abnormal]
//! {} with a crack
//! [nouns]
//! industrial photo
//! [templates]
//! a cropped {noun} of the {}.
//! ```
//!
//! Each phrase, filled with the object, goes into each template with each noun. Without `[templates]` the phrases are the
//! prompts; without `{noun}` in the templates, `[nouns]` has no place. "a {noun}" becomes "an" before a vowel.
//! Source of the built-in ones: AnoVL (arXiv 2308.15939): 2 states x 7 phrases x 22 templates x 3 nouns, 924 prompts.

use crate::clip::labels::{LabelCache, Labels};
use crate::clip::model::Clip;
use crate::clip::templates::{Average, Templates};
use crate::error::{Error, Result};

const PHRASES: &str = include_str!("states/phrases.txt");
const PATTERNS: &str = include_str!("states/patterns.txt");
const OBJECTS: &str = include_str!("states/objects.txt");
const TEXTURES: &str = include_str!("states/textures.txt");
/// More prompts of a state than this are a mistake, and would not fit one plan: 66 x 7 are 462.
const MOST_PROMPTS: usize = 1000;

/// Prompts of a normal and an abnormal state; `{}` in them is the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct States {
    normal: Templates,
    abnormal: Templates,
}

impl States {
    /// AnoVL's for objects: a bottle, a cable.
    ///
    /// # Errors
    /// None that a user could cause: the lists are part of the crate.
    pub fn objects() -> Result<States> {
        States::parse(&[PHRASES, OBJECTS, PATTERNS].join("\n"))
    }

    /// AnoVL's for textures: a carpet, a tile.
    ///
    /// # Errors
    /// As [`States::objects`].
    pub fn textures() -> Result<States> {
        States::parse(&[PHRASES, TEXTURES, PATTERNS].join("\n"))
    }

    /// The phrases alone, 7 a state: for models of short texts.
    ///
    /// # Errors
    /// As [`States::objects`].
    pub fn phrases() -> Result<States> {
        States::parse(PHRASES)
    }

    /// From the form at the top of this page.
    ///
    /// # Errors
    /// A state without a phrase, a section that is none, a phrase or template without `{}`, nouns without a place or the
    /// other way round, too many prompts.
    pub fn parse(text: &str) -> Result<States> {
        let mut sections: [(&str, Vec<&str>); 4] = ["normal", "abnormal", "nouns", "templates"].map(|name| (name, Vec::new()));
        let mut current = None;
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                current =
                    Some(sections.iter().position(|s| s.0 == name.trim()).ok_or_else(|| {
                        wrong(format!("section [{name}] is unknown; expected [normal], [abnormal], [nouns] or [templates]"))
                    })?);
            } else {
                let at = current.ok_or_else(|| wrong(format!("\"{line}\" comes before any section; begin with [normal] or [abnormal]")))?;
                sections[at].1.push(line);
            }
        }
        let [(_, normal), (_, abnormal), (_, nouns), (_, templates)] = sections;
        for (name, list, hole) in [("normal", &normal, "{}"), ("abnormal", &abnormal, "{}"), ("templates", &templates, "{}")] {
            if let Some(bad) = list.iter().find(|line| !line.contains(hole)) {
                return Err(wrong(format!("[{name}] \"{bad}\" has no {hole} for the object")));
            }
        }
        for (name, list) in [("normal", &normal), ("abnormal", &abnormal)] {
            if list.is_empty() {
                return Err(wrong(format!("[{name}] has no phrase; write one a line, as \"damaged {{}}\"")));
            }
        }
        let holes = templates.iter().filter(|t| t.contains("{noun}")).count();
        if nouns.is_empty() && holes > 0 {
            return Err(wrong("templates have {noun}, and there is no [nouns] section".into()));
        }
        if !nouns.is_empty() && holes == 0 {
            return Err(wrong("there are [nouns], and no template has {noun} for them".into()));
        }
        let sentences: Vec<String> = match (templates.as_slice(), nouns.as_slice()) {
            ([], _) => vec!["{}".into()],
            (templates, []) => templates.iter().map(|t| (*t).to_owned()).collect(),
            (templates, nouns) => templates
                .iter()
                .flat_map(|t| if t.contains("{noun}") { nouns.iter().map(|noun| named(t, noun)).collect() } else { vec![(*t).to_owned()] })
                .collect(),
        };
        let state = |phrases: &[&str]| {
            let count = phrases.len().saturating_mul(sentences.len());
            if count > MOST_PROMPTS {
                return Err(wrong(format!("{count} prompts for one state; at most {MOST_PROMPTS} are possible")));
            }
            let prompts = sentences.iter().flat_map(|s| phrases.iter().map(move |p| s.replace("{}", p)));
            Templates::new(prompts.collect(), Average::Raw)
        };
        Ok(States { normal: state(&normal)?, abnormal: state(&abnormal)? })
    }

    /// Prompts of the normal state.
    pub fn normal(&self) -> &Templates {
        &self.normal
    }

    /// Prompts of the abnormal state.
    pub fn abnormal(&self) -> &Templates {
        &self.abnormal
    }
}

impl Clip {
    /// Embeddings of an object's normal state and its abnormal one, in this order: of each, the mean of its prompts' features
    /// as they are, made a unit vector. `progress` is called with (states done, states in all).
    ///
    /// # Errors
    /// No object; as [`Clip::encode_text`].
    pub async fn states(
        &self,
        states: &States,
        object: &str,
        cache: Option<&LabelCache>,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Labels> {
        let object = object.trim();
        if object.is_empty() {
            return Err(Error::Input { what: "no object: name what the images show, e.g. bottle".into() });
        }
        let mut rows = Vec::new();
        for (done, templates) in [&states.normal, &states.abnormal].into_iter().enumerate() {
            rows.extend(self.label_rows(&[object], templates, cache, &mut |_, _| {}).await?.concat());
            progress(done + 1, 2);
        }
        // Labels carry the empty text; states have no use for it.
        let empty = self.label_rows(&[""], &Templates::bare(), cache, &mut |_, _| {}).await?.concat();
        Labels::new(vec![format!("normal {object}"), format!("abnormal {object}")], rows, empty, self.config().embed as usize)
    }
}

fn wrong(what: String) -> Error {
    Error::Input { what: format!("states: {what}") }
}

/// A template with its noun, and the article that fits it.
fn named(template: &str, noun: &str) -> String {
    let vowel = noun.chars().next().is_some_and(|c| "aeiouAEIOU".contains(c));
    let article = |a: &str| if vowel { format!("{a}n {noun}") } else { format!("{a} {noun}") };
    let text = match template.strip_prefix("a {noun}") {
        Some(rest) => format!("{}{rest}", article("a")),
        None => template.to_owned(),
    };
    text.replace(" a {noun}", &format!(" {}", article("a"))).replace("{noun}", noun)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_924() {
        for (states, noun, first) in [
            (States::objects().unwrap(), "manufacturing image", "an industrial photo of the {}."),
            (States::textures().unwrap(), "surface photo", "a textural photo of a small {}."),
        ] {
            for (state, word) in [(states.normal(), "flawless"), (states.abnormal(), "damaged")] {
                assert_eq!((state.list().len(), state.average()), (66 * 7, Average::Raw));
                let mut unique = state.list().to_vec();
                unique.sort();
                unique.dedup();
                assert_eq!(unique.len(), 462);
                let with = first.replace("{}", &format!("{word} {{}}"));
                assert!(state.list().contains(&with), "{with}");
                assert!(state.list().iter().any(|s| s.contains(noun)) && !state.list().iter().any(|s| s.contains("{noun}")));
                assert!(state.list().iter().all(|s| !s.contains("a industrial")));
            }
            assert!(states.normal().list().contains(&"a close-up industrial photo of the {} without flaw.".to_owned()));
        }
        let short = States::phrases().unwrap();
        assert_eq!(short.abnormal().fill("cup")[0], "damaged cup");
    }

    #[test]
    fn files_of_ones_own() {
        let own = States::parse("[normal]\n{}\n[abnormal]\nbroken {}\ncracked {}\n[templates]\na photo of the {}.\n").unwrap();
        assert_eq!(own.normal().list(), ["a photo of the {}."]);
        assert_eq!(own.abnormal().list(), ["a photo of the broken {}.", "a photo of the cracked {}."]);
        let many = format!("[normal]\n{{}}\n[abnormal]\n{}", "bad {}\n".repeat(5000));
        for (text, word) in [
            ("", "[normal]"),
            ("broken {}", "before any section"),
            ("[normal]\n{}", "[abnormal]"),
            ("[normal]\n{}\n[abnormal]\nbroken", "\"broken\""),
            ("[bad]\n{}", "[bad]"),
            ("[normal]\n{}\n[abnormal]\nbad {}\n[templates]\na {noun} of {}", "[nouns]"),
            ("[normal]\n{}\n[abnormal]\nbad {}\n[templates]\na {}\n[nouns]\nphoto", "{noun}"),
            (many.as_str(), "5000"),
        ] {
            let said = States::parse(text).unwrap_err().to_string();
            assert!(said.contains(word), "{text:.40}: {said}");
        }
    }
}
