//! Which of several kernels runs for which shape: rules as plain data, read from a table that a person can edit.
//!
//! ```text
//! lancet 0.1.0
//! adapter llvmpipe (LLVM 15.0.6, 256 bits)
//! driver llvmpipe Mesa 22.3.6 (LLVM 15.0.6)
//! # acts weights  m  n  k  kernel  slices
//! *    f16  ..64  *  2048..  matmul_workgroup_64  4
//! *    *    *     *  *       matmul               1
//! ```
//!
//! The first rule that fits a product, and whose kernel the device can run, decides. `lancet tune --write` writes such a
//! file for a device; the tables that lancet comes with have the same form, without the first three lines.

use crate::error::{Error, Result};
use crate::gpu::Caps;
use crate::gpu::kernel::{Kernel, kernels};
use crate::shape::DType;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Slices of K that a rule may ask for.
const MOST_SLICES: u32 = 64;

/// Where the choice of kernels comes from.
#[derive(Clone, Debug, Default)]
pub enum Tuned {
    /// From lancet's own tables.
    #[default]
    Shipped,
    /// From these rules; where none fits, from lancet's own.
    Rules(Vec<Rule>),
    /// From the file in this folder that was written for the device at hand, if there is one.
    Folder(PathBuf),
}

/// A line of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Storage of the activations; `None` for any.
    pub act: Option<DType>,
    /// Storage of the weights; `None` for any.
    pub weight: Option<DType>,
    /// Rows of the product.
    pub m: RangeInclusive<u32>,
    /// Columns.
    pub n: RangeInclusive<u32>,
    /// Terms of each sum.
    pub k: RangeInclusive<u32>,
    /// What runs.
    pub kernel: &'static Kernel,
    /// Parts that K is cut into, at most.
    pub slices: u32,
}

/// Any value of a dimension.
pub const ANY: RangeInclusive<u32> = 0..=u32::MAX;

impl Rule {
    /// True for a product `[M, K] x [N, K]` of activations and weights of these types; `shape` is M, N, K.
    pub fn fits(&self, [m, n, k]: [u32; 3], act: DType, weight: DType) -> bool {
        let types = self.act.is_none_or(|a| a == act) && self.weight.is_none_or(|w| w == weight);
        types && self.m.contains(&m) && self.n.contains(&n) && self.k.contains(&k)
    }

    fn parse(line: &str) -> Result<Rule, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let &[act, weight, m, n, k, name, slices] = words.as_slice() else {
            return Err(format!("{} words, expected 7: acts weights m n k kernel slices", words.len()));
        };
        // Rules are of products.
        let kernel = kernels::ALL.iter().find(|k| k.name == name && k.family == kernels::matmul::KERNEL.name);
        let Some(kernel) = kernel else { return Err(format!("kernel \"{name}\", which is none that this version chooses from")) };
        let count = slices.parse().ok().filter(|s| (1..=MOST_SLICES).contains(s));
        Ok(Rule {
            act: storage(act)?,
            weight: storage(weight)?,
            m: range(m)?,
            n: range(n)?,
            k: range(k)?,
            kernel,
            slices: count.ok_or_else(|| format!("slices \"{slices}\", expected 1 to {MOST_SLICES}"))?,
        })
    }
}

fn storage(text: &str) -> Result<Option<DType>, String> {
    match text {
        "*" => Ok(None),
        "f32" => Ok(Some(DType::F32)),
        "f16" => Ok(Some(DType::F16)),
        "i8" => Ok(Some(DType::I8)),
        _ => Err(format!("storage \"{text}\", expected f32, f16, i8 or *")),
    }
}

fn range(text: &str) -> Result<RangeInclusive<u32>, String> {
    let wrong = || format!("range \"{text}\", expected *, 50, ..50, 51.. or 51..200 (both ends belong to it)");
    let number = |t: &str, open: u32| if t.is_empty() { Some(open) } else { t.parse().ok() };
    let ends = match (text, text.split_once("..")) {
        ("*", _) => Some((0, u32::MAX)),
        (_, Some((low, high))) => number(low, 0).zip(number(high, u32::MAX)),
        (_, None) => text.parse().ok().map(|n| (n, n)),
    };
    ends.filter(|(low, high)| low <= high).map(|(low, high)| low..=high).ok_or_else(wrong)
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |r: &RangeInclusive<u32>| match (*r.start(), *r.end()) {
            (0, u32::MAX) => "*".to_owned(),
            (0, high) => format!("..{high}"),
            (low, u32::MAX) => format!("{low}.."),
            (low, high) if low == high => low.to_string(),
            (low, high) => format!("{low}..{high}"),
        };
        let [act, weight] = [self.act, self.weight].map(|t| t.map_or("*", DType::name));
        write!(f, "{act} {weight} {} {} {} {} {}", range(&self.m), range(&self.n), range(&self.k), self.kernel.name, self.slices)
    }
}

/// The rules of a text; empty lines and `#` lines are skipped.
///
/// # Errors
/// The number of the line and what is wrong with it.
pub fn parse_rules(text: &str) -> Result<Vec<Rule>, String> {
    numbered_rules(text.lines().enumerate())
}

fn numbered_rules<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Result<Vec<Rule>, String> {
    lines
        .map(|(i, line)| (i, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(i, line)| Rule::parse(line).map_err(|e| format!("line {}: {e}", i + 1)))
        .collect()
}

/// The rules of a device's file, after a look at whom it was written for.
fn parse_file(text: &str, caps: &Caps) -> Result<Vec<Rule>, String> {
    let mut lines = text.lines().enumerate();
    for (key, wanted) in identity(caps) {
        let line = lines.by_ref().map(|(_, l)| l.trim()).find(|l| !l.is_empty() && !l.starts_with('#')).unwrap_or_default();
        match line.split_once(' ').filter(|(k, _)| *k == key) {
            Some((_, value)) if value.trim() == wanted => {}
            Some((_, value)) => return Err(format!("written for {key} \"{}\", this is \"{wanted}\"", value.trim())),
            None => return Err(format!("\"{line}\" where \"{key} {wanted}\" is expected")),
        }
    }
    let rules = numbered_rules(lines)?;
    if rules.is_empty() { Err("no rules".to_owned()) } else { Ok(rules) }
}

/// What a file is written for: other drivers and other kernels have other winners.
fn identity(caps: &Caps) -> [(&'static str, String); 4] {
    [
        ("lancet", env!("CARGO_PKG_VERSION").to_owned()),
        ("kernels", kernels_known()),
        ("adapter", caps.adapter.trim().to_owned()),
        ("driver", caps.driver.trim().to_owned()),
    ]
}

/// What rules choose from, as a short word (FNV-1a of the names): a table of other kernels is another table.
fn kernels_known() -> String {
    let names = kernels::ALL.iter().filter(|k| k.family == kernels::matmul::KERNEL.name).flat_map(|k| k.name.bytes());
    format!("{:08x}", names.fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)))
}

/// The file of a device in a folder of tuned tables.
pub fn file_of(folder: &Path, caps: &Caps) -> PathBuf {
    let mut name = String::new();
    for c in identity(caps).map(|(_, v)| v.to_lowercase()).join(" ").chars() {
        match c.is_ascii_alphanumeric() || c == '.' {
            true => name.push(c),
            false if name.ends_with('-') => {}
            false => name.push('-'),
        }
    }
    name.truncate(200);
    folder.join(format!("{}.txt", name.trim_matches('-')))
}

/// The text of a device's file.
pub fn write_file(caps: &Caps, rules: &[Rule]) -> String {
    let head: Vec<String> = identity(caps).iter().map(|(key, value)| format!("{key} {value}\n")).collect();
    let rules: Vec<String> = rules.iter().map(|r| format!("{r}\n")).collect();
    format!("{}# acts weights m n k kernel slices: the first rule that fits decides\n{}", head.concat(), rules.concat())
}

impl Tuned {
    /// The rules for a device, none for [`Tuned::Shipped`] and for a folder that has no file for it.
    ///
    /// # Errors
    /// [`Error::Tuning`]: a file that is there and cannot be used.
    pub fn rules(self, caps: &Caps) -> Result<Vec<Rule>> {
        let folder = match self {
            Tuned::Shipped => return Ok(Vec::new()),
            Tuned::Rules(rules) => return Ok(rules),
            Tuned::Folder(folder) => folder,
        };
        let path = file_of(&folder, caps);
        match std::fs::read_to_string(&path) {
            Ok(text) => parse_file(&text, caps).map_err(|what| Error::Tuning { path, what }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            // Not text, for one.
            Err(e) => Err(Error::Tuning { path, what: e.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_survive_being_written() {
        let text = "f16 f16 ..64 * 2048.. matmul_workgroup_64 4\n* f32 197 51..200 * matmul_register_8x8 1\n* * * * * matmul 1\n";
        let rules = parse_rules(text).unwrap();
        assert_eq!(rules.iter().map(|r| format!("{r}\n")).collect::<String>(), text);
        assert!(rules[0].fits([64, 1, 2048], DType::F16, DType::F16));
        for other in [([65, 1, 2048], DType::F16), ([64, 1, 2047], DType::F16), ([64, 1, 2048], DType::F32)] {
            assert!(!rules[0].fits(other.0, other.1, DType::F16), "{other:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let broken = [
            ("* * * * matmul 1", "6 words"),
            ("f8 * * * * matmul 1", "storage \"f8\""),
            ("* * 10..5 * * matmul 1", "range \"10..5\""),
            ("* * a * * matmul 1", "range \"a\""),
            ("* * * * * conv3x3 1", "kernel \"conv3x3\""),
            ("* * * * * matmul_reduce 1", "kernel \"matmul_reduce\""),
            ("* * * * * matmul 0", "slices \"0\""),
            ("* * * * * matmul 65", "slices \"65\""),
        ];
        for (line, what) in broken {
            let error = parse_rules(&format!("# a comment\n\n{line}\n")).expect_err(line);
            assert!(error.starts_with("line 3: ") && error.contains(what), "{line}: {error}");
        }
    }
}
