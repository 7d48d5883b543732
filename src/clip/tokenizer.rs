//! The CLIP tokenizer: text to token ids, identical to the original Python code.
//!
//! Byte-pair encoding runs in the `tokenizers` crate. The steps around it are done here, because a
//! `tokenizer.json` describes them only roughly (no Unicode repair, no HTML un-escaping, markers found too
//! early): cleaning in `clean.rs`, the split into pieces, the markers, the length limit.
//!
//! Source: OpenAI CLIP `simple_tokenizer.py` and OpenCLIP `tokenizer.py` (both MIT).

use regex::Regex;
use tokenizers::Model;
use tokenizers::models::ModelWrapper;
use tokenizers::models::bpe::BPE;

use super::clean::clean;
use crate::error::{Error, Result};

/// Ends the last symbol of every piece.
const WORD_END: &str = "</w>";
/// Names of the start and end markers: OpenAI's and Hugging Face's, then OpenCLIP's own.
const MARKERS: [[&str; 2]; 2] = [["<|startoftext|>", "<|endoftext|>"], ["<start_of_text>", "<end_of_text>"]];
/// Context length of every published CLIP.
pub const CLIP_CONTEXT: usize = 77;

/// A CLIP tokenizer with its vocabulary, its two markers and the model's context length.
///
/// Immutable, and usable from several threads at once.
pub struct Tokenizer {
    bpe: BPE,
    split: Regex,
    markers: [&'static str; 2],
    start: u32,
    end: u32,
    context: usize,
    /// The character that stands for each byte in the vocabulary.
    symbols: [char; 256],
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("markers", &self.markers)
            .field("vocab_size", &self.vocab_size())
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Reads a Hugging Face `tokenizer.json` as it lies beside a CLIP model.
    ///
    /// Only vocabulary, merges and the markers (`<|startoftext|>` or OpenCLIP's `<start_of_text>`) are taken from
    /// it; cleaning and splitting are always the original's. `context` is the model's context length, 77 for
    /// published CLIPs.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when the bytes are not such a file, when it is not a CLIP byte-pair encoding (another
    /// kind of model, no `</w>`, byte symbols missing), when a marker is missing or the end marker is not the
    /// highest id (the text feature is read there), or when `context` leaves no room for the two markers.
    pub fn from_json(bytes: &[u8], context: usize) -> Result<Self> {
        let whole = tokenizers::Tokenizer::from_bytes(bytes).map_err(|e| wrong(format!("the file is not a tokenizer.json: {e}")))?;
        let ids = |names: [&'static str; 2]| {
            let [start, end] = names.map(|name| whole.token_to_id(name));
            Some((names, start?, end?))
        };
        let Some((markers, start, end)) = MARKERS.into_iter().find_map(ids) else {
            let names = MARKERS.map(|pair| pair.join(" and ")).join(", or ");
            return Err(wrong(format!("the tokenizer.json has no start and end token: expected {names}")));
        };
        match whole.get_model() {
            ModelWrapper::BPE(bpe) => Self::new(bpe.clone(), markers, start, end, context),
            _ => Err(wrong("the tokenizer.json holds another kind of model: expected model.type \"BPE\", as every CLIP has")),
        }
    }

    /// The standard CLIP vocabulary of 49,408 tokens, built from OpenAI's published merges.
    ///
    /// Ids 0..512 are the byte symbols, 512..49406 the merges, 49406 and 49407 the markers.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when `context` leaves no room for the two markers.
    #[cfg(feature = "clip-vocab")]
    pub fn clip(context: usize) -> Result<Self> {
        use std::io::Read;

        use tokenizers::models::bpe::Vocab;

        const PACKED: &[u8] = include_bytes!("../../weights/clip-bpe/merges.txt.gz");

        let mut text = String::new();
        flate2::read::GzDecoder::new(PACKED)
            .read_to_string(&mut text)
            .map_err(|e| wrong(format!("the built-in merges cannot be unpacked: {e}")))?;
        let merges: Vec<(String, String)> =
            text.lines().filter_map(|line| line.split_once(' ')).map(|(left, right)| (left.to_string(), right.to_string())).collect();
        let (start, end) = (512 + merges.len() as u32, 513 + merges.len() as u32);
        let [_, letters] = byte_symbols();
        let vocab: Vocab = letters
            .iter()
            .map(char::to_string)
            .chain(letters.iter().map(|c| format!("{c}{WORD_END}")))
            .chain(merges.iter().map(|(left, right)| format!("{left}{right}")))
            .zip(0..)
            .collect();
        let bpe = BPE::builder()
            .vocab_and_merges(vocab, merges)
            .end_of_word_suffix(WORD_END.to_string())
            .build()
            .map_err(|e| wrong(format!("the built-in merges do not fit together: {e}")))?;
        Self::new(bpe, MARKERS[0], start, end, context)
    }

    fn new(bpe: BPE, markers: [&'static str; 2], start: u32, end: u32, context: usize) -> Result<Self> {
        if context < 2 {
            return Err(wrong(format!(
                "context length {context} has no room for the start and end token: expected 2 or more, 77 for published CLIPs"
            )));
        }
        let plain = bpe.continuing_subword_prefix.as_deref().unwrap_or_default().is_empty()
            && bpe.dropout.unwrap_or(0.0) == 0.0
            && !bpe.ignore_merges;
        if bpe.end_of_word_suffix.as_deref() != Some(WORD_END) || !plain {
            return Err(wrong(
                "the byte-pair encoding is not CLIP's: expected end_of_word_suffix \"</w>\" and no prefix, dropout or ignore_merges",
            ));
        }
        let [symbols, _] = byte_symbols();
        // Without a symbol for every byte, text would silently lose characters.
        let missing = symbols.iter().flat_map(|c| [c.to_string(), format!("{c}{WORD_END}")]).find(|token| bpe.token_to_id(token).is_none());
        if let Some(token) = missing {
            return Err(wrong(format!("the vocabulary lacks the byte symbol {token:?}: expected all 512 of CLIP's")));
        }
        let highest = bpe.get_vocab().into_values().max().unwrap_or(0);
        if start >= end || highest > end {
            return Err(wrong(format!(
                "the end token {} must have the highest id, because the text feature is read there: it has {end}, {} has {start}, the highest is {highest}",
                markers[1], markers[0]
            )));
        }
        // The original's pattern ignores case as a whole. Here only markers and contractions do, since in this regex
        // engine it would change the classes. U+0345 stands apart: ignoring case, the original's engine puts it into
        // none of them (its capital is a letter, it is not) and so drops it.
        let [first, last] = markers.map(regex::escape);
        let split = format!(r"(?i:{first}|{last}|'s|'t|'re|'ve|'m|'ll|'d)|\p{{L}}+|\p{{N}}|[^\s\p{{L}}\p{{N}}\u{{345}}]+");
        let split = Regex::new(&split).map_err(|e| wrong(format!("the split pattern is invalid: {e}")))?;
        Ok(Self { bpe, split, markers, start, end, context, symbols })
    }

    /// Token ids of `text` between start and end token, not padded: 2 to `context` ids.
    ///
    /// # Errors
    /// [`Error::TextTooLong`] when there are more; shorten the text, or use [`encode_truncated`](Self::encode_truncated).
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let ids = self.encode_any(text)?;
        if ids.len() > self.context {
            return Err(Error::TextTooLong { text: text.to_string(), tokens: ids.len(), context: self.context });
        }
        Ok(ids)
    }

    /// Like [`encode`](Self::encode), but a text that is too long loses its end: the first `context` ids stay, and
    /// the last of them becomes the end token.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when the byte-pair encoding fails; no text is known to do that.
    pub fn encode_truncated(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.encode_any(text)?;
        if ids.len() > self.context {
            ids.truncate(self.context);
            ids[self.context - 1] = self.end;
        }
        Ok(ids)
    }

    fn encode_any(&self, text: &str) -> Result<Vec<u32>> {
        let text = clean(text);
        let mut ids = vec![self.start];
        for piece in self.split.find_iter(&text) {
            // A marker in the text is a marker, as in the original; cleaning has lower-cased it.
            match self.markers.iter().position(|&marker| marker == piece.as_str()) {
                Some(0) => ids.push(self.start),
                Some(_) => ids.push(self.end),
                None => {
                    let symbols: String = piece.as_str().bytes().map(|b| self.symbols[usize::from(b)]).collect();
                    let tokens = self.bpe.tokenize(&symbols).map_err(|e| wrong(format!("cannot encode {:?}: {e}", piece.as_str())))?;
                    ids.extend(tokens.iter().map(|token| token.id));
                }
            }
        }
        ids.push(self.end);
        Ok(ids)
    }

    /// The text one token stands for, without the mark of a word's end; `None` for an unknown id.
    ///
    /// A token may hold only a part of a character, which reads as U+FFFD; [`decode`](Self::decode) puts parts together.
    pub fn token_text(&self, id: u32) -> Option<String> {
        let (bytes, _) = self.token_bytes(id)?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether a word, number or run of signs ends with this token. Also true for the markers and unknown ids.
    pub fn ends_word(&self, id: u32) -> bool {
        self.token_bytes(id).is_none_or(|(_, ends)| ends)
    }

    /// The cleaned text `ids` stand for, with a space after every word; markers and unknown ids are left out.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut bytes = Vec::new();
        for &id in ids.iter().filter(|&&id| id != self.start && id != self.end) {
            let Some((token, ends)) = self.token_bytes(id) else { continue };
            bytes.extend_from_slice(&token);
            if ends {
                bytes.push(b' ');
            }
        }
        String::from_utf8_lossy(&bytes).trim_end().to_string()
    }

    fn token_bytes(&self, id: u32) -> Option<(Vec<u8>, bool)> {
        if let Some(at) = [self.start, self.end].iter().position(|&marker| marker == id) {
            return Some((self.markers[at].as_bytes().to_vec(), true));
        }
        let token = self.bpe.id_to_token(id)?;
        let (symbols, ends) = match token.strip_suffix(WORD_END) {
            Some(symbols) => (symbols, true),
            None => (token.as_str(), false),
        };
        let byte = |c: char| self.symbols.iter().position(|&s| s == c).map(|b| b as u8);
        Some((symbols.chars().filter_map(byte).collect(), ends))
    }

    /// Number of rows the model's token embedding must have: every id is below it.
    pub fn vocab_size(&self) -> usize {
        self.end as usize + 1
    }

    /// Longest sequence the model reads, start and end token included.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Id of the start token.
    pub fn start(&self) -> u32 {
        self.start
    }

    /// Id of the end token, the highest of all.
    pub fn end(&self) -> u32 {
        self.end
    }
}

/// Where the text feature is read: the first position of the highest id, 0 for no ids.
///
/// That is the end token, and the first of several when the text itself holds an end marker (what follows it is
/// then ignored, as in the original).
pub fn end_position(ids: &[u32]) -> usize {
    let highest = ids.iter().max();
    ids.iter().position(|id| Some(id) == highest).unwrap_or(0)
}

/// The printable characters that stand for bytes in the vocabulary: by byte value, and in the order of their ids.
///
/// Printable Latin-1 bytes stand for themselves and come first; the other 68, ascending, get U+0100 and up.
fn byte_symbols() -> [[char; 256]; 2] {
    let (mut by_byte, mut by_id) = (['\0'; 256], ['\0'; 256]);
    let (mut printable, mut other) = (0, 0);
    for byte in 0..=255u8 {
        let own = matches!(byte, 33..=126 | 161..=172 | 174..=255);
        let (symbol, id) = match own {
            true => (char::from(byte), printable),
            false => (char::from_u32(256 + other).unwrap_or('\0'), 188 + other as usize),
        };
        by_byte[usize::from(byte)] = symbol;
        by_id[id] = symbol;
        match own {
            true => printable += 1,
            false => other += 1,
        }
    }
    [by_byte, by_id]
}

fn wrong(what: impl Into<String>) -> Error {
    Error::Tokenizer { what: what.into() }
}
