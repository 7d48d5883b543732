"""The tokenizer: CLIP's byte-pair encoding with only the merges that the captions need.

Words of the captions segment exactly as in the full vocabulary; other words fall to byte pieces.
"""

import gzip
import json
import re
import unicodedata

from common import ROOT

MERGES = ROOT / "weights" / "clip-bpe" / "merges.txt.gz"
SPLIT = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|[^\s\w]+|_+", re.IGNORECASE)
START, END = "<|startoftext|>", "<|endoftext|>"


def byte_symbols():
    """The printable character that stands for each byte, in vocabulary order."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + i) for i, byte in enumerate(rest)}


SYMBOLS = byte_symbols()


def pieces(text):
    text = " ".join(unicodedata.normalize("NFC", text).lower().split())
    return SPLIT.findall(text)


def symbols(piece):
    word = [SYMBOLS[byte] for byte in piece.encode()]
    return [*word[:-1], word[-1] + "</w>"]


def merge(word, rank, used=None):
    """Applies the merges of lowest rank first; notes them in `used`."""
    while len(word) > 1:
        best = min(range(len(word) - 1), key=lambda i: rank.get((word[i], word[i + 1]), 1 << 30))
        pair = (word[best], word[best + 1])
        if pair not in rank:
            break
        if used is not None:
            used.add(pair)
        out, i = [], 0
        while i < len(word):
            if i + 1 < len(word) and (word[i], word[i + 1]) == pair:
                out.append(word[i] + word[i + 1])
                i += 2
            else:
                out.append(word[i])
                i += 1
        word = out
    return word


class Words:
    """Text to token ids."""

    def __init__(self, merges, context):
        self.merges = [tuple(pair) for pair in merges]
        self.rank = {pair: i for i, pair in enumerate(self.merges)}
        tokens = list(SYMBOLS.values())
        tokens += [token + "</w>" for token in tokens]
        tokens += ["".join(pair) for pair in self.merges] + [START, END]
        self.vocabulary = {token: i for i, token in enumerate(tokens)}
        self.context = context
        self.start, self.end = self.vocabulary[START], self.vocabulary[END]
        self.known = {}

    @classmethod
    def pruned(cls, texts, context):
        lines = gzip.decompress(MERGES.read_bytes()).decode().split("\n")
        full = [tuple(line.split(" ")) for line in lines if line]
        rank, used = {pair: i for i, pair in enumerate(full)}, set()
        for piece in sorted({piece for text in texts for piece in pieces(text)}):
            merge(symbols(piece), rank, used)
        return cls([pair for pair in full if pair in used], context)

    @classmethod
    def read(cls, path, context):
        return cls(json.loads(path.read_text())["model"]["merges"], context)

    def ids(self, text):
        """Start, pieces, end; cut to the context, the end marker kept."""
        out = [self.start]
        for piece in pieces(text):
            if piece not in self.known:
                self.known[piece] = [self.vocabulary[token] for token in merge(symbols(piece), self.rank)]
            out += self.known[piece]
        return [*out[: self.context - 1], self.end]

    def file(self):
        """tokenizer.json, as Hugging Face's CLIP tokenizers write it."""
        marker = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        split = "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"
        return {
            "version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [{"id": id, "content": text, **marker} for id, text in ((self.start, START), (self.end, END))],
            "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}, {"type": "Lowercase"}]},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": split}, "behavior": "Removed", "invert": True},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]},
            "post_processor": {"type": "RobertaProcessing", "sep": [END, self.end], "cls": [START, self.start],
                               "trim_offsets": False, "add_prefix_space": False},
            "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "dropout": None, "unk_token": END, "continuing_subword_prefix": "",
                      "end_of_word_suffix": "</w>", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                      "vocab": self.vocabulary, "merges": [list(pair) for pair in self.merges]},
        }
