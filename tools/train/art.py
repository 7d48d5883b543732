"""Openly licensed art: fetch pinned npm packages, check them, render the concepts' icons, keep them as one .npz."""

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from common import HERE, Problem, say, whole_file
from concepts import load

SIDE = 96  # the longer side of a stored sprite, pixels
PACKAGES = json.loads((HERE / "packages.json").read_text())


@dataclass
class Art:
    """RGBA sprites, straight alpha, uint8, trimmed; parallel lists."""

    sprites: list
    concept: np.ndarray  # index into the concept table
    style: np.ndarray  # index into `styles`
    variant: np.ndarray  # 0 as published, 1 line art
    icon: list
    styles: list


def fetch(name, row, folder):
    """Downloads one package with npm and checks version, licence and sha512; returns the tarball's path."""
    if shutil.which("npm") is None:
        raise Problem("npm not found: install Node.js, or pass --art FILE made by `art` on another machine")
    wanted = f"{row['npm']}@{row['version']}"
    done = subprocess.run(
        ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder), wanted],
        cwd=folder, capture_output=True, text=True,
    )
    path = folder / done.stdout.strip().split("\n")[-1]
    if done.returncode != 0 or not path.is_file():
        why = [line for line in done.stderr.strip().split("\n") if line][-3:]
        raise Problem(f"npm could not fetch {wanted}: {' | '.join(why) or 'no message'}")
    found = "sha512-" + base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    if found != row["integrity"]:
        raise Problem(f"{wanted} is not the pinned file: sha512 expected {row['integrity']}, got {found}")
    return path


def unpack(name, row, tarball):
    """(icons: name -> bytes of an SVG or a picture) of one package."""
    with tarfile.open(tarball) as tar:
        def member(path):
            try:
                return tar.extractfile(f"package/{path}").read()
            except KeyError:
                raise Problem(f"{row['npm']}@{row['version']}: no file {path} in the package") from None

        package = json.loads(member("package.json"))
        for field, want in (("version", row["version"]), ("license", row["licence"])):
            if package.get(field) != want:
                raise Problem(f"{row['npm']}: {field} is {package.get(field)!r}, expected {want!r}")
        if row["kind"] == "pictures":
            return {
                Path(entry.name).stem: tar.extractfile(entry).read()
                for entry in tar if entry.name.endswith(".webp")
            }, {}
        table = json.loads(member("icons.json"))
        chars = json.loads(member("chars.json")) if "package/chars.json" in tar.getnames() else {}
    icons = {}
    for icon, entry in table["icons"].items():
        if entry.get("hidden"):
            continue
        width, height = (entry.get(k, table.get(k, 16)) for k in ("width", "height"))
        box = f"{entry.get('left', 0)} {entry.get('top', 0)} {width} {height}"
        body = re.sub(r"currentColor", "#000", entry["body"])
        icons[icon] = (
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{box}" '
            f'width="WIDE" height="WIDE">{body}</svg>'
        )
    for icon, entry in table.get("aliases", {}).items():
        if set(entry) == {"parent"} and entry["parent"] in icons:
            icons[icon] = icons[entry["parent"]]
    return icons, chars


def render(source, side):
    """SVG text or picture bytes -> trimmed RGBA, longer side `side`, straight alpha; None if it is empty."""
    if isinstance(source, str):
        import resvg_py

        data = bytes(resvg_py.svg_to_bytes(svg_string=source.replace("WIDE", str(3 * side))))
    else:
        data = source
    image = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")).astype(np.float32) / 255
    rows, columns = np.nonzero(image[..., 3] > 0.03)
    if len(rows) < 50:
        return None
    image = image[rows.min():rows.max() + 1, columns.min():columns.max() + 1]
    image[..., :3] *= image[..., 3:]
    scale = side / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    image[..., :3] /= np.maximum(image[..., 3:], 1e-3)
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def line_art(sprite):
    """A second drawing of a sprite: flat fills (k-means of its colours) and dark outlines. Same size and outline."""
    colour, alpha = sprite[..., :3], sprite[..., 3]
    lab = cv2.cvtColor(cv2.medianBlur(np.ascontiguousarray(colour), 5), cv2.COLOR_RGB2LAB)
    inside = alpha > 127
    points = lab[inside].astype(np.float32)
    if len(points) < 50:
        return None
    cv2.setRNGSeed(1)
    stop = (cv2.TERM_CRITERIA_MAX_ITER, 8, 0)
    _, owner, centres = cv2.kmeans(points, 5, None, stop, 1, cv2.KMEANS_PP_CENTERS)
    regions = np.zeros(alpha.shape, np.uint8)
    regions[inside] = owner[:, 0] + 1
    regions = cv2.medianBlur(regions, 5) * inside
    kernel = np.ones((3, 3), np.uint8)
    edges = (cv2.dilate(regions, kernel) != cv2.erode(regions, kernel)) & inside
    edges = cv2.dilate(edges.astype(np.uint8), kernel) > 0
    palette = np.concatenate([[[0, 128, 128]], centres]).astype(np.uint8)
    flat = cv2.cvtColor(palette[None], cv2.COLOR_LAB2RGB)[0][regions]
    flat = np.maximum(flat, 70)  # whatever is darker than that is a line: see scenes.whiten
    flat[edges] = 28
    return np.dstack([flat, alpha])


def build(out, evaluation=False, side=SIDE, workers=2):
    """Fetches every package (those for evaluation too if asked), renders, writes `out` (.npz)."""
    concepts = load()
    packages = {name: row for name, row in PACKAGES.items() if evaluation or row["use"] == "train"}
    rows, by_char = [], {}
    with tempfile.TemporaryDirectory(prefix="lancet-art-") as temporary:
        for name, row in packages.items():
            say(f"art: {row['npm']}@{row['version']} ({row['licence']})")
            table, chars = unpack(name, row, fetch(name, row, Path(temporary)))
            for code, icon in chars.items():
                by_char.setdefault(icon, code)
            for index, concept in enumerate(concepts):
                if row["kind"] == "pictures":  # files are named by code point
                    codes = {by_char[icon]: icon for icon in concept.icons if icon in by_char}
                    found = [(icon, c) for code, icon in codes.items() for c in (code, f"{code}-fe0f") if c in table]
                else:
                    found = [(icon, icon) for icon in concept.icons_in(name, table, row.get("suffixes"))]
                dropped = row.get("drop", []) + row.get("wrong", [])
                rows += [(index, name, icon, table[key]) for icon, key in found if icon not in dropped]
    with ThreadPoolExecutor(workers) as pool:
        sprites = list(pool.map(lambda row: render(row[3], side), rows))
    drawn = [name for name, row in packages.items() if row.get("line_art")]
    lines = [line_art(s) if row[1] in drawn and s is not None else None for row, s in zip(rows, sprites)]
    variant = [0] * len(rows) + [1] * len(rows)
    rows, sprites = rows + rows, sprites + lines
    kept = [i for i, sprite in enumerate(sprites) if sprite is not None]
    styles = list(packages)
    with whole_file(out) as part, open(part, "wb") as file:
        np.savez_compressed(
            file,
            pixels=np.concatenate([sprites[i].reshape(-1, 4) for i in kept]),
            sizes=np.array([sprites[i].shape[:2] for i in kept], np.int32),
            concept=np.array([rows[i][0] for i in kept], np.int32),
            style=np.array([styles.index(rows[i][1]) for i in kept], np.int32),
            variant=np.array([variant[i] for i in kept], np.int32),
            icon=np.array([rows[i][2] for i in kept]),
            styles=np.array(styles),
            names=np.array([concept.name for concept in concepts]),
        )
    say(f"art: {len(kept)} sprites of {len(concepts)} concepts in {len(styles)} styles -> {out}")


def read(path):
    if not Path(path).is_file():
        raise Problem(f"no art at {path}: make it with `python tools/train art`")
    try:
        with np.load(path, allow_pickle=False) as data:
            table = {key: data[key] for key in data.files}
        names = [concept.name for concept in load()]
        if list(table["names"]) != names:
            raise Problem(f"{path} was made for another concepts.toml: make it again with `python tools/train art`")
        ends = np.cumsum(table["sizes"].prod(1))
        starts = ends - table["sizes"].prod(1)
        sprites = [table["pixels"][a:b].reshape(h, w, 4) for a, b, (h, w) in zip(starts, ends, table["sizes"])]
    except (OSError, KeyError, ValueError) as error:
        raise Problem(f"{path} is not an art file, or is cut short ({error}): make it again") from error
    return Art(sprites, table["concept"], table["style"], table["variant"], list(table["icon"]), [str(style) for style in table["styles"]])
