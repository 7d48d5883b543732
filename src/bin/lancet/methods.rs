//! `lancet methods`: the presets, and one of them as a TOML file to start from.

use crate::args::{self, METHOD_VALUE};
use anyhow::Result;
use lancet::Method;
use serde::Serialize;

/// List the methods, or print one as a TOML file to make your own from
///
/// Examples: lancet methods; lancet methods naclip > mine.toml; lancet explain photo.jpg dog bench --method mine.toml
///
/// A file need not have every knob: with base = "naclip" it starts from a preset and changes the keys it gives; without,
/// from plain CLIP. docs/my-method.toml explains every key. Given a file, this checks it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The method to print
    #[arg(value_name = METHOD_VALUE)]
    name: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    name: &'a str,
    about: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    toml: Option<String>,
}

/// Runs `lancet methods`.
pub fn run(args: &Args) -> Result<()> {
    let Some(name) = &args.name else { return list(args.json) };
    let method = args::method(name)?;
    if args.json {
        let row = Row { name: &method.name, about: &method.about, toml: Some(method.to_toml()) };
        out!("{}", serde_json::to_string_pretty(&row)?);
    } else {
        out!("{}", method.to_toml().trim_end());
    }
    Ok(())
}

fn list(json: bool) -> Result<()> {
    if json {
        let rows: Vec<_> = Method::ALL.iter().map(|m| Row { name: &m.name, about: &m.about, toml: None }).collect();
        out!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    let width = Method::ALL.iter().map(|m| m.name.len()).max().unwrap_or(0);
    for method in Method::ALL {
        out!("{:<width$}  {}", method.name, method.about);
    }
    Ok(())
}
