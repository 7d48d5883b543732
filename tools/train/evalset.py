"""The evaluation set: held-out compositions with exact masks, and single objects for zero-shot; made once from a seed.

    scenes.json     the contract below
    SHA256SUMS      of every file
    STYLE/NNN.png         a scene, palette PNG; STYLE/NNN.mask.png: 8-bit grey, 0 background, `value` of each label
    STYLE/single-NNN.png  one object, no mask

{"version": 1, "classes": [...], "synonyms": {class: [names]}, "scenes": [{"image", "mask" (not for singles), "style":
"train" | "unseen:NAME", "labels": [{"class", "value"}], "single": true?}, ...]}
"""

import io
import os
import shutil

import numpy as np
from PIL import Image

import art as art_file
import scenes
from common import Problem, say, sha256, write_json

MANY = scenes.Phase(192, (0, 0.2, 0.35, 0.25, 0.2), (0.3, 0.8), 0.15, 0.0, 0.3, 0.05)
ONE = scenes.Phase(96, (0, 1), (0.55, 0.9), 0.4, 0.0, 0.2, 0.0)
TRAIN = ("noto", "noto-v1", "fluent", "fluent-flat", "fluent-3d")


def held_out(rng, bank, count):
    """`count` concepts, each of which never met at least one of the others in training."""
    while True:
        chosen = [bank.known[rng.integers(len(bank.known))]]
        while len(chosen) < count:
            partners = [c for c in bank.known if c not in chosen and bank.held[c, chosen].any()]
            if not partners:
                break
            chosen.append(partners[rng.integers(len(partners))])
        if len(chosen) == count:
            return chosen


def png(image):
    """Bytes of the smaller of a palette and a plain PNG; the palette one is the picture from then on."""
    picture = Image.fromarray(image)
    if image.ndim == 3:
        picture = picture.quantize(128, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def make(out, art, unseen, seed=2026, many=90, singles=2):
    """Writes the set into `out` (a new folder): half in training styles, half in each style of `unseen`."""
    if out.exists():
        raise Problem(f"{out} exists: the set is made once; remove it to make it again")
    sheet = art_file.read(art)
    missing = [style for style in (*TRAIN, *unseen) if style not in sheet.styles]
    if missing:
        raise Problem(f"{art} lacks {', '.join(missing)}: make it with `art --evaluation --side 192`")
    for style in unseen:
        use = art_file.PACKAGES[style]["use"]
        if use == "train":
            raise Problem(f"{style} is trained on: not an unseen style")
        if use == "local evaluation":
            say(f"{style} ({art_file.PACKAGES[style]['licence']}): for comparison on this machine only, do not redistribute these pictures")
    stage = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        rows = []
        for place, (folder, style, styles) in enumerate(
            [("train", "train", TRAIN), *((name, f"unseen:{name}", (name,)) for name in unseen)]
        ):
            bank = scenes.Bank(sheet, styles, seed=seed + place, backdrops=300)
            (stage / folder).mkdir(parents=True)

            def sprite(rng, concept, bank=bank):
                return bank.sprite(rng, concept, line_art=0.0)

            number = attempt = 0
            while number < many:
                attempt += 1
                rng = np.random.default_rng([seed, place, 1, attempt])
                count = int(rng.choice(len(MANY.objects), p=MANY.objects))
                chosen = held_out(rng, bank, count)
                wanted = set(chosen)
                if count > 1 and rng.random() < 0.12:
                    chosen.append(chosen[0])  # a second one of a kind
                scene = scenes.compose(rng, bank, MANY, chosen, sprite)
                # Every object must be there and large enough to judge a map by.
                areas = np.bincount(scene.owner.ravel(), minlength=len(scene.objects) + 1)[1:]
                if set(scene.objects) != wanted or len(scene.objects) != len(chosen) or areas.min() < 400:
                    continue
                present = list(dict.fromkeys(scene.objects))
                mask = np.zeros_like(scene.owner)
                for index, concept in enumerate(scene.objects, 1):
                    mask[scene.owner == index] = present.index(concept) + 1
                name = f"{folder}/{number:03}"
                (stage / f"{name}.png").write_bytes(png(scene.image))
                (stage / f"{name}.mask.png").write_bytes(png(mask))
                rows.append({
                    "image": f"{name}.png", "mask": f"{name}.mask.png", "style": style,
                    "labels": [{"class": bank.concepts[c].name, "value": i} for i, c in enumerate(present, 1)],
                })
                number += 1
            number = 0
            for concept in bank.known:
                for copy in range(singles):
                    rng = np.random.default_rng([seed, place, 2, concept, copy])
                    scene = scenes.compose(rng, bank, ONE, [concept], sprite)
                    name = f"{folder}/single-{number:03}.png"
                    (stage / name).write_bytes(png(scene.image))
                    label = {"class": bank.concepts[concept].name, "value": 1}
                    rows.append({"image": name, "style": style, "labels": [label], "single": True})
                    number += 1
        write_scenes(stage, bank.concepts, rows, seed)
        out.parent.mkdir(parents=True, exist_ok=True)
        os.replace(stage, out)
    except OSError as error:
        raise Problem(f"cannot write {out}: {error.strerror or error} (free space on that disk?)") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    say(f"scenes: {len(rows)} pictures, {size / 1e6:.2f} MB -> {out}")


def write_scenes(folder, concepts, rows, seed):
    write_json(folder / "scenes.json", {
        "version": 1,
        "seed": seed,
        "classes": [concept.name for concept in concepts],
        "synonyms": {concept.name: list(concept.names[1:]) for concept in concepts if len(concept.names) > 1},
        "scenes": rows,
    })
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = "".join(f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files)
    (folder / "SHA256SUMS").write_text(sums)
