#!/usr/bin/env python3
# /// script
# requires-python = ">=3.9"
# dependencies = ["numpy>=1.24", "pillow>=10", "resvg-py==0.5.0"]
# ///
"""Compose the demo pictures in `weights/demo/` with exact ground-truth masks.

    python3 -m venv /tmp/scenes && /tmp/scenes/bin/pip install numpy pillow resvg-py==0.5.0
    /tmp/scenes/bin/python tools/scene/make_scenes.py                  # all scenes, into weights/demo
    /tmp/scenes/bin/python tools/scene/make_scenes.py --only scene_2 --out /tmp/look
    /tmp/scenes/bin/python tools/scene/make_scenes.py --list
    /tmp/scenes/bin/python tools/scene/make_scenes.py --check          # compare with the committed pictures

Needs `npm` once, to fetch two openly licensed icon packages (pinned in `PACKAGES`) into a temporary folder; pass
`--art DIR` to use a folder that holds `node_modules/@iconify-json/...` already. Nothing of the packages is kept
except what is drawn into the pictures.

Per scene NAME it writes
  NAME.png         the picture, 8-bit RGB
  NAME.masks.png   same size, 8-bit grey: 0 = background, k = the k-th label of NAME.json. A pixel belongs to the
                   topmost object that covers at least half of it; shadows belong to the background
  NAME.json        labels in mask order; box, pixel count, art source and licence of every object

Backgrounds are drawn by this file (SVG, seeded), objects are icons cut to their outline. A scene is plain data: to
make your own, add an entry to `SCENES` (or copy one) and run the tool. The output depends only on this file, the
pinned packages and the pinned renderer: no clock, no unseeded randomness.
"""

import argparse
import io
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image, ImageChops, ImageFilter

# npm package -> what we say about it. Only Apache-2.0 and MIT art may be committed.
PACKAGES = {
    "noto": {
        "npm": "@iconify-json/noto",
        "version": "1.2.9",
        "title": "Noto Emoji",
        "author": "Google Inc",
        "licence": "Apache-2.0",
        "source": "https://github.com/googlefonts/noto-emoji",
    },
    "fluent-emoji": {
        "npm": "@iconify-json/fluent-emoji",
        "version": "1.2.7",
        "title": "Fluent Emoji",
        "author": "Microsoft Corporation",
        "licence": "MIT",
        "source": "https://github.com/microsoft/fluentui-emoji",
    },
}

SUPERSAMPLE = 2  # pictures are composed at twice their size and reduced once


# ------------------------------------------------------------------------------------------------ scenes
# An object: label (a concept the bundled model knows), "set:icon", x of its middle, y of its lowest pixel, height,
# all as fractions of the picture's width / height / height. Later objects lie in front of earlier ones.
# Optional: angle (degrees, counter-clockwise), flip, ground = False (hangs or floats: no shadow on the ground).

SCENES = {
    "scene": {
        "title": "An afternoon in the park",
        "size": (480, 360),
        "background": "park",
        "seed": 6,
        "objects": [
            {"label": "house", "icon": "noto:house", "x": 0.562, "y": 0.525, "height": 0.400},
            {"label": "tree", "icon": "fluent-emoji:deciduous-tree", "x": 0.216, "y": 0.727, "height": 0.560},
            {"label": "helicopter", "icon": "fluent-emoji:helicopter", "x": 0.844, "y": 0.474, "height": 0.360, "ground": False},
            {"label": "teddy bear", "icon": "fluent-emoji:teddy-bear", "x": 0.518, "y": 0.901, "height": 0.440},
            {"label": "basketball", "icon": "noto:basketball", "x": 0.815, "y": 0.943, "height": 0.300},
        ],
    },
    "scene_2": {
        "title": "By the sea",
        "size": (432, 288),
        "background": "beach",
        "seed": 25,
        "objects": [
            {"label": "sailboat", "icon": "fluent-emoji:sailboat", "x": 0.477, "y": 0.602, "height": 0.460, "flip": True, "ground": False},
            {"label": "palm tree", "icon": "fluent-emoji:palm-tree", "x": 0.198, "y": 0.883, "height": 0.660},
            {"label": "turtle", "icon": "fluent-emoji:turtle", "x": 0.499, "y": 0.957, "height": 0.360},
            {"label": "flamingo", "icon": "fluent-emoji:flamingo", "x": 0.771, "y": 0.869, "height": 0.620, "flip": True},
        ],
    },
    "scene_3": {
        "title": "Lunch at the desk",
        "size": (320, 400),
        "background": "room",
        "seed": 17,
        "objects": [
            {"label": "balloon", "icon": "fluent-emoji:balloon", "x": 0.211, "y": 0.410, "height": 0.400, "ground": False},
            {"label": "laptop", "icon": "noto:laptop", "x": 0.646, "y": 0.586, "height": 0.360},
            {"label": "hamburger", "icon": "noto:hamburger", "x": 0.309, "y": 0.786, "height": 0.280},
            {"label": "donut", "icon": "fluent-emoji:doughnut", "x": 0.667, "y": 0.879, "height": 0.300},
        ],
    },
    "scene_4": {
        "title": "A winter night",
        "size": (384, 384),
        "background": "snow",
        "seed": 38,
        "objects": [
            {"label": "christmas tree", "icon": "noto:christmas-tree", "x": 0.277, "y": 0.772, "height": 0.600},
            {"label": "moon", "icon": "fluent-emoji:crescent-moon", "x": 0.730, "y": 0.370, "height": 0.360, "flip": True, "ground": False},
            {"label": "bear", "icon": "noto:bear", "x": 0.538, "y": 0.905, "height": 0.260, "flip": True},
            {"label": "penguin", "icon": "fluent-emoji:penguin", "x": 0.841, "y": 0.923, "height": 0.300},
        ],
    },
}


# ------------------------------------------------------------------------------------------------ backgrounds
def gradient(name, *stops):
    rows = "".join(f'<stop offset="{o}" stop-color="{c}"/>' for o, c in stops)
    return f'<linearGradient id="{name}" x1="0" y1="0" x2="0" y2="1">{rows}</linearGradient>'


def hill(rng, w, h, y, swell, fill, waves=2.0):
    """A filled region below a smooth wavy line at height y (fractions of h)."""
    phase, step = rng.uniform(0, 2 * math.pi), 12
    points = [
        (w * i / step, h * (y + swell * math.sin(phase + waves * 2 * math.pi * i / step / 1.7)))
        for i in range(-1, step + 2)
    ]
    path = f"M{points[0][0]:.1f},{points[0][1]:.1f}"
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        mid = (x0 + x1) / 2
        path += f"C{mid:.1f},{y0:.1f} {mid:.1f},{y1:.1f} {x1:.1f},{y1:.1f}"
    return f'<path d="{path}L{w * 1.2:.1f},{h * 1.1:.1f}L{-w * 0.2:.1f},{h * 1.1:.1f}Z" fill="{fill}"/>'


def tufts(rng, w, h, top, count, colours):
    """Small grass blades, larger toward the viewer."""
    rows = []
    for y in sorted(rng.uniform(top, 1.0) for _ in range(count)):
        x, near = rng.uniform(0, w), (y - top) / (1 - top)
        size = h * (0.008 + 0.016 * near)
        blades = "".join(
            f"M{x + d * size * 0.4:.1f},{y * h:.1f}q{d * size * 0.2:.1f},{-size * 0.6:.1f} {d * size * 0.6:.1f},{-size:.1f}"
            for d in (-1, 0, 1)
        )
        rows.append(
            f'<path d="{blades}" stroke="{rng.choice(colours)}" stroke-width="{0.8 + 0.9 * near:.2f}" '
            f'stroke-linecap="round" fill="none" opacity="0.75"/>'
        )
    return "".join(rows)


def park(rng, w, h):
    return (
        "<defs>" + gradient("sky", (0, "#7fc4ee"), (0.6, "#d5eefa"), (1, "#eef8f4"))
        + gradient("lawn", (0, "#b5d774"), (1, "#6faf4a"))
        + gradient("path", (0, "#f0dfb2"), (1, "#e3c98d")) + "</defs>"
        + f'<rect width="{w}" height="{h}" fill="url(#sky)"/>'
        + hill(rng, w, h, 0.46, 0.035, "#a9cfc0")
        + hill(rng, w, h, 0.51, 0.020, "#a3cb85")
        + f'<rect y="{h * 0.53:.1f}" width="{w}" height="{h * 0.47:.1f}" fill="url(#lawn)"/>'
        + f'<path d="M{w * 0.49:.1f},{h * 0.545:.1f}C{w * 0.54:.1f},{h * 0.62:.1f} {w * 0.80:.1f},{h * 0.66:.1f} '
        f"{w * 0.86:.1f},{h * 1.02:.1f}L{w * 1.1:.1f},{h * 1.02:.1f}C{w * 0.98:.1f},{h * 0.66:.1f} {w * 0.62:.1f},{h * 0.62:.1f} "
        f'{w * 0.52:.1f},{h * 0.545:.1f}Z" fill="url(#path)"/>'
        + tufts(rng, w, h, 0.57, 90, ("#5c9a3f", "#86bf57", "#4f8c3a"))
    )


def beach(rng, w, h):
    glints = "".join(
        f'<path d="M{x:.1f},{y:.1f}h{rng.uniform(8, 26) * w / 480:.1f}" stroke="#ffffff" stroke-width="1.4" '
        f'stroke-linecap="round" opacity="{rng.uniform(0.25, 0.6):.2f}"/>'
        for x, y in ((rng.uniform(0, w), h * rng.uniform(0.44, 0.66)) for _ in range(26))
    )
    grains = "".join(
        f'<circle cx="{rng.uniform(0, w):.1f}" cy="{h * rng.uniform(0.76, 1):.1f}" r="{rng.uniform(0.5, 1.2):.2f}" '
        f'fill="{rng.choice(("#cfae6e", "#fff3d2"))}" opacity="0.6"/>'
        for _ in range(160)
    )
    return (
        "<defs>" + gradient("sky", (0, "#8fd0f2"), (1, "#e9f7fb"))
        + gradient("sea", (0, "#3f9fce"), (1, "#8fdad9"))
        + gradient("sand", (0, "#f6e3b4"), (1, "#e6c98c")) + "</defs>"
        + f'<rect width="{w}" height="{h}" fill="url(#sky)"/>'
        + f'<rect y="{h * 0.42:.1f}" width="{w}" height="{h * 0.4:.1f}" fill="url(#sea)"/>'
        + glints
        + hill(rng, w, h, 0.705, 0.014, "#ffffff")
        + hill(random.Random(1), w, h, 0.725, 0.016, "url(#sand)")
        + grains
    )


def room(rng, w, h):
    stripes = "".join(
        f'<rect x="{x * w / 10:.1f}" width="{w / 20:.1f}" height="{h * 0.62:.1f}" fill="#ffffff" opacity="0.22"/>' for x in range(10)
    )
    return (
        "<defs>" + gradient("wall", (0, "#cfe3ea"), (1, "#e6f0ee"))
        + gradient("table", (0, "#d9b48a"), (1, "#b98a5c")) + "</defs>"
        + f'<rect width="{w}" height="{h}" fill="url(#wall)"/>'
        + stripes
        + f'<rect y="{h * 0.535:.1f}" width="{w}" height="{h * 0.5:.1f}" fill="url(#table)"/>'
        + f'<rect y="{h * 0.535:.1f}" width="{w}" height="{h * 0.008:.1f}" fill="#ecd0ad"/>'
        + "".join(
            f'<path d="M0,{y * h:.1f}C{w * 0.3:.1f},{(y + rng.uniform(-0.012, 0.012)) * h:.1f} '
            f'{w * 0.7:.1f},{(y + rng.uniform(-0.012, 0.012)) * h:.1f} {w},{y * h:.1f}" stroke="#a67a4e" '
            f'stroke-width="1.2" fill="none" opacity="0.35"/>'
            for y in (0.60, 0.68, 0.77, 0.87, 0.96)
        )
    )


def snow(rng, w, h):
    flakes = "".join(
        f'<circle cx="{rng.uniform(0, w):.1f}" cy="{rng.uniform(0, h):.1f}" r="{rng.uniform(0.8, 2.2):.2f}" fill="#ffffff" opacity="0.8"/>'
        for _ in range(70)
    )
    return (
        "<defs>" + gradient("sky", (0, "#5f8fc2"), (1, "#d5e4f3"))
        + gradient("ground", (0, "#eef4fb"), (1, "#cfdff0")) + "</defs>"
        + f'<rect width="{w}" height="{h}" fill="url(#sky)"/>'
        + hill(rng, w, h, 0.44, 0.05, "#a9c3de", 3)
        + hill(rng, w, h, 0.50, 0.03, "#c6d8ea", 2)
        + hill(rng, w, h, 0.56, 0.02, "url(#ground)")
        + flakes
    )


BACKGROUNDS = {"park": park, "beach": beach, "room": room, "snow": snow}


# ------------------------------------------------------------------------------------------------ drawing
def draw_svg(text):
    return Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=text)))).convert("RGBA")


def fetch_art(folder):
    """Install the pinned packages into `folder` with npm (no scripts run) and return the folder."""
    if shutil.which("npm") is None:
        sys.exit("make_scenes: `npm` not found. Install Node.js, or pass --art DIR with node_modules/@iconify-json inside")
    wanted = [f"{p['npm']}@{p['version']}" for p in PACKAGES.values()]
    print("fetching", ", ".join(wanted), file=sys.stderr)
    (Path(folder) / "package.json").write_text('{"private": true}\n')
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", *wanted]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder


class Art:
    """The icon sets, checked against the versions and licences that this file states."""

    def __init__(self, folder):
        self.sets = {}
        for key, package in PACKAGES.items():
            root = Path(folder) / "node_modules" / package["npm"]
            if not root.is_dir():
                sys.exit(f"make_scenes: {root} is missing; install {package['npm']}@{package['version']} there")
            found = json.loads((root / "package.json").read_text())
            for field, want in (("version", package["version"]), ("license", package["licence"])):
                if found.get(field) != want:
                    sys.exit(f"make_scenes: {package['npm']} has {field} {found.get(field)!r}, expected {want!r}")
            self.sets[key] = json.loads((root / "icons.json").read_text())

    def sprite(self, icon, height, angle=0.0, flip=False):
        """RGBA sprite of the icon, trimmed to its outline, exactly `height` pixels high."""
        key, name = icon.split(":")
        if name not in self.sets[key]["icons"]:
            sys.exit(f"make_scenes: no icon {name!r} in {PACKAGES[key]['npm']}")
        entry, default = self.sets[key]["icons"][name], self.sets[key]
        w, h = entry.get("width", default.get("width", 16)), entry.get("height", default.get("height", 16))

        def render(pixels):
            image = draw_svg(
                f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{entry.get("left", 0)} '
                f'{entry.get("top", 0)} {w} {h}" width="{pixels}" height="{round(pixels * h / w)}">{entry["body"]}</svg>'
            )
            if flip:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            if angle:
                image = image.rotate(angle, Image.Resampling.BICUBIC, expand=True)
            return image.crop(image.getchannel("A").point(lambda a: 255 if a > 8 else 0).getbbox())

        probe = render(512)  # learn how much of its square the icon fills, then render near the final size
        image = render(max(16, round(512 * height / probe.height)))
        return image.resize((max(1, round(image.width * height / image.height)), height), Image.Resampling.LANCZOS)


def soft_shadow(canvas, alpha, left, top, ground):
    """Darken the canvas under an object: a flat blurred ellipse at its foot, or a faint drop shadow."""
    w, h = canvas.size
    shade = Image.new("L", canvas.size, 0)
    if ground:
        flat = alpha.resize((alpha.width, max(2, alpha.height // 7)), Image.Resampling.BILINEAR)
        shade.paste(flat, (left + alpha.width // 14, top + alpha.height - flat.height * 2 // 3), flat)
        blur, strength = alpha.height / 30, 0.36
    else:
        shade.paste(alpha, (left + alpha.width // 24, top + alpha.height // 24), alpha)
        blur, strength = alpha.height / 20, 0.14
    shade = shade.filter(ImageFilter.GaussianBlur(blur)).point(lambda a: round(a * strength))
    canvas.paste(Image.new("RGB", (w, h), (28, 36, 64)), (0, 0), shade)


def compose(art, scene):
    """Returns (picture RGB, label image L, rows for the json file)."""
    (width, height), k = scene["size"], SUPERSAMPLE
    w, h = width * k, height * k
    body = BACKGROUNDS[scene["background"]](random.Random(scene["seed"]), width, height)
    canvas = draw_svg(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{w}" height="{h}">{body}</svg>'
    ).convert("RGB")
    owner = np.zeros((height, width), np.uint8)
    for index, item in enumerate(scene["objects"], 1):
        sprite = art.sprite(item["icon"], round(item["height"] * h), item.get("angle", 0.0), item.get("flip", False))
        left, top = round(item["x"] * w - sprite.width / 2), round(item["y"] * h - sprite.height)
        alpha = sprite.getchannel("A")
        soft_shadow(canvas, alpha, left, top, item.get("ground", True))
        canvas.paste(sprite.convert("RGB"), (left, top), alpha)
        cover = Image.new("L", (w, h), 0)
        cover.paste(alpha, (left, top))
        owner[np.asarray(cover.resize((width, height), Image.Resampling.BOX)) >= 128] = index
    picture = canvas.resize((width, height), Image.Resampling.LANCZOS)
    rows = []
    for index, item in enumerate(scene["objects"], 1):
        ys, xs = np.nonzero(owner == index)
        if len(ys) == 0:
            sys.exit(f"make_scenes: {item['label']} is hidden completely")
        package = PACKAGES[item["icon"].split(":")[0]]
        rows.append(
            {
                "mask": index,
                "label": item["label"],
                "box": [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1],
                "pixels": int(len(ys)),
                "icon": item["icon"],
                "art": package["title"],
                "author": package["author"],
                "licence": package["licence"],
                "source": package["source"],
                "package": f"{package['npm']}@{package['version']}",
            }
        )
    return picture, Image.fromarray(owner), rows


def dump(info):
    """JSON with one object per line: short and easy to diff."""
    head = {k: v for k, v in info.items() if k != "objects"}
    text = json.dumps(head, indent=1)[:-2]
    objects = ",\n  ".join(json.dumps(row) for row in info["objects"])
    return f'{text},\n "objects": [\n  {objects}\n ]\n}}\n'


def save(path, write):
    """Write to a temporary name in the same folder, then rename."""
    temporary = path.with_name(f".{path.name}.part")
    write(temporary)
    os.replace(temporary, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[2] / "weights" / "demo", help="output folder (default: weights/demo)")
    parser.add_argument("--art", type=Path, help="folder with node_modules/@iconify-json/* (default: fetch with npm into a temporary folder)")
    parser.add_argument("--only", action="append", choices=sorted(SCENES), help="make only this scene (repeatable)")
    parser.add_argument("--list", action="store_true", help="print the scenes and their labels, draw nothing")
    parser.add_argument("--check", action="store_true", help="draw, but compare with the files in --out instead of writing")
    options = parser.parse_args()
    names = options.only or list(SCENES)
    if options.list:
        for name in names:
            print(f"{name}\t{SCENES[name]['title']}\t{', '.join(o['label'] for o in SCENES[name]['objects'])}")
        return
    with tempfile.TemporaryDirectory(prefix="scene-art-") as temporary:
        art = Art(options.art or fetch_art(temporary))
    options.out.mkdir(parents=True, exist_ok=True)
    different = []
    for name in names:
        scene = SCENES[name]
        picture, masks, rows = compose(art, scene)
        picture_path, masks_path, info_path = (options.out / f"{name}{end}" for end in (".png", ".masks.png", ".json"))
        info = {
            "title": scene["title"],
            "image": picture_path.name,
            "masks": masks_path.name,
            "size": list(scene["size"]),
            "background": f"{scene['background']}, drawn by tools/scene/make_scenes.py, seed {scene['seed']}",
            "labels": [row["label"] for row in rows],
            "objects": rows,
        }
        if options.check:
            for path, new in ((picture_path, picture), (masks_path, masks)):
                if not path.exists() or ImageChops.difference(Image.open(path), new).getbbox():
                    different.append(path.name)
            if not info_path.exists() or info_path.read_text() != dump(info):
                different.append(info_path.name)
            continue
        save(picture_path, lambda p: picture.save(p, "PNG", optimize=True))
        save(masks_path, lambda p: masks.save(p, "PNG", optimize=True))
        save(info_path, lambda p: p.write_text(dump(info)))
        print(f"{picture_path}\t{scene['size'][0]}x{scene['size'][1]}\t{picture_path.stat().st_size} bytes\t{', '.join(info['labels'])}")
    if options.check:
        if different:
            sys.exit("make_scenes: differs from the committed files: " + ", ".join(different))
        print(f"{len(names)} scenes equal the files in {options.out}")


if __name__ == "__main__":
    main()
