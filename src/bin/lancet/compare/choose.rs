//! Which methods are compared, and which cannot be.

use crate::args;
use anyhow::{Result, bail};
use lancet::clip::{ClipConfig, SourceKind};
use lancet::explain::{ANOCLIP, Comparison};
use lancet::{Explainer, Image, ImageInput, Method, Score, Scores};
use serde::Serialize;

/// Why a method that scores states is none for labels.
const STATES: &str = "it scores the states of one thing, not labels; see lancet anomaly";

/// Methods in the order of their rows.
#[derive(Debug)]
pub struct Chosen {
    pub methods: Vec<Method>,
    /// With `all`: those that do not run here.
    pub left_out: Vec<LeftOut>,
    all: bool,
}

/// A method that does not run on this model, at this size, or with labels.
#[derive(Debug, Serialize)]
pub struct LeftOut {
    pub name: String,
    pub reason: String,
}

/// All that have a name.
fn presets() -> impl Iterator<Item = &'static Method> {
    Method::ALL.iter().chain([&ANOCLIP])
}

/// Says what methods there are.
pub fn list(json: bool) -> Result<()> {
    #[derive(Serialize)]
    struct Row<'a> {
        name: &'a str,
        about: &'a str,
    }
    let rows: Vec<Row<'_>> = presets().map(|m| Row { name: &m.name, about: &m.about }).collect();
    if json {
        out!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    let width = rows.iter().map(|r| r.name.len()).max().unwrap_or(0);
    for row in rows {
        out!("{:<width$}  {}", row.name, row.about);
    }
    Ok(())
}

impl Chosen {
    /// From names and TOML files separated by commas, or `all`.
    pub fn parse(text: &str) -> Result<Chosen> {
        let names: Vec<&str> = text.split(',').map(str::trim).collect();
        if names == ["all"] {
            return Ok(Chosen { methods: presets().cloned().collect(), left_out: Vec::new(), all: true });
        }
        let mut methods: Vec<Method> = Vec::new();
        for name in names {
            let method = match name {
                "" => bail!("--methods \"{text}\": a name is empty; expected names separated by commas, or all"),
                "all" => bail!("--methods \"{text}\": all already names every preset; give it alone"),
                _ if name == ANOCLIP.name => ANOCLIP,
                _ => args::method(name)?,
            };
            if methods.iter().any(|m| m.name == method.name) {
                bail!("--methods \"{text}\": {} is there twice; name it once, or give your own another name", method.name);
            }
            methods.push(method);
        }
        Ok(Chosen { methods, left_out: Vec::new(), all: false })
    }

    /// Leaves out what means nothing on this model or with labels; what was asked for by name is an error.
    pub fn fit_model(&mut self, config: &ClipConfig) -> Result<()> {
        self.keep(|method| match method.score {
            Score::States { .. } => Some(STATES.to_owned()),
            _ => method.check_for(config).err().map(|e| match e {
                lancet::Error::Method { what, .. } => what,
                other => other.to_string(),
            }),
        })
    }

    /// Scores the images by all methods. What cannot be planned at this size is left out, or is an error, as above.
    pub fn score(&mut self, explainer: &Explainer, images: &[Image<'_>], model_size: [u32; 2]) -> Result<(Comparison, Vec<Scores>)> {
        let mut comparison = explainer.compare(&self.methods)?;
        let together = match pollster::block_on(comparison.score(images, model_size)) {
            Ok(scores) => return Ok((comparison, scores)),
            Err(e) => e,
        };
        // Whose fault is it? Each alone says.
        let size = images.first().map_or([0, 0], Image::size);
        let input = ImageInput { kind: SourceKind::Rgba8, images: images.len() as u32, size, model_size };
        let before = self.methods.len();
        self.keep(|method| {
            let planned = explainer.compare(std::slice::from_ref(method)).and_then(|alone| alone.plan_scores(&input).map(drop));
            planned.err().map(|e| e.to_string())
        })?;
        // No single one's, or everybody's: the size, the device.
        if self.methods.len() == before || self.methods.is_empty() {
            return Err(together.into());
        }
        let mut comparison = explainer.compare(&self.methods)?;
        let scores = pollster::block_on(comparison.score(images, model_size))?;
        Ok((comparison, scores))
    }

    /// Keeps methods that nothing is wrong with.
    fn keep(&mut self, wrong: impl Fn(&Method) -> Option<String>) -> Result<()> {
        let mut kept = Vec::new();
        for method in self.methods.drain(..) {
            match wrong(&method) {
                None => kept.push(method),
                Some(reason) if self.all => self.left_out.push(LeftOut { name: method.name.to_string(), reason }),
                Some(reason) => bail!("method {}: {reason}", method.name),
            }
        }
        self.methods = kept;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_methods() {
        let names = |text: &str| Chosen::parse(text).unwrap().methods.iter().map(|m| m.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names("clip, surgery"), ["clip", "surgery"]);
        assert_eq!(names("all").len(), Method::ALL.len() + 1);
        for (text, word) in
            [("", "empty"), ("clip,", "empty"), ("clip,clip", "twice"), ("all,clip", "alone"), ("grad-cam", "expected one of")]
        {
            let said = Chosen::parse(text).unwrap_err().to_string();
            assert!(said.contains(word), "{said}");
        }
    }

    #[test]
    fn what_was_asked_for_is_not_left_out_in_silence() {
        let refuse = |method: &Method| (method.name == "clip").then(|| "no".to_owned());
        let mut all = Chosen::parse("all").unwrap();
        all.keep(refuse).unwrap();
        assert_eq!((all.methods.len(), all.left_out.len(), all.left_out[0].name.as_str()), (Method::ALL.len(), 1, "clip"));
        assert!(Chosen::parse("surgery,clip").unwrap().keep(refuse).unwrap_err().to_string().contains("method clip: no"));
    }
}
