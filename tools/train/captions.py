"""The language of the captions, and the prompts of one concept."""

from common import ROOT

CLIP_TEMPLATES = (ROOT / "src" / "clip" / "templates.txt").read_text().strip().split("\n")
ONE = (
    "{}", "a {}", "the {}", "a picture of a {}", "an image of a {}", "an emoji of a {}", "a drawing of a {}", "an icon of a {}",
    "an illustration of a {}", "a small {}", "a large {}", "a photo of a {}.", "a cartoon of a {}", "a sticker of a {}",
    "a line drawing of a {}", "a {} in a scene", "there is a {}", "a scene with a {}", "a colorful {}", "one {}", "a flat {} icon",
)
MANY = (
    "{}", "a picture of {}", "an image of {}", "a photo of {}", "a scene with {}", "an illustration of {}", "there is {}",
    "a drawing of {}",
)
PLACES = {
    "grass": ("on grass", "in a meadow"), "a beach": ("on a beach", "on the sand"), "snow": ("in the snow", "on snow"),
    "water": ("on water", "at the sea"), "a desert": ("in a desert",), "the night": ("at night", "in the dark"),
    "a plain background": ("on a plain background",), "stripes": ("on stripes",), "a checkerboard": ("on a checkerboard",),
    "dots": ("on dots",), "a brick wall": ("in front of a brick wall",), "a road": ("on a road",), "a room": ("in a room",),
}
EMPTY = ("an empty scene", "a background", "a picture of nothing", "an empty picture")
COUNTS = {2: ("two", "a pair of", "some"), 3: ("three", "some", "several"), 4: ("four", "several", "many"), 5: ("five", "several", "many")}
SIDES = {
    "x": ("to the left of", "left of", "beside", "next to"), "-x": ("to the right of", "right of", "next to"),
    "y": ("above", "over"), "-y": ("below", "under"),
}


def pick(rng, options):
    return options[rng.integers(len(options))]


SAME = (
    "fish", "sheep", "deer", "glasses", "scissors", "jeans", "headphones", "shrimp", "corn", "mail", "trousers", "pants", "cattle",
    "dice",
)
ODD = {"mouse": "mice", "wolf": "wolves", "maple leaf": "maple leaves", "leaf": "leaves", "candy": "candies"}


def article(word):
    return f"{'an' if word[0] in 'aeio' or word.startswith('umbrella') else 'a'} {word}"


def plural(word):
    if word in ODD:
        return ODD[word]
    last = word.split()[-1]
    if last in SAME or (last.endswith("s") and last not in ("cactus", "bus", "octopus", "toilets")):
        return word
    if last.endswith(("s", "x", "ch", "sh")):
        return word + "es"
    return word[:-1] + "ies" if last.endswith("y") and last[-2] not in "aeo" else word + "s"


def name(rng, concept):
    """The canonical name half of the time."""
    return concept.names[0] if len(concept.names) == 1 or rng.random() < 0.5 else pick(rng, concept.names[1:])


def prompt(rng, concept):
    """A prompt of one concept, as zero-shot classification would write it."""
    return pick(rng, CLIP_TEMPLATES if rng.random() < 0.5 else ONE).replace("{}", name(rng, concept))


def caption(rng, concepts, scene):
    present = scene.present()
    place = ""
    if scene.background in PLACES and rng.random() < 0.4:
        place = " " + pick(rng, PLACES[scene.background])
    if not present:
        return pick(rng, EMPTY) + place
    words = {c: name(rng, concepts[c]) for c in present}

    def noun(c):
        count = scene.objects.count(c)
        return article(words[c]) if count == 1 else f"{pick(rng, COUNTS[min(count, 5)])} {plural(words[c])}"

    if len(present) == 1:
        (c,) = present
        text = pick(rng, ONE).replace("{}", words[c]) if scene.objects.count(c) == 1 else pick(rng, MANY).replace("{}", noun(c))
        return text.rstrip(".") + place if place else text
    if len(present) == 2 and len(scene.objects) == 2 and rng.random() < 0.6:
        (ax, ay), (bx, by) = scene.boxes
        dx, dy = bx - ax, by - ay
        side = ("x" if dx > 0 else "-x") if abs(dx) > abs(dy) else ("y" if dy > 0 else "-y")
        a, b = scene.objects
        return f"{noun(a)} {pick(rng, SIDES[side])} {noun(b)}{place}"
    order = [present[i] for i in rng.permutation(len(present))]
    parts = [noun(c) for c in order]
    listed = ", ".join(parts[:-1]) + " and " + parts[-1]
    return pick(rng, MANY).replace("{}", listed) + place


def language(named):
    """Every text from which the tokenizer learns which merges it needs."""
    texts = [*CLIP_TEMPLATES, *ONE, *MANY, *EMPTY, "a, b and c", "."]
    for group in (*PLACES.values(), *COUNTS.values(), *SIDES.values()):
        texts += group
    for concept in named:
        for word in concept.names:
            texts += [word, article(word), f"{word},", plural(word)]
    return texts
