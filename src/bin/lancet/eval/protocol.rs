//! How segmentation looks at images and chooses.

use super::RunArgs;
use super::datasets::Kind;
use super::rows::{ALL, Row};
use anyhow::{Context, Result, bail};
use lancet::Clip;
use lancet::explain::segment::{Protocol, SegmentOptions, View};

/// How to segment.
#[derive(Clone, Copy, Debug)]
pub enum Choice {
    /// The whole image at the model's size.
    Surgery,
    /// Every method as it was published, where it was.
    Own,
    /// A published harness for all.
    Harness(&'static str, Protocol),
}

impl Choice {
    pub fn of(args: &RunArgs, kind: Kind) -> Result<Choice> {
        let every = args.methods.iter().any(|method| method == ALL);
        match args.protocol.as_deref() {
            None if every => Ok(Choice::Own),
            None | Some("surgery") => Ok(Choice::Surgery),
            Some("own") => Ok(Choice::Own),
            Some(name) => {
                let Some(&(name, protocol)) = Protocol::ALL.iter().find(|p| p.0 == name) else {
                    let known: Vec<&str> = Protocol::ALL.iter().map(|p| p.0).collect();
                    bail!("protocol \"{name}\": unknown; expected surgery, own or one of {}", known.join(", "));
                };
                kind.class_list().with_context(|| format!("protocol {name} has no settings for {}; leave --protocol out", kind.name()))?;
                Ok(Choice::Harness(name, protocol))
            }
        }
    }

    /// For the settings.
    pub fn name(self) -> &'static str {
        match self {
            Choice::Surgery => "surgery",
            Choice::Own => "own",
            Choice::Harness(name, _) => name,
        }
    }

    /// How a row segments.
    pub fn options(self, args: &RunArgs, kind: Kind, clip: &Clip, row: &Row) -> Result<SegmentOptions> {
        let surgery = || Ok(SegmentOptions { view: View::Whole(args.size.fixed(clip)?), ..SegmentOptions::new(clip.config()) });
        match (self, row.method.protocol, kind.class_list()) {
            (Choice::Harness(_, protocol), _, Some(set)) => Ok(protocol.options(set)?),
            (Choice::Own, Some(protocol), Some(set)) => protocol.options(set).or_else(|_| {
                if !args.model.quiet {
                    eprintln!("note: {} was not published with {set}: it segments in the way of --protocol surgery", row.name);
                }
                surgery()
            }),
            _ => surgery(),
        }
    }
}
