//! Rows of the table of maps: methods, and which labels their feature surgery sees.

use super::record::Settings;
use crate::args;
use anyhow::{Context, Result, bail};
use lancet::{Clip, Method, Score};
use std::borrow::Cow;

/// Maps that know nothing: for comparison.
pub const BASELINES: [&str; 2] = ["whole image", "all objects"];

/// What stands for every preset.
pub const ALL: &str = "all";

/// The set of labels for feature surgery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LabelSet {
    /// All classes of the data set
    All,
    /// Those on the image: an oracle
    Present,
}

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub name: String,
    pub method: Method,
    /// The number of last blocks that was asked for with `@`.
    pub last: Option<u32>,
    pub set: LabelSet,
    /// Not asked for by its own name, so it may be left out.
    pub may_miss: bool,
}

/// Rows for methods and label sets; a method without feature surgery over labels has one row.
pub fn rows(methods: &[String], sets: &[LabelSet]) -> Result<Vec<Row>> {
    let presets = Method::ALL.iter().map(|m| (m.name.as_ref(), true));
    let given = methods.iter().flat_map(|name| match name.as_str() {
        ALL => presets.clone().collect(),
        name => vec![(name, false)],
    });
    let mut rows: Vec<Row> = Vec::new();
    for (name, may_miss) in given {
        let (method, last) = method(name)?;
        let sets = if matches!(method.score, Score::LabelSet { .. }) { sets } else { &[LabelSet::All] };
        for &set in sets {
            let name = if set == LabelSet::Present { format!("{}, present labels", method.name) } else { method.name.to_string() };
            if rows.iter().any(|r| r.name == name) {
                bail!("method {name} is given twice");
            }
            rows.push(Row { name, method: method.clone(), last, set, may_miss });
        }
    }
    Ok(rows)
}

/// The rows that a model can do; the others are refused, or with [`ALL`] left out and named in `left_out`.
pub fn possible(rows: Vec<Row>, clip: &Clip, left_out: &mut Vec<String>) -> Result<Vec<Row>> {
    let layers = clip.config().vision.layers();
    let mut kept = Vec::with_capacity(rows.len());
    for row in rows {
        if row.last.is_some_and(|last| last > layers) {
            bail!("method {}: the model has {layers} blocks", row.name);
        }
        match row.method.check_for(clip.config()) {
            Ok(()) => kept.push(row),
            Err(e) if row.may_miss => {
                let what = e.to_string();
                if !left_out.contains(&what) {
                    left_out.push(what);
                }
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(kept)
}

/// A preset or a file, or `NAME@K`: the same on the last K blocks.
fn method(name: &str) -> Result<(Method, Option<u32>)> {
    let Some((preset, blocks)) = name.rsplit_once('@').filter(|_| !args::is_method_file(name)) else {
        return Ok((args::method(name)?, None));
    };
    let mut method = args::method(preset)?;
    let blocks: Option<u32> = blocks.parse().ok().filter(|b| (1..=1000).contains(b));
    method.vision.blocks = blocks.with_context(|| format!("method {name}: expected a number of blocks behind @, e.g. surgery@4"))?;
    method.name = Cow::Owned(format!("{}@{}", method.name, method.vision.blocks));
    method.check()?;
    Ok((method, blocks))
}

/// Names of all rows, for the settings.
pub fn names(rows: &[Row]) -> Vec<String> {
    BASELINES.iter().map(|&b| b.to_owned()).chain(rows.iter().map(|r| r.name.clone())).collect()
}

/// True if row `at` knows labels apart.
pub fn knows_labels(settings: &Settings, at: usize) -> bool {
    !BASELINES.contains(&settings.rows[at].as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_and_label_sets() {
        let given = ["clip", "surgery@4"].map(String::from);
        let rows = rows(&given, &[LabelSet::All, LabelSet::Present]).unwrap();
        assert_eq!(rows.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["clip", "surgery@4", "surgery@4, present labels"]);
        assert_eq!(rows[1].method.vision.blocks, 4);
        for bad in ["surgery@", "surgery@0", "surgery@x", "nothing@3"] {
            assert!(method(bad).is_err(), "{bad}");
        }
        assert!(super::rows(&["clip".into(), "clip".into()], &[LabelSet::All]).unwrap_err().to_string().contains("twice"));
    }

    #[test]
    fn all_is_every_preset_and_may_have_more_beside_it() {
        let given = ["all", "surgery@4"].map(String::from);
        let rows = rows(&given, &[LabelSet::All]).unwrap();
        assert_eq!(rows.len(), Method::ALL.len() + 1);
        assert!(rows.iter().all(|row| row.may_miss == row.last.is_none()));
        assert!(super::rows(&["all".into(), "gem".into()], &[LabelSet::All]).unwrap_err().to_string().contains("gem is given twice"));
    }
}
