"""Scenes with exact masks: sprites over backgrounds, about a millisecond each at 96 px.

Everything is drawn from the `numpy` generator that the caller seeds, so a scene is a pure function of
(seed, art file, this code).
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
import torch

import backgrounds
import captions
from art import PACKAGES
from concepts import Concept, held_out_pairs, load

cv2.setNumThreads(1)


@dataclass
class Phase:
    """How hard scenes are."""

    side: int  # pixels
    objects: tuple  # probability of 0, 1, 2, ... objects
    size: tuple  # longer side of an object over the side of the picture, when alone
    easy: float  # share of quiet backgrounds
    colour: float  # share of sprites whose colours are changed beyond recognition
    effects: float  # share of pictures with blur, noise, contrast
    spin: float = 0.15  # share of objects turned by any angle
    lean: float = 0.0  # deviation of the shear: the sprite as somebody else would have drawn it


PHASES = (
    Phase(64, (0, 1), (0.6, 1.0), 0.6, 0.25, 0.2, lean=0.12),
    Phase(64, (0.01, 0.55, 0.44), (0.4, 0.95), 0.25, 0.35, 0.4, lean=0.12),
    Phase(96, (0.1, 0.2, 0.24, 0.24, 0.14, 0.08), (0.25, 0.9), 0.15, 0.5, 0.4, lean=0.12),
)
CLEAN = Phase(64, (0, 1), (0.65, 0.9), 0.5, 0.0, 0.0, 0.0)  # the probe that opens the next phase


@dataclass
class Scene:
    image: np.ndarray  # uint8 [side, side, 3]
    owner: np.ndarray  # uint8 [side, side]: 0 background, k = k-th of `objects`
    objects: list = field(default_factory=list)  # concept of each visible object
    boxes: list = field(default_factory=list)  # (x, y) of its middle, 0..1
    background: str = ""  # word for the caption
    ground: tuple = ()  # what the background shows, of backgrounds.NAMES

    def present(self):
        return sorted(set(self.objects))


def grounds():
    """Names of backgrounds as concepts: numbered after the concepts, drawn by no icon."""
    return [Concept(names[0], names, (), {}) for names in backgrounds.NAMES]


class Bank:
    """Sprites ready to draw: premultiplied, in several sizes, by concept."""

    def __init__(self, art, styles, seed=1, backdrops=700):
        self.concepts = load()
        self.grounds = grounds()
        self.held = held_out_pairs(len(self.concepts))
        wanted = [art.styles.index(style) for style in styles]
        top = max(max(sprite.shape[:2]) for sprite in art.sprites)
        self.levels = [top] + [size for size in (128, 96, 64, 44, 30, 20) if size < top]
        self.of = [{} for _ in self.concepts]  # concept -> (style, variant) -> sprite numbers
        self.mips, self.mono, self.lines, self.icons = {}, set(), set(), {}
        for i in range(len(art.sprites)):
            if art.style[i] not in wanted:
                continue
            style = art.styles[art.style[i]]
            self.of[art.concept[i]].setdefault((style, int(art.variant[i])), []).append(i)
            self.icons[i] = (style, art.icon[i])
            if PACKAGES.get(style, {}).get("glyph"):
                self.mono.add(i)
            if art.variant[i] == 1:
                self.lines.add(i)
            flat = art.sprites[i].astype(np.float32)
            flat[..., :3] *= flat[..., 3:] / 255
            flat = flat.round().astype(np.uint8)
            high, wide = flat.shape[:2]
            self.mips[i] = [flat] + [
                cv2.resize(flat, (max(2, round(wide * s / top)), max(2, round(high * s / top))), interpolation=cv2.INTER_AREA)
                for s in self.levels[1:]
            ]
        self.known = [c for c in range(len(self.concepts)) if self.of[c]]
        rng = np.random.default_rng(seed)
        self.backdrops = backgrounds.pool(rng, backdrops)
        self.quiet = backgrounds.pool(rng, max(1, backdrops // 4), backgrounds.EASY)
        self.noise = rng.normal(0, 1, (8, 256, 256, 1)).astype(np.float32)

    def sprite(self, rng, concept, line_art=0.25):
        """A sprite of the concept: first the style, then one of its icons."""
        styles = self.of[concept]
        plain = [key for key in styles if key[1] == 0]
        drawn = [key for key in styles if key[1] == 1]
        keys = drawn if drawn and rng.random() < line_art else plain
        glyphs = [key for key in keys if PACKAGES.get(key[0], {}).get("glyph")]
        if glyphs and len(glyphs) < len(keys):  # shapes without colours: a quarter, however many sets of them there are
            keys = glyphs if rng.random() < 0.25 else [key for key in keys if key not in glyphs]
        choices = styles[keys[rng.integers(len(keys))]]
        return choices[rng.integers(len(choices))]


def turn_colours(angle, saturation, gain, shift, permute=None):
    """4 x 4 matrix on premultiplied RGBA: hue rotation about the grey axis, saturation, gain, brightness."""
    c, s = np.cos(angle), np.sin(angle)
    third, root = 1 / 3, np.sqrt(1 / 3)
    turn = np.full((3, 3), (1 - c) * third) + np.eye(3) * c
    turn += s * root * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    grey = np.tile([0.299, 0.587, 0.114], (3, 1))
    matrix = np.eye(4, dtype=np.float32)
    mix = (grey * (1 - saturation) + np.eye(3) * saturation) @ turn
    if permute is not None:
        mix = mix[permute]
    matrix[:3, :3] = mix * np.asarray(gain)[:, None]
    matrix[:3, 3] = shift
    return matrix


def sprite_colours(rng, phase, mono):
    if mono:
        matrix = np.zeros((4, 4), np.float32)
        matrix[:3, 3] = rng.uniform(0, 1, 3) * (1 if rng.random() < 0.6 else 0.25)
        matrix[3, 3] = 1
        return matrix
    kind = rng.random()
    if kind < phase.colour * 0.4:  # grey
        return turn_colours(0, rng.uniform(0, 0.25), rng.uniform(0.6, 1.1, 3), rng.uniform(-0.1, 0.25))
    if kind < phase.colour * 0.9:  # any hue
        return turn_colours(rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.4), rng.uniform(0.7, 1.2, 3), rng.uniform(-0.1, 0.15))
    if kind < phase.colour:  # negative
        return turn_colours(0, 1, (-1, -1, -1), 1)
    return turn_colours(rng.normal(0, 0.15), rng.uniform(0.6, 1.3), rng.uniform(0.8, 1.2, 3), rng.uniform(-0.08, 0.08))


def whiten(patch):
    """Line art with empty fills: what is not a line (art.line_art draws those near 0.11, fills from 0.27) becomes white."""
    alpha = patch[..., 3:]
    fill = np.clip((patch[..., :3].max(-1, keepdims=True) - 0.13 * alpha) / np.maximum(0.12 * alpha, 1e-4), 0, 1)
    patch[..., :3] += fill * (alpha - patch[..., :3])


def drawn(rng, bank, number, size, phase):
    """One sprite as it will appear: float32 RGBA 0..1 premultiplied, longer side about `size`."""
    level = max(i for i, side in enumerate(bank.levels) if i == 0 or side >= 0.8 * size)
    mip = bank.mips[number][level]
    high, wide = mip.shape[:2]
    scale = size / bank.levels[level]
    aspect = np.exp(rng.normal(0, 0.1))
    turned = rng.normal(0, 0.22) if rng.random() >= phase.spin else rng.uniform(-np.pi, np.pi)
    fx = scale * aspect**0.5 * (-1 if rng.random() < 0.5 else 1)
    fy = scale / aspect**0.5
    c, s = np.cos(turned), np.sin(turned)
    lean = rng.normal(0, phase.lean) if phase.lean else 0.0
    matrix = np.array([[c * fx, (c * lean - s) * fy, 0], [s * fx, (s * lean + c) * fy, 0]], np.float32)
    out_w = int(np.ceil(abs(matrix[0, 0]) * wide + abs(matrix[0, 1]) * high)) + 2
    out_h = int(np.ceil(abs(matrix[1, 0]) * wide + abs(matrix[1, 1]) * high)) + 2
    matrix[:, 2] = (out_w / 2 - 0.5, out_h / 2 - 0.5) - matrix[:, :2] @ ((wide - 1) / 2, (high - 1) / 2)
    patch = cv2.warpAffine(mip, matrix, (out_w, out_h), flags=cv2.INTER_LINEAR).astype(np.float32) / 255
    if number in bank.lines and rng.random() < 0.4:
        whiten(patch)
    patch = cv2.transform(patch, sprite_colours(rng, phase, number in bank.mono))
    np.clip(patch[..., :3], 0, patch[..., 3:], out=patch[..., :3])
    if rng.random() < 0.06:  # an outline around the whole sprite
        paint = rng.choice([0.0, 0.1, 1.0])
        fat = cv2.dilate(patch[..., 3], np.ones((3, 3), np.uint8))
        rest = (fat - patch[..., 3])[..., None]
        patch = np.concatenate([patch[..., :3] + rest * paint, fat[..., None]], -1)
    return patch


def paste(canvas, owner, patch, x, y, index, shadow):
    """Draws `patch` with its corner at (x, y), parts outside are cut."""
    side = owner.shape[0]
    high, wide = patch.shape[:2]
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + wide, side), min(y + high, side)
    if x1 <= x0 or y1 <= y0:
        return
    view = patch[y0 - y:y1 - y, x0 - x:x1 - x]
    alpha = view[..., 3:]
    target = canvas[y0:y1, x0:x1]
    if shadow:
        soft = cv2.blur(alpha, (5, 5))
        moved = np.zeros_like(soft)
        moved[2:, 1:] = soft[:-2, :-1]
        target *= 1 - shadow * moved[..., None]
    target *= 1 - alpha
    target += view[..., :3]
    owner[y0:y1, x0:x1][alpha[..., 0] > 0.5] = index


def backdrop(rng, bank, phase):
    pool = bank.quiet if rng.random() < phase.easy else bank.backdrops
    kind, picture = pool[rng.integers(len(pool))]
    side = picture.shape[0]
    crop = int(side * rng.uniform(0.6, 1))
    x, y = rng.integers(side - crop + 1, size=2)
    view = picture[y:y + crop, x:x + crop]
    if rng.random() < 0.5:
        view = view[:, ::-1]
    canvas = cv2.resize(view, (phase.side, phase.side), interpolation=cv2.INTER_AREA if crop > phase.side else cv2.INTER_LINEAR)
    canvas = canvas.astype(np.float32) / 255
    if rng.random() < 0.3:
        matrix = turn_colours(rng.uniform(0, 2 * np.pi), rng.uniform(0, 1.2), (1, 1, 1), 0)[:3, :3]
        canvas = np.clip(cv2.transform(canvas, matrix), 0, 1)
    return kind, canvas


def effects(rng, bank, image):
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.0))
    if rng.random() < 0.5:
        side = image.shape[0]
        if side <= 256:
            x, y = rng.integers(257 - side, size=2)
            image = image + bank.noise[rng.integers(8), y:y + side, x:x + side] * rng.uniform(0.01, 0.06)
    if rng.random() < 0.5:
        image = (image - 0.5) * rng.uniform(0.6, 1.3) + 0.5 + rng.uniform(-0.1, 0.1)
    if rng.random() < 0.2:
        image = np.repeat((image @ np.array([0.299, 0.587, 0.114], np.float32))[..., None], 3, 2)
    return image


def pick_concepts(rng, bank, count):
    """Up to `count` concepts; pairs in `bank.held` never meet. Sometimes one comes several times."""
    known = bank.known
    chosen = [known[rng.integers(len(known))]] if count else []
    repeat = rng.random() < 0.15
    for _ in range(count - 1):
        if repeat:
            chosen.append(chosen[0])
            repeat = rng.random() < 0.5
            continue
        for _ in range(12):
            other = known[rng.integers(len(known))]
            if other not in chosen and not bank.held[other, chosen].any():
                chosen.append(other)
                break
    return chosen


def compose(rng, bank, phase, chosen=None, sprite=None):
    """One scene. `chosen`: concepts in drawing order (default: drawn by the phase); `sprite(rng, concept)`: which picture."""
    if chosen is None:
        count = int(rng.choice(len(phase.objects), p=phase.objects))
        chosen = pick_concepts(rng, bank, count)
    kind, canvas = backdrop(rng, bank, phase)
    side = phase.side
    owner = np.zeros((side, side), np.uint8)
    low, high = phase.size
    shrink = 1 / max(1, len(chosen)) ** 0.4
    placed = []
    for index, concept in enumerate(chosen, 1):
        size = side * rng.uniform(low, max(low * 1.3, high * shrink))
        number = (sprite or bank.sprite)(rng, concept)
        patch = drawn(rng, bank, number, size, phase)
        tall, wide = patch.shape[:2]
        for attempt in range(12):
            margin = 0.12 if phase.effects else 0.0
            x = int(rng.uniform(-wide * margin, max(1, side - wide * (1 - margin))))
            y = int(rng.uniform(-tall * margin, max(1, side - tall * (1 - margin))))
            worst = 0.0
            for ox, oy, ow, oh in placed:
                over = max(0, min(x + wide, ox + ow) - max(x, ox)) * max(0, min(y + tall, oy + oh) - max(y, oy))
                worst = max(worst, over / max(1, min(wide * tall, ow * oh)))
            if worst < 0.15 + 0.01 * attempt:
                break
        else:
            continue
        shadow = rng.uniform(0.1, 0.5) if rng.random() < 0.3 else 0.0
        paste(canvas, owner, patch, x, y, index, shadow)
        placed.append((x, y, wide, tall))
    if rng.random() < phase.effects:
        canvas = effects(rng, bank, canvas)
    image = (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)
    scene = Scene(image, np.zeros_like(owner), background=backgrounds.KINDS[kind][0], ground=backgrounds.KINDS[kind][1])
    for index, concept in enumerate(chosen, 1):
        mask = owner == index
        pixels = int(mask.sum())
        if pixels < 0.004 * side * side:  # not placed, or hidden: no label
            continue
        scene.objects.append(concept)
        rows, columns = np.nonzero(mask)
        scene.boxes.append((columns.mean() / side, rows.mean() / side))
        scene.owner[mask] = len(scene.objects)
    return scene


def coverage(scene, patch):
    """{concept: its pixels in each patch, [patches]} of one scene."""
    n = scene.owner.shape[0] // patch
    out = {}
    for index, concept in enumerate(scene.objects, 1):
        pixels = (scene.owner == index).reshape(n, patch, n, patch).sum((1, 3)).reshape(-1)
        out[concept] = out.get(concept, 0) + pixels
    return out


def batch(bank, phase, seed, step, rank, size, patch):
    """(images uint8 [size, side, side, 3], what each shows, captions, (owners [R, 2], pixels [R, patches])): a pure function of
    its arguments.

    What is shown: numbers of concepts, then of grounds, counted on from the last concept. `owners`: image and concept of a row of
    `pixels`, which says how many pixels of it lie in each patch.
    """
    rng = np.random.default_rng([seed, step, rank])
    scenes = [compose(rng, bank, phase) for _ in range(size)]
    images = np.stack([scene.image for scene in scenes])
    first = {ground.name: len(bank.concepts) + i for i, ground in enumerate(bank.grounds)}
    shown = [scene.present() + [first[name] for name in scene.ground] for scene in scenes]
    rows = [(i, concept, pixels) for i, scene in enumerate(scenes) for concept, pixels in coverage(scene, patch).items()]
    owners = np.array([row[:2] for row in rows], np.int64).reshape(-1, 2)
    pixels = np.array([row[2] for row in rows], np.int64).reshape(len(rows), (phase.side // patch) ** 2)
    told = [captions.caption(rng, bank.concepts, scene) for scene in scenes]
    return images, shown, told, (torch.from_numpy(owners), torch.from_numpy(pixels))
