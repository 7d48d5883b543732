//! Methods as TOML files: a user's own, without a line of Rust. docs/my-method.toml explains every key.
//!
//! A file starts from plain CLIP, or from the preset that `base` names; the keys it gives replace that one's.

mod notation;
mod terms;

use crate::clip::{Aggregate, LogitMix, PositionRule, Repair, VisionPath};
use crate::error::{Error, Result};
use crate::explain::anomaly::ANOCLIP;
use crate::explain::method::{Maps, Method, Score};
use crate::explain::views::Views;
use notation::{ActivationName, Blocks, Knob, ProtocolName};
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::Write;
use std::path::Path;
use terms::{PoolEntry, PostMixEntry, TermEntry};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What a file says. A knob that is not there stays as it is.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Given {
    base: Option<String>,
    name: Option<String>,
    about: Option<String>,
    blocks: Option<Blocks>,
    dual: Option<bool>,
    terms: Option<Vec<TermEntry>>,
    gaussian: Option<Knob<f32>>,
    logit_mix: Option<Knob<LogitMix>>,
    post_mix: Option<Knob<PostMixEntry>>,
    patches_only: Option<bool>,
    residual: Option<bool>,
    mlp: Option<bool>,
    ordinary_class_row: Option<bool>,
    class_share: Option<f32>,
    repair: Option<Knob<Repair>>,
    aggregate: Option<Vec<Aggregate>>,
    fuse: Option<Knob<[u32; 2]>>,
    numbered_for: Option<Knob<u32>>,
    activation: Option<Knob<ActivationName>>,
    eps: Option<Knob<f32>>,
    pool: Option<Knob<PoolEntry>>,
    score: Option<Score>,
    maps: Option<Maps>,
    positions: Option<PositionRule>,
    views: Option<Knob<Views>>,
    protocol: Option<Knob<ProtocolName>>,
}

impl Method {
    /// The method that a TOML file describes; without a name in it, it is called as the file is.
    ///
    /// # Errors
    /// The file cannot be read, or as [`Method::from_toml`].
    pub fn open(path: &Path) -> Result<Method> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        let stem = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
        Method::from_toml(&text, &path.display().to_string(), &stem)
    }

    /// The method that TOML text describes. `place` is what messages call the text, `name` the method's name if it gives none.
    ///
    /// # Errors
    /// [`Error::Method`] with the place and the line: no TOML, a key or value that is not known, a combination that means nothing.
    pub fn from_toml(text: &str, place: &str, name: &str) -> Result<Method> {
        let refuse = |at: Option<usize>, what: String| {
            let line = at.map(|at| 1 + text.as_bytes().iter().take(at).filter(|&&b| b == b'\n').count());
            Error::Method { name: line.map_or_else(|| place.to_owned(), |line| format!("{place}:{line}")), what }
        };
        let given: Given = toml::from_str(text).map_err(|e| refuse(e.span().map(|s| s.start), e.message().replace('\n', ", ")))?;
        let keys = DeTable::parse(text).map(|table| keys(&table.into_inner())).unwrap_or_default();
        let at = |key: &str| keys.iter().find(|k| k.0 == key).map(|k| k.1);
        let base = match given.base.as_deref() {
            None => Method { about: Cow::Borrowed("a method of one's own"), ..Method::CLIP },
            Some(base) => preset(base).map_err(|e| refuse(at("base"), format!("base {}", said(e))))?,
        };
        let method = given.over(base, name);
        if !method.name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) || method.name.is_empty() {
            let what = format!("the name \"{}\" may have letters, digits, '-', '_' and '.' only; give another as name", method.name);
            return Err(refuse(at("name"), what));
        }
        method.check().map_err(|e| {
            let what = said(e);
            refuse(blamed(&keys, &what).or_else(|| at("base")), what)
        })?;
        Ok(method)
    }

    /// As text for [`Method::from_toml`], every knob in it: to start from.
    pub fn to_toml(&self) -> String {
        let Method { name, about, vision, score, maps, positions, views, protocol } = self;
        let VisionPath {
            blocks,
            dual,
            terms,
            gaussian,
            logit_mix,
            post_mix,
            patches_only,
            residual,
            mlp,
            ordinary_class_row,
            class_share,
            repair,
            aggregate,
            fuse,
            numbered_for,
            activation,
            eps,
            pool,
        } = vision.clone();
        let mut out =
            Lines(String::from("# Every knob of a method; one that is left out is plain CLIP's. docs/my-method.toml explains them.\n"));
        out.key("name", name);
        out.key("about", about);
        out.title("The last blocks of the vision tower");
        out.key("blocks", &Blocks(blocks));
        out.key("dual", &dual);
        out.key("terms", &terms.iter().map(|&t| TermEntry(t)).collect::<Vec<_>>());
        out.key("gaussian", &Knob::<f32>::of(gaussian));
        out.key("logit_mix", &Knob::<LogitMix>::of(logit_mix));
        out.key("post_mix", &Knob::<PostMixEntry>::of(post_mix));
        out.key("patches_only", &patches_only);
        out.key("residual", &residual);
        out.key("mlp", &mlp);
        out.key("ordinary_class_row", &ordinary_class_row);
        out.key("class_share", &class_share);
        out.key("repair", &Knob::<Repair>::of(repair));
        out.key("aggregate", &aggregate);
        out.key("fuse", &Knob::<[u32; 2]>::of(fuse));
        out.key("numbered_for", &Knob::<u32>::of(numbered_for));
        out.key("activation", &Knob::<ActivationName>::of(activation.map(ActivationName)));
        out.key("eps", &Knob::<f32>::of(eps));
        out.key("pool", &Knob::<PoolEntry>::of(pool));
        out.title("From features to maps");
        out.key("score", score);
        out.key("maps", maps);
        out.key("positions", positions);
        out.key("views", &Knob::<Views>::of(*views));
        out.key("protocol", &Knob::<ProtocolName>::of(protocol.map(ProtocolName)));
        out.0
    }
}

impl Given {
    fn over(self, base: Method, name: &str) -> Method {
        let vision = base.vision;
        let terms = self.terms.map(|terms| terms.into_iter().map(|TermEntry(term)| term).collect());
        Method {
            name: Cow::Owned(self.name.unwrap_or_else(|| name.to_owned())),
            about: self.about.map_or(base.about, Cow::Owned),
            vision: VisionPath {
                blocks: self.blocks.map_or(vision.blocks, |Blocks(blocks)| blocks),
                dual: self.dual.unwrap_or(vision.dual),
                terms: terms.unwrap_or(vision.terms),
                gaussian: self.gaussian.map_or(vision.gaussian, Knob::value),
                logit_mix: self.logit_mix.map_or(vision.logit_mix, Knob::value),
                post_mix: self.post_mix.map_or(vision.post_mix, Knob::value),
                patches_only: self.patches_only.unwrap_or(vision.patches_only),
                residual: self.residual.unwrap_or(vision.residual),
                mlp: self.mlp.unwrap_or(vision.mlp),
                ordinary_class_row: self.ordinary_class_row.unwrap_or(vision.ordinary_class_row),
                class_share: self.class_share.unwrap_or(vision.class_share),
                repair: self.repair.map_or(vision.repair, Knob::value),
                aggregate: self.aggregate.map_or(vision.aggregate, Cow::Owned),
                fuse: self.fuse.map_or(vision.fuse, Knob::value),
                numbered_for: self.numbered_for.map_or(vision.numbered_for, Knob::value),
                activation: self.activation.map_or(vision.activation, |knob| knob.value::<ActivationName>().map(|a| a.0)),
                eps: self.eps.map_or(vision.eps, Knob::value),
                pool: self.pool.map_or(vision.pool, Knob::value),
            },
            score: self.score.unwrap_or(base.score),
            maps: self.maps.unwrap_or(base.maps),
            positions: self.positions.unwrap_or(base.positions),
            views: self.views.map_or(base.views, Knob::value),
            protocol: self.protocol.map_or(base.protocol, |knob| knob.value::<ProtocolName>().map(|p| p.0)),
        }
    }
}

/// What a file may start from.
fn preset(name: &str) -> Result<Method> {
    if name == ANOCLIP.name { Ok(ANOCLIP) } else { Method::named(name) }
}

/// The message without the method's name before it.
fn said(error: Error) -> String {
    match error {
        Error::Method { name, what } if what.starts_with("unknown") => format!("\"{name}\": {what}"),
        Error::Method { what, .. } => what,
        other => other.to_string(),
    }
}

/// Keys of a table and of the tables in it, and where they stand.
fn keys(table: &DeTable<'_>) -> Vec<(String, usize)> {
    fn inside(value: &DeValue<'_>) -> Vec<(String, usize)> {
        match value {
            DeValue::Table(table) => keys(table),
            DeValue::Array(values) => values.iter().flat_map(|v| inside(v.get_ref())).collect(),
            _ => Vec::new(),
        }
    }
    let of = |(key, value): (&Spanned<Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
        std::iter::once((key.get_ref().to_string(), key.span().start)).chain(inside(value.get_ref())).collect::<Vec<_>>()
    };
    table.iter().flat_map(of).collect()
}

/// Where the first key stands that a message speaks of.
fn blamed(keys: &[(String, usize)], what: &str) -> Option<usize> {
    let words = what.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|w| !w.is_empty());
    let mut found = words.filter_map(|word| keys.iter().find(|(key, _)| key == word || key.strip_suffix('s') == Some(word)));
    found.next().map(|&(_, at)| at)
}

/// Lines of a file.
struct Lines(String);

impl Lines {
    fn title(&mut self, title: &str) {
        let _ = write!(self.0, "\n# {title}\n");
    }

    fn key(&mut self, key: &str, value: &(impl Serialize + ?Sized)) {
        let mut text = String::new();
        // Numbers, texts and tables of them: nothing here that TOML lacks.
        let written = value.serialize(toml::ser::ValueSerializer::new(&mut text)).is_ok();
        debug_assert!(written, "{key}");
        let _ = writeln!(self.0, "{key} = {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Method> {
        Method::from_toml(text, "my.toml", "mine")
    }

    #[test]
    fn every_preset_comes_back() {
        for method in Method::ALL.iter().chain([&ANOCLIP]) {
            let text = method.to_toml();
            assert_eq!(&read(&text).unwrap_or_else(|e| panic!("{e}\n{text}")), method, "{text}");
            assert!(!text.contains("= \n"), "{text}");
        }
    }

    #[test]
    fn a_base_gives_what_a_file_leaves_out() {
        let method = read("base = \"naclip\"\ngaussian = 3\nresidual = true").unwrap();
        let vision = VisionPath { gaussian: Some(3.0), residual: true, ..Method::NACLIP.vision };
        assert_eq!(method, Method { name: "mine".into(), vision, ..Method::NACLIP });
        assert_eq!(read("base = \"naclip\"\ngaussian = false").unwrap().vision.gaussian, None);
        assert_eq!(read("").unwrap().vision, VisionPath::ORDINARY);
        assert_eq!(read("base = \"anoclip\"").unwrap().score, ANOCLIP.score);
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let refused = |text: &str, line: &str, word: &str| {
            let said = read(text).unwrap_err().to_string();
            assert!(said.contains(&format!("my.toml{line}:")) && said.contains(word), "{said}");
        };
        refused("\nblocks = 1\ngausian = 5.0", ":3", "gausian");
        refused("blocks = 1\nterms = [\"qx\"]", ":2", "\"qx\" is no pair");
        refused("blocks = 1\nterms = [{ weight = 2.0 }]", ":2", "pair, similarity and neighbourhood");
        refused("blocks = -1", ":1", "number of blocks");
        refused("blocks = 1\ngaussian = true", ":2", "false for none");
        refused("base = \"grad-cam\"", ":1", "grad-cam");
        refused("blocks = 2\ndual = true", ":2", "dual with mlp");
        refused("blocks = 1\nterms = [{ pair = \"kk\",\n scale = 0.0 }]", ":2", "scale must be a positive number");
        refused("blocks = 1\ngaussian = -5.0", ":2", "gaussian must be a positive number");
        refused("blocks = 1\n\npost_mix = { tau = 1.0, lambda = 2.0, blocks = [7], pairs = [\"qk\"] }", ":3", "between 0 and 1");
        refused("score = { states = { temperature = 0.0 } }", ":1", "temperature");
        refused("views = { upright_share = 1.5, blur = { taps = 11, sigma = 5.0 } }", ":1", "1.5");
        refused("protocol = \"mine\"", ":1", "sc-clip");
        refused("score = \"max\"", ":1", "max");
        refused("name = \"a/b\"", ":1", "letters");
        refused("blocks = ", ":1", "");
    }

    #[test]
    fn the_documented_example_is_sound() {
        let text = include_str!("../../docs/my-method.toml");
        let method = read(text).unwrap();
        assert_eq!((method.name.as_ref(), method.vision.blocks, method.vision.terms.len()), ("my-method", 3, 2));
        // The forms that are commented out are known keys, too.
        for key in Method::CLIP.to_toml().lines().filter_map(|line| line.split_once(" = ")) {
            assert!(text.contains(&format!("{} = ", key.0)), "{} is not in docs/my-method.toml", key.0);
        }
    }

    #[test]
    fn a_knob_takes_every_form() {
        let scales = r#"
            blocks = 1
            terms = [{ pair = "qq", scale = { constant = 5.0 } }, { pair = "kk", unit = true, scale = "token_length" }, { pair = "vv", scale = 2 }]
            fuse = [4, 10]
            score = { label_set = { sharpness = 2.0, weight_minuend = true } }
        "#;
        let method = read(scales).unwrap();
        use crate::clip::Scale;
        assert_eq!(
            method.vision.terms.iter().map(|t| t.scale).collect::<Vec<_>>(),
            [Scale::Constant(5.0), Scale::TokenLength, Scale::Head(2.0)]
        );
        assert_eq!((method.vision.fuse, method.score), (Some([4, 10]), Method::SURGERY.score));
    }
}
