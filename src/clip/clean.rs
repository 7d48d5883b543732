//! Text cleaning in front of the CLIP tokenizer.
//!
//! The original (OpenAI CLIP `simple_tokenizer.py`, MIT) cleans a prompt with `ftfy.fix_text`, un-escapes HTML
//! twice, strips, collapses white space and lower-cases. Token ids depend on every one of these steps, so this
//! module follows the Python code step by step: `html_unescape` is Python's `html.unescape`, and `fix_text` with
//! everything it calls is derived from ftfy 6.3.1, Copyright 2023 Robyn Speer, Apache License 2.0
//! (<https://github.com/rspeer/python-ftfy>); changed: ported to Rust, reduced to the default options.

mod mojibake;
mod tables;

use std::sync::LazyLock;

use regex::Regex;
use tokenizers::NormalizedString;

/// Upper bound of the loops that run, as in ftfy, until nothing changes. Real text settles after two or three rounds;
/// the bound only keeps text built to be peeled layer by layer (`&amp;amp;amp;...`) from taking quadratic time.
const MAX_ROUNDS: usize = 64;

/// Cleans a prompt exactly as the original tokenizer does before it splits it into pieces.
///
/// Repairs broken Unicode, un-escapes HTML twice, turns runs of white space into one space, strips both ends and
/// lower-cases. Never fails; the result of cleaning an empty or blank string is empty.
pub fn clean(text: &str) -> String {
    if is_plain(text) {
        return collapse_space(text).to_lowercase();
    }
    let text = html_unescape(&html_unescape(&fix_text(text)));
    collapse_space(&text).to_lowercase()
}

/// Unwraps a pattern written in this source. None depends on input, so a failure is a bug every test would show.
fn constant<P>(pattern: Result<P, regex::Error>) -> P {
    pattern.expect("a constant pattern compiles")
}

/// Printable ASCII without `&` cannot be changed by the repairs: skips them for nearly all prompts.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\n' | b'\t') && b != b'&')
}

/// Python's `str.isspace`: Unicode white space and the four ASCII separators.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn collapse_space(text: &str) -> String {
    let words: Vec<&str> = text.split(is_space).filter(|w| !w.is_empty()).collect();
    words.join(" ")
}

/// `ftfy.fix_text` with its default options.
///
/// Works line by line. HTML entities are left alone from the first line on that holds a literal `<`, because the
/// text is then taken for real HTML.
fn fix_text(text: &str) -> String {
    let mut entities = true;
    let mut fixed = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        entities = entities && !line.contains('<');
        fixed.push_str(&fix_line(line, entities));
    }
    fixed
}

fn fix_line(line: &str, entities: bool) -> String {
    static ESCAPES: LazyLock<Regex> = LazyLock::new(|| constant(Regex::new(r"\x1b\[[\d;]*[a-zA-Z]")));

    let mut text = line.to_string();
    for _ in 0..MAX_ROUNDS {
        let mut next = if entities { unescape_sure_entities(&text) } else { text.clone() };
        next = mojibake::fix_encoding(&next);
        next = next.chars().map(mojibake::c1_to_windows).collect();
        next = replace_chars(&next);
        next = fix_line_breaks(&next);
        next = ESCAPES.replace_all(&next, "").into_owned();
        next.retain(|c| !is_stray_control(c));
        next = normalize(&next, |n| {
            n.nfc();
        });
        if next == text {
            break;
        }
        text = next;
    }
    text
}

/// Ligatures, half-width and full-width forms, curly quotes: in one pass what ftfy does in three, with one result.
fn replace_chars(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if let Some(letters) = ligature(c) {
            // One ligature expands to a letter that is itself a kind of quote (U+02BC).
            out.extend(letters.chars().map(straight_quote));
        } else if c == '\u{3000}' {
            out.push(' ');
        } else if ('\u{ff01}'..='\u{ffef}').contains(&c) {
            let wide = normalize(c.encode_utf8(&mut [0; 4]), |n| {
                n.nfkc();
            });
            out.extend(wide.chars().map(straight_quote));
        } else {
            out.push(straight_quote(c));
        }
    }
    out
}

fn normalize(text: &str, how: impl Fn(&mut NormalizedString)) -> String {
    if text.is_ascii() {
        return text.to_string();
    }
    let mut normalized = NormalizedString::from(text);
    how(&mut normalized);
    normalized.get().to_string()
}

fn straight_quote(c: char) -> char {
    match c {
        '\u{2bc}' | '\u{2018}'..='\u{201b}' => '\'',
        '\u{201c}'..='\u{201f}' => '"',
        _ => c,
    }
}

fn ligature(c: char) -> Option<&'static str> {
    Some(match c {
        'Ĳ' => "IJ",
        'ĳ' => "ij",
        'ŉ' => "ʼn",
        'Ǳ' => "DZ",
        'ǲ' => "Dz",
        'ǳ' => "dz",
        'Ǆ' => "DŽ",
        'ǅ' => "Dž",
        'ǆ' => "dž",
        'Ǉ' => "LJ",
        'ǈ' => "Lj",
        'ǉ' => "lj",
        'Ǌ' => "NJ",
        'ǋ' => "Nj",
        'ǌ' => "nj",
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        'ﬅ' => "ſt",
        'ﬆ' => "st",
        _ => return None,
    })
}

fn fix_line_breaks(text: &str) -> String {
    text.replace("\r\n", "\n").replace(['\r', '\u{2028}', '\u{2029}', '\u{85}'], "\n")
}

/// Control characters that do nothing visible. C1 controls stay: they are the traces of a wrong encoding.
fn is_stray_control(c: char) -> bool {
    matches!(c,
        '\0'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}'
        | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffc}')
}

/// ftfy's own un-escaping: only entities that end in `;`, plus all-capitals ones (`&EACUTE;`) HTML does not know.
fn unescape_sure_entities(text: &str) -> String {
    static ENTITY: LazyLock<Regex> = LazyLock::new(|| constant(Regex::new("&#?[0-9A-Za-z]{1,24};")));
    let fix = |found: &regex::Captures| {
        let found = &found[0];
        if let Some(value) = named_entity(&found[1..]) {
            return value.to_string();
        }
        let whole = html_unescape(found);
        if found.starts_with("&#") {
            // Half-decoded (`&#12ab;`) counts as not decoded.
            return if whole.contains(';') { found.to_string() } else { whole };
        }
        let capitals = !found.bytes().any(|b| b.is_ascii_lowercase());
        match named_entity(&found[1..].to_ascii_lowercase()) {
            Some(value) if capitals && whole == found => value.to_uppercase(),
            _ => found.to_string(),
        }
    };
    ENTITY.replace_all(text, fix).into_owned()
}

/// Looks up an HTML5 entity by its name without `&`, with or without `;` as it stands in the standard's table.
fn named_entity(name: &str) -> Option<&'static str> {
    let mut key = Vec::with_capacity(name.len() + 1);
    key.push(b'&');
    key.extend_from_slice(name.as_bytes());
    let value = htmlize::ENTITIES.get(key.as_slice())?;
    std::str::from_utf8(value).ok()
}

/// Python's `html.unescape`.
///
/// Differs from the HTML5 standard in one point: references to control characters and non-characters
/// (`&#7;`) vanish instead of becoming that character. Old entities count without `;` too (`&ampx` is `&x`).
fn html_unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        let used = match tail.strip_prefix('#') {
            Some(number) => numeric_reference(number, &mut out).map(|n| n + 1),
            None => named_reference(tail, &mut out),
        };
        if used.is_none() {
            out.push('&');
        }
        rest = &tail[used.unwrap_or(0)..];
    }
    out.push_str(rest);
    out
}

/// Reads `name;` or a known beginning of it. Returns the bytes used, or `None` when it names nothing.
fn named_reference(tail: &str, out: &mut String) -> Option<usize> {
    let stop = |c: char| matches!(c, '\t' | '\n' | '\u{c}' | ' ' | '<' | '&' | '#' | ';');
    let mut end = tail
        .char_indices()
        .take(32)
        .find(|&(_, c)| stop(c))
        .map(|(at, _)| at)
        .or_else(|| tail.char_indices().nth(32).map(|(at, _)| at))
        .unwrap_or(tail.len());
    if end == 0 {
        return None;
    }
    if tail[end..].starts_with(';') {
        end += 1;
    }
    let name = &tail[..end];
    let found = |to: usize| named_entity(&name[..to]).map(|value| (to, value));
    // The whole name, then ever shorter beginnings of at least two characters.
    let ends = std::iter::once(end).chain(name.char_indices().rev().map(|(at, _)| at));
    let least = name.char_indices().nth(2).map_or(end, |(at, _)| at);
    let (to, value) = ends.take_while(|&to| to >= least).find_map(found)?;
    out.push_str(value);
    Some(to)
}

/// Reads the part after `&#`. Returns the bytes used, or `None` when no digits follow.
fn numeric_reference(tail: &str, out: &mut String) -> Option<usize> {
    let (radix, skip) = match tail.as_bytes().first()? {
        b'x' | b'X' => (16, 1),
        _ => (10, 0),
    };
    let digits = tail[skip..].bytes().take_while(|b| (*b as char).is_digit(radix)).count();
    if digits == 0 {
        return None;
    }
    let end = skip + digits;
    // Too many digits for u32 are beyond Unicode anyway.
    let code = u32::from_str_radix(&tail[skip..end], radix).unwrap_or(u32::MAX);
    out.extend(referred_char(code));
    Some(end + usize::from(tail[end..].starts_with(';')))
}

fn referred_char(code: u32) -> Option<char> {
    match code {
        0 => Some('\u{fffd}'),
        0x0d => Some('\r'),
        0x80..=0x9f => char::from_u32(code).map(mojibake::c1_to_windows),
        0x01..=0x08 | 0x0b | 0x0e..=0x1f | 0x7f | 0xfdd0..=0xfdef => None,
        _ if code <= 0x10_ffff && code & 0xfffe == 0xfffe => None,
        _ => Some(char::from_u32(code).unwrap_or('\u{fffd}')),
    }
}
