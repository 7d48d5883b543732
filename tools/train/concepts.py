"""The concept table (`concepts.toml`): names, synonyms, which icon shows what in which package."""

import tomllib
from dataclasses import dataclass

import numpy as np

from common import HERE, Problem


@dataclass(frozen=True)
class Concept:
    name: str
    names: tuple  # canonical name first, then synonyms
    icons: tuple
    special: dict  # icon names for one set instead of `icons`

    def icons_in(self, style, table, suffixes=None):
        """Names of this concept's icons that exist in `table`; fxemoji writes names without hyphens. With `suffixes` the
        set is no emoji font: its icons have plain names, so that synonyms are tried too, with each suffix."""
        wanted = self.special.get(style, self.icons)
        if style == "fxemoji" and style not in self.special:
            wanted = [icon.replace("-", "") for icon in wanted]
        if suffixes and style not in self.special:
            words = dict.fromkeys([*wanted, *(name.replace(" ", "-") for name in self.names)])
            wanted = [word + suffix for word in words for suffix in suffixes]
        return [icon for icon in wanted if icon in table]


def load(path=HERE / "concepts.toml"):
    with open(path, "rb") as file:
        table = tomllib.load(file)["concepts"]
    concepts = []
    for name, row in table.items():
        special = {key: value for key, value in row.items() if key not in ("also", "icons")}
        icons = tuple(row.get("icons", [name.replace(" ", "-")]))
        concepts.append(Concept(name, (name, *row.get("also", ())), icons, special))
    seen = {}
    for concept in concepts:
        for word in concept.names:
            if seen.setdefault(word, concept.name) != concept.name:
                raise Problem(f"{path}: {word!r} names both {seen[word]!r} and {concept.name!r}")
    return concepts


def held_out_pairs(count, share=0.1, seed=7):
    """Symmetric bool [count, count]: pairs that never meet in a training scene. Stable when concepts are added."""
    a, b = np.meshgrid(np.arange(count, dtype=np.uint64), np.arange(count, dtype=np.uint64))
    low, high = np.minimum(a, b), np.maximum(a, b)
    mix = (low * np.uint64(1_000_003) + high) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    mix ^= mix >> np.uint64(29)
    mix *= np.uint64(0xBF58476D1CE4E5B9)
    mix ^= mix >> np.uint64(32)
    held = (mix % np.uint64(10_000)) < np.uint64(int(share * 10_000))
    held[np.arange(count), np.arange(count)] = False
    return held
