"""Procedural backgrounds: uint8 RGB squares, each with the word that captions may use for it."""

import cv2
import numpy as np

SIDE = 128


def colour(rng, low=0, high=255):
    return rng.integers(low, high + 1, 3).astype(np.float32)


def near(rng, base, spread=25):
    return np.clip(np.asarray(base, np.float32) + rng.uniform(-spread, spread, 3), 0, 255).astype(np.float32)


def ramp(top, bottom, n=SIDE):
    t = np.linspace(0, 1, n, dtype=np.float32)[:, None, None]
    return np.broadcast_to(top * (1 - t) + bottom * t, (n, n, 3)).copy()


def clouds(rng, octaves=4, start=3):
    """Smooth noise in 0..1, [SIDE, SIDE]."""
    total, weight = np.zeros((SIDE, SIDE), np.float32), 0.0
    for octave in range(octaves):
        n = start * 2**octave
        layer = cv2.resize(rng.random((n, n), np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        total += layer / 2**octave
        weight += 1 / 2**octave
    return np.clip(total / weight, 0, 1)


def horizon(rng, image, base, texture=12):
    """Paints a ground of colour `base` below a wavy line."""
    y = SIDE * rng.uniform(0.4, 0.75)
    x = np.arange(SIDE)
    line = y + rng.uniform(0, 8) * np.sin(x / rng.uniform(8, 40) + rng.uniform(0, 6))
    ground = np.arange(SIDE)[:, None] > line[None]
    paint = ramp(near(rng, base), near(rng, base, 40)) + (clouds(rng, 3, 8)[..., None] - 0.5) * 2 * texture
    image[ground] = paint[ground]
    return image


SKIES = ([120, 190, 240], [180, 215, 240], [250, 190, 150], [150, 160, 180])
GROUNDS = {
    "grass": [110, 170, 80], "a beach": [235, 210, 150], "snow": [235, 242, 250], "water": [70, 140, 200], "a desert": [220, 170, 110],
}


def ground(word):
    def draw(rng):
        sky = near(rng, SKIES[rng.integers(len(SKIES))])
        return horizon(rng, ramp(sky, near(rng, sky + 30)), GROUNDS[word], rng.uniform(2, 25))

    return draw


def night(rng):
    image = ramp(near(rng, [15, 20, 50], 15), near(rng, [40, 40, 90], 20))
    stars = rng.random((SIDE, SIDE)) < 0.004
    image[stars] = 230
    return horizon(rng, image, [30, 45, 40], 6) if rng.random() < 0.5 else image


def plain(rng):
    fill = colour(rng) if rng.random() < 0.6 else rng.choice([0, 255, 245, 30])
    return np.full((SIDE, SIDE, 3), fill, np.float32)


def gradient(rng):
    image = ramp(colour(rng), colour(rng))
    return np.rot90(image, rng.integers(4)).copy()


def marble(rng):
    t = clouds(rng, 5, int(rng.integers(2, 8)))[..., None]
    t = np.clip((t - 0.5) * rng.uniform(1, 4) + 0.5, 0, 1)
    return colour(rng) * (1 - t) + colour(rng) * t


def painted(rng):
    """Three independent colour channels of smooth noise: like a photograph out of focus."""
    return np.dstack([clouds(rng, 4, int(rng.integers(2, 6))) for _ in range(3)]) * 255


def grain(rng):
    n = int(rng.choice([16, 32, 64, 128]))
    image = np.clip(colour(rng) + rng.normal(0, rng.uniform(10, 60), (n, n, 3)), 0, 255).astype(np.float32)
    return cv2.resize(image, (SIDE, SIDE), interpolation=int(rng.choice([cv2.INTER_NEAREST, cv2.INTER_LINEAR])))


def stripes(rng):
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(6, 40)
    wave = ((x * np.cos(angle) + y * np.sin(angle)) % period) < period * rng.uniform(0.3, 0.7)
    return np.where(wave[..., None], colour(rng), colour(rng)).astype(np.float32)


def checker(rng):
    n = int(rng.integers(6, 32))
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.where((((x // n) + (y // n)) % 2)[..., None] > 0, colour(rng), colour(rng)).astype(np.float32)


def dots(rng):
    image = np.full((SIDE, SIDE, 3), colour(rng), np.float32)
    step, paint = int(rng.integers(10, 30)), colour(rng).tolist()
    for y in range(0, SIDE + step, step):
        for x in range(0, SIDE + step, step):
            cv2.circle(image, (x, y), max(2, step // 4), paint, -1, cv2.LINE_AA)
    return image


def bricks(rng):
    image = np.full((SIDE, SIDE, 3), near(rng, [200, 195, 185]), np.float32)
    h, w, base = int(rng.integers(8, 16)), int(rng.integers(18, 34)), near(rng, [170, 90, 70], 50)
    for row, y in enumerate(range(0, SIDE, h)):
        for x in range(-(row % 2) * w // 2, SIDE, w):
            cv2.rectangle(image, (x + 1, y + 1), (x + w - 2, y + h - 2), near(rng, base, 15).tolist(), -1)
    return image


def road(rng):
    image = horizon(rng, ramp(near(rng, SKIES[0]), near(rng, SKIES[1])), [110, 110, 115], 8)
    x = SIDE * rng.uniform(0.3, 0.7)
    cv2.line(image, (int(x), SIDE // 2), (int(x + rng.uniform(-40, 40)), SIDE), (240, 240, 220), int(rng.integers(2, 6)), cv2.LINE_AA)
    return image


def room(rng):
    image = np.full((SIDE, SIDE, 3), near(rng, [225, 215, 200], 40), np.float32)
    y = int(SIDE * rng.uniform(0.55, 0.8))
    image[y:] = near(rng, [165, 120, 80], 40)
    for k in range(y, SIDE, int(rng.integers(6, 14))):
        image[k] *= 0.85
    if rng.random() < 0.5:
        x, w = int(rng.uniform(5, 80)), int(rng.uniform(20, 40))
        cv2.rectangle(image, (x, 12), (x + w, 12 + w), near(rng, SKIES[0]).tolist(), -1)
        cv2.rectangle(image, (x, 12), (x + w, 12 + w), (250, 250, 250), 3)
    return image


def shapes(rng):
    """Overlapping coloured shapes: clutter that is no object."""
    image = np.full((SIDE, SIDE, 3), colour(rng), np.float32)
    for _ in range(int(rng.integers(4, 18))):
        paint = colour(rng).tolist()
        x, y, r = int(rng.integers(SIDE)), int(rng.integers(SIDE)), int(rng.integers(5, 36))
        kind = rng.integers(4)
        if kind == 0:
            cv2.circle(image, (x, y), r, paint, int(rng.choice([-1, -1, 3])), cv2.LINE_AA)
        elif kind == 1:
            cv2.rectangle(image, (x, y), (x + r, y + int(rng.integers(5, 40))), paint, -1)
        elif kind == 2:
            cv2.fillPoly(image, [np.stack([[x, y]] * 4) + rng.integers(-r, r + 1, (4, 2))], paint, cv2.LINE_AA)
        else:
            cv2.ellipse(image, (x, y), (r, max(3, r // 3)), float(rng.uniform(0, 180)), 0, 360, paint, -1, cv2.LINE_AA)
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.8, 4)) if rng.random() < 0.4 else image


def patches(rng):
    """A mosaic of flat cells."""
    n = int(rng.integers(3, 12))
    image = cv2.resize(rng.uniform(0, 255, (n, n, 3)).astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    turn = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), float(rng.uniform(0, 90)), 1.5)
    return cv2.warpAffine(image, turn, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)


# Names of what a background shows, for prompts: canonical first. A model that learned them keeps grass out of the map of a cat.
NAMES = (
    ("sky",), ("grass", "meadow"), ("beach", "sand"), ("snow",), ("water", "sea"), ("desert",), ("night", "dark sky"),
    ("plain background",), ("gradient",), ("marble",), ("blur", "blurred colors"), ("noise", "grain"), ("stripes",),
    ("checkerboard",), ("dots",), ("brick wall", "bricks"), ("road", "street"), ("room", "wall"), ("shapes", "colorful shapes"),
    ("mosaic",),
)
# word for the caption ("" = none), what it shows (of NAMES), painter, weight
KINDS = [
    ("grass", ("grass", "sky"), ground("grass"), 1.0),
    ("a beach", ("beach", "sky"), ground("a beach"), 1.0),
    ("snow", ("snow", "sky"), ground("snow"), 1.0),
    ("water", ("water", "sky"), ground("water"), 1.0),
    ("a desert", ("desert", "sky"), ground("a desert"), 1.0),
    ("the night", ("night",), night, 1.0),
    ("a plain background", ("plain background",), plain, 2.0),
    ("", ("gradient",), gradient, 1.0),
    ("", ("marble",), marble, 1.0),
    ("", ("blur",), painted, 1.5),
    ("", ("noise",), grain, 1.0),
    ("stripes", ("stripes",), stripes, 0.7),
    ("a checkerboard", ("checkerboard",), checker, 0.5),
    ("dots", ("dots",), dots, 0.5),
    ("a brick wall", ("brick wall",), bricks, 0.7),
    ("a road", ("road", "sky"), road, 0.7),
    ("a room", ("room",), room, 1.0),
    ("", ("shapes",), shapes, 2.0),
    ("", ("mosaic",), patches, 1.0),
]
EASY = [5, 6, 7, 0, 1, 2]  # kinds that hide nothing


def draw(rng, kind):
    return np.clip(KINDS[kind][2](rng), 0, 255).astype(np.uint8)


def pool(rng, count, kinds=None):
    """[(kind, picture)] drawn by weight."""
    kinds = list(range(len(KINDS))) if kinds is None else kinds
    weight = np.array([KINDS[kind][3] for kind in kinds])
    picks = rng.choice(len(kinds), count, p=weight / weight.sum())
    return [(kinds[pick], draw(rng, kinds[pick])) for pick in picks]
