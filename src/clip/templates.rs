//! Prompt templates: sentences with a hole for the label.

use crate::error::{Error, Result};

/// How the features of a label's prompts become one embedding, a unit vector in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Average {
    /// Each prompt is made a unit vector before: all count the same. CLIP's prompt ensemble.
    #[default]
    Unit,
    /// As they are: long ones count more. AnoVL's states.
    Raw,
}

/// Sentences with `{}` where the label goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Templates {
    list: Vec<String>,
    average: Average,
}

impl Templates {
    /// The 85 of CLIP Surgery: OpenAI's 80 ImageNet templates, then five "in the scene".
    pub fn ensemble() -> Templates {
        Templates { list: include_str!("templates.txt").lines().map(str::to_owned).collect(), average: Average::Unit }
    }

    /// The label as it is.
    pub fn bare() -> Templates {
        Templates { list: vec!["{}".into()], average: Average::Unit }
    }

    /// One template a line; empty lines and lines with `#` in front are skipped.
    ///
    /// # Errors
    /// No template, or one without `{}`.
    pub fn parse(text: &str) -> Result<Templates> {
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        Templates::new(lines.map(str::to_owned).collect(), Average::Unit)
    }

    /// From a list.
    ///
    /// # Errors
    /// As [`Templates::parse`].
    pub fn new(list: Vec<String>, average: Average) -> Result<Templates> {
        if list.is_empty() {
            return Err(Error::Input { what: "templates: no line holds a template; write one a line, as \"a photo of a {}.\"".into() });
        }
        if let Some(bad) = list.iter().find(|t| !t.contains("{}")) {
            return Err(Error::Input { what: format!("templates: \"{bad}\" has no {{}} for the label") });
        }
        Ok(Templates { list, average })
    }

    /// The sentences.
    pub fn list(&self) -> &[String] {
        &self.list
    }

    /// How the prompts are averaged.
    pub fn average(&self) -> Average {
        self.average
    }

    /// Every template filled with a label.
    pub fn fill(&self, label: &str) -> Vec<String> {
        self.list.iter().map(|t| t.replace("{}", label)).collect()
    }
}

impl Default for Templates {
    fn default() -> Self {
        Templates::ensemble()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_85() {
        let all = Templates::ensemble();
        assert_eq!(all.list().len(), 85);
        assert_eq!(all.fill("cat")[0], "a bad photo of a cat.");
        assert_eq!(all.fill("")[84], "this is one  in the scene.");
    }

    #[test]
    fn bad_files_are_refused() {
        assert!(Templates::parse("# only a comment\n").is_err());
        assert!(Templates::parse("a photo of a {}.\na photo\n").unwrap_err().to_string().contains("\"a photo\""));
    }
}
