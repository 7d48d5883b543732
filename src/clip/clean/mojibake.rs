//! Mojibake: UTF-8 text that was read in a single-byte encoding (`schÃ¶n`), and how to undo it.
//!
//! It only touches text in which characters stand beside each other that hardly ever do in real text, so ordinary
//! prompts pass unchanged. Derived from ftfy 6.3.1 (`fix_encoding` and its parts), Copyright 2023 Robyn Speer,
//! Apache License 2.0; changed: ported to Rust, explanations left out, depth and rounds bounded.

use std::sync::LazyLock;

use regex::{Regex, bytes};

use super::constant;
use super::tables::*;

/// Mojibake inside mojibake: deeper nesting than this does not occur in text nobody constructed.
const MAX_DEPTH: usize = 8;

struct Patterns {
    bad: Regex,
    /// A run of characters that spells UTF-8 sequences.
    sequences: Regex,
    not_before: Regex,
    /// Sequences that would be UTF-8 if a space were byte A0.
    altered: bytes::Regex,
    /// Sequences with a lost byte: 1A, or `?` where it cannot be meant.
    lossy: bytes::Regex,
}

static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| {
    let mut bad = BADNESS.join("|");
    for (name, class) in CLASSES {
        bad = bad.replace(name, class);
    }
    let sequences = format!("(?:[{FIRST_OF_2}][{CONTINUATION}]|[{FIRST_OF_3}][{CONTINUATION}]{{2}}|[{FIRST_OF_4}][{CONTINUATION}]{{3}})+");
    Patterns {
        bad: constant(Regex::new(&bad)),
        sequences: constant(Regex::new(&sequences)),
        not_before: constant(Regex::new(&format!("[{CONTINUATION_STRICT}]"))),
        altered: constant(bytes::Regex::new(ALTERED)),
        lossy: constant(bytes::Regex::new(LOSSY)),
    }
});

const ALTERED: &str = r"(?x-u)
    [\xc2\xc3\xc5\xce\xd0\xd9][\x20]
    | [\xe2\xe3][\x20][\x80-\x84\x86-\x9f\xa1-\xbf] | [\xe0-\xe3][\x80-\x84\x86-\x9f\xa1-\xbf][\x20]
    | \xf0[\x20][\x80-\xbf][\x80-\xbf] | \xf0[\x80-\xbf][\x20][\x80-\xbf] | \xf0[\x80-\xbf][\x80-\xbf][\x20]";

const LOSSY: &str = r"(?x-u)
    [\xc2-\xdf]\x1a | [\xc2-\xc3][?]
    | \xed[\xa0-\xaf][\x1a?]\xed[\xb0-\xbf][\x1a?\x80-\xbf] | \xed[\xa0-\xaf][\x1a?\x80-\xbf]\xed[\xb0-\xbf][\x1a?]
    | [\xe0-\xef][\x1a?][\x1a\x80-\xbf] | [\xe0-\xef][\x1a\x80-\xbf][\x1a?]
    | [\xf0-\xf4][\x1a?][\x1a\x80-\xbf][\x1a\x80-\xbf] | [\xf0-\xf4][\x1a\x80-\xbf][\x1a?][\x1a\x80-\xbf]
    | [\xf0-\xf4][\x1a\x80-\xbf][\x1a\x80-\xbf][\x1a?] | \x1a";

/// Undoes wrong decodings until nothing looks wrong any more. Text without them comes back as it is.
pub(super) fn fix_encoding(text: &str) -> String {
    fix_nested(text, MAX_DEPTH)
}

/// The character Windows-1252 has at the place of a C1 control character; any other character is kept.
pub(super) fn c1_to_windows(c: char) -> char {
    match c {
        '\u{80}'..='\u{9f}' => page_char(WINDOWS_1252, c as u8),
        _ => c,
    }
}

fn fix_nested(text: &str, depth: usize) -> String {
    let mut text = text.to_string();
    if depth == 0 {
        return text;
    }
    for _ in 0..super::MAX_ROUNDS {
        if text.is_ascii() || !PATTERNS.bad.is_match(&text) {
            break;
        }
        let fixed = fix_once(&text, depth);
        if fixed == text {
            break;
        }
        text = fixed;
    }
    text
}

/// One step: the first reading of the text in another encoding that makes it valid UTF-8, else repairs in place.
fn fix_once(text: &str, depth: usize) -> String {
    let latin_1 = std::iter::once_with(|| (None, encode_latin_1(text)));
    let others = (0..PAGES.len()).map(|page| (Some(page), encode(text, page)));
    for (page, encoded) in latin_1.chain(others) {
        let Some(mut bytes) = encoded else { continue };
        // In MacRoman an en dash and a space would look like a sequence.
        if page != Some(MAC_ROMAN) && PATTERNS.altered.is_match(&bytes) {
            bytes = restore_byte_a0(&bytes);
        }
        if page.is_some_and(|p| p < WINDOWS_PAGES) {
            bytes = PATTERNS.lossy.replace_all(&bytes, "\u{fffd}".as_bytes()).into_owned();
        }
        if let Some(decoded) = decode_utf8(bytes) {
            return decoded;
        }
    }
    let spots = fix_sequences(text, depth);
    if spots != text {
        return spots;
    }
    // What is left of C1 controls comes from Latin-1 that was meant to be Windows-1252.
    text.chars().map(c1_to_windows).collect()
}

fn encode_latin_1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

fn encode(text: &str, page: usize) -> Option<Vec<u8>> {
    let lossy = page < WINDOWS_PAGES;
    let byte = |c: char| match c {
        '\u{fffd}' if lossy => Some(0x1a),
        '\u{1a}' if lossy => None,
        '\0'..='\x7f' => Some(c as u8),
        _ => (0x80..=0xff).find(|&b| page_char(page, b) == c),
    };
    text.chars().map(byte).collect()
}

fn page_char(page: usize, byte: u8) -> char {
    static UPPER: LazyLock<Vec<Vec<char>>> = LazyLock::new(|| PAGES.iter().map(|p| p.chars().collect()).collect());
    match UPPER[page].get(usize::from(byte & 0x7f)) {
        Some(&c) if c != '_' => c,
        _ => char::from(byte),
    }
}

/// Puts byte A0 back where a space took its place inside a UTF-8 sequence.
fn restore_byte_a0(bytes: &[u8]) -> Vec<u8> {
    // "Ã la mode" is "à la mode", not "àla mode": C3 before a space is a word of its own, except in the
    // Portuguese words "às", "àquele", "àquela", "àquilo".
    let joined: [&[u8]; 5] = [b" ", b"quele", b"quela", b"quilo", b"s "];
    let mut words = Vec::with_capacity(bytes.len() + 8);
    for (at, &byte) in bytes.iter().enumerate() {
        words.push(byte);
        let after = bytes[at + 1..].strip_prefix(b" ");
        if byte == 0xc3 && after.is_some_and(|rest| !joined.iter().any(|j| rest.starts_with(j))) {
            words.push(0xa0);
        }
    }
    let restore = |found: &bytes::Captures| -> Vec<u8> { found[0].iter().map(|&b| if b == b' ' { 0xa0 } else { b }).collect() };
    PATTERNS.altered.replace_all(&words, restore).into_owned()
}

/// UTF-8, and the two variants in use: surrogate pairs as three bytes each (CESU-8), and NUL as C0 80.
fn decode_utf8(bytes: Vec<u8>) -> Option<String> {
    if !bytes.contains(&0xed) && !bytes.contains(&0xc0) {
        return String::from_utf8(bytes).ok();
    }
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes.as_slice();
    loop {
        rest = match *rest {
            [] => return String::from_utf8(plain).ok(),
            [0xc0, 0x80, ..] => {
                plain.push(0);
                &rest[2..]
            }
            [0xed, a @ 0xa0..=0xaf, b @ 0x80..=0xbf, 0xed, c @ 0xb0..=0xbf, d @ 0x80..=0xbf, ..] => {
                let bits = |byte: u8, mask: u8| u32::from(byte & mask);
                let code = (bits(a, 0xf) << 16) + (bits(b, 0x3f) << 10) + (bits(c, 0xf) << 6) + bits(d, 0x3f);
                let whole = char::from_u32(code + 0x1_0000)?;
                plain.extend_from_slice(whole.encode_utf8(&mut [0; 4]).as_bytes());
                &rest[6..]
            }
            [byte, ..] => {
                plain.push(byte);
                &rest[1..]
            }
        };
    }
}

/// Fixes UTF-8 sequences that stand in text which is otherwise in another encoding.
fn fix_sequences(text: &str, depth: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut done, mut from) = (0, 0);
    while let Some(found) = PATTERNS.sequences.find_at(text, from) {
        let before = &text[..found.start()];
        if before.chars().next_back().is_some_and(|c| PATTERNS.not_before.is_match(c.encode_utf8(&mut [0; 4]))) {
            let first = found.as_str().chars().next().map_or(1, char::len_utf8);
            from = found.start() + first;
            continue;
        }
        // The whole text would come back here for ever.
        let fix = found.len() < text.len() && PATTERNS.bad.is_match(found.as_str());
        out.push_str(&text[done..found.start()]);
        if fix {
            out.push_str(&fix_nested(found.as_str(), depth - 1));
        } else {
            out.push_str(found.as_str());
        }
        done = found.end();
        from = done;
    }
    out.push_str(&text[done..]);
    out
}
