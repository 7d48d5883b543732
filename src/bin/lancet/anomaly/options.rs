//! Which states, and which range of colours.

use anyhow::{Context, Result, bail};
use lancet::Clip;
use lancet::clip::States;

/// What counts as normal and as abnormal.
#[derive(Debug, clap::Args)]
pub struct StateArgs {
    /// Prompts: objects or textures (AnoVL's, 924 of them), phrases (the 14 phrases alone, for models of short texts), or a file with
    /// sections [normal], [abnormal] and, if wanted, [templates] and [nouns]; {} is the object, {noun} the kind of picture
    /// [default: objects; phrases where those are too long for the model, which is said]
    #[arg(long, value_name = "objects|textures|phrases|FILE")]
    states: Option<String>,
    /// The images show a texture, such as carpet: the same as --states textures
    #[arg(long, conflicts_with = "states")]
    texture: bool,
    /// Do not keep embeddings of states on disk
    #[arg(long)]
    pub no_cache: bool,
}

/// The states that were asked for.
pub struct Chosen {
    states: States,
    name: String,
    /// By name or file; else they may give way to shorter ones.
    explicit: bool,
}

impl StateArgs {
    /// Reads them; says what is wrong before a model is loaded.
    pub fn chosen(&self) -> Result<Chosen> {
        let name = match (&self.states, self.texture) {
            (Some(name), _) => name.clone(),
            (None, true) => "textures".into(),
            (None, false) => "objects".into(),
        };
        let states = match name.as_str() {
            "objects" => States::objects()?,
            "textures" => States::textures()?,
            "phrases" => States::phrases()?,
            path => {
                let text =
                    std::fs::read_to_string(path).with_context(|| format!("{path}: states are objects, textures, phrases or a file"))?;
                States::parse(&text).with_context(|| path.to_owned())?
            }
        };
        Ok(Chosen { states, name, explicit: self.states.is_some() || self.texture })
    }
}

impl Chosen {
    /// The states for a model, and what they are called; where the default ones are too long for it, the phrases alone.
    pub fn for_model(self, clip: &Clip, object: &str) -> Result<(States, String)> {
        let prompts = |states: &States| [states.normal().fill(object), states.abnormal().fill(object)].concat();
        let Err(error) = clip.tokenize(&prompts(&self.states)) else { return Ok((self.states, self.name)) };
        let short = States::phrases()?;
        if clip.tokenize(&prompts(&short)).is_err() {
            return Err(error.into());
        }
        if self.explicit {
            return Err(error).context("the prompts are too long for this model: --states phrases takes the 14 phrases alone");
        }
        let context = clip.config().context;
        eprintln!("note: AnoVL's prompts are too long for this model, whose texts have {context} tokens; the 14 phrases alone are used");
        Ok((short, "phrases".into()))
    }
}

/// The object, without blanks around it.
pub fn object(text: &str) -> Result<&str> {
    match text.trim() {
        "" => bail!("--object: name what the images show, e.g. --object bottle"),
        object => Ok(object),
    }
}

/// Probabilities at both ends of the colours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    pub low: f32,
    pub high: f32,
}

impl Range {
    /// From the smallest to the largest value.
    pub fn of(map: &[f32]) -> Range {
        let (low, high) = map.iter().fold((f32::MAX, f32::MIN), |(low, high), &v| (low.min(v), high.max(v)));
        Range { low, high }
    }

    /// Where a value lies, 0..1; a range without extent is all 0.
    pub fn place(self, value: f32) -> f32 {
        if self.high > self.low { ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0) } else { 0.0 }
    }
}

impl std::str::FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Range, String> {
        let parsed =
            text.split_once(',').and_then(|(low, high)| Some(Range { low: low.trim().parse().ok()?, high: high.trim().parse().ok()? }));
        match parsed {
            Some(range) if 0.0 <= range.low && range.low < range.high && range.high <= 1.0 => Ok(range),
            _ => Err(format!("\"{text}\" is not a range; expected LOW,HIGH with 0 <= LOW < HIGH <= 1, e.g. 0.45,0.55")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!("0.4, 0.6".parse(), Ok(Range { low: 0.4, high: 0.6 }));
        for bad in ["", "0.4", "0.6,0.4", "0.5,0.5", "-1,1", "0,2", "nan,1", "0,nan", "a,b"] {
            assert!(bad.parse::<Range>().is_err(), "{bad}");
        }
        let range = Range::of(&[0.5, 0.25, 0.75]);
        assert_eq!([0.0, 0.25, 0.5, 0.75, 1.0].map(|v| range.place(v)), [0.0, 0.0, 0.5, 1.0, 1.0]);
        assert_eq!(Range::of(&[0.5; 3]).place(0.5), 0.0);
    }
}
