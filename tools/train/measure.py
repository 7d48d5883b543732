"""Evaluation of an exported model on an evaluation set, independent of the engine: zero-shot and heat maps.

Definitions. Maps are resized to the picture after min-max over patches. mIoU: each (picture, present label) map against
its mask, one threshold for all, the best of 19 (0.05 .. 0.95, stated). mSC: mean inside minus mean outside.
Pointing: the highest point lies on the object. Argmax: share of object pixels whose highest map among the present
labels is the right one (pictures with two labels or more).
"""

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from captions import CLIP_TEMPLATES
from common import Problem, say
from model import HEAD, normalise

THRESHOLDS = np.linspace(0.05, 0.95, 19)


def load_set(folder):
    try:
        table = json.loads((Path(folder) / "scenes.json").read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise Problem(f"{folder}: no readable scenes.json: {error}") from error
    if table.get("version") != 1:
        raise Problem(f"{folder}/scenes.json: version {table.get('version')!r}, expected 1")
    return table


def only(path, known):
    """The classes of a `concepts.json` (name lists, canonical name first; or plain names) among `known`."""
    try:
        rows = json.loads(Path(path).read_text())
        names = [row if isinstance(row, str) else row[0] for row in rows if isinstance(rows, list)]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise Problem(f"{path}: expected a JSON list of names, or of lists of names: {error}") from error
    if not names:
        raise Problem(f"{path}: expected a JSON list of names, or of lists of names")
    missing = [name for name in names if name not in known]
    if missing:
        say(f"left out, the model does not know them: {', '.join(missing)}")
    chosen = {name for name in names if name in known}
    if not chosen:
        raise Problem(f"{path}: the model knows none of its {len(names)} classes")
    return chosen


def pixels(folder, rows, side, grey=False):
    """[N, 3, side, side]; Pillow's bicubic straight to the square, as CLIP Surgery does."""
    out = []
    for row in rows:
        image = Image.open(Path(folder) / row["image"]).convert("RGB")
        if grey:
            image = image.convert("L").convert("RGB")
        out.append(np.asarray(image.resize((side, side), Image.Resampling.BICUBIC)))
    return normalise(torch.from_numpy(np.stack(out)))


def tokens(clip, x, depth, mode="vv"):
    """(class features [B, J], patch features [B, N, J]), unit length. See `features`."""
    rows = torch.nn.functional.normalize(features(clip, x, depth, mode), dim=-1)
    return rows[:, 0], rows[:, 1:]


def features(clip, x, depth, mode="vv"):
    """Class row and patches [B, 1 + N, J]. CLIP Surgery on the last `depth` blocks; 0: plain CLIP."""
    vision = clip.visual
    x = vision.conv1(x).flatten(2).mT + vision.positional_embedding[1:]
    first = (vision.class_embedding + vision.positional_embedding[0]).expand(len(x), 1, -1)
    x = vision.ln_pre(torch.cat([first, x], 1))
    new, blocks = None, vision.transformer.resblocks
    for i, block in enumerate(blocks):
        if i >= len(blocks) - depth:
            new = x if new is None else new
            z = block.ln_1(x)
            v = torch.nn.functional.linear(z, block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, -1)[2]
            if mode == "vv":
                heads = v.view(*v.shape[:2], -1, HEAD).transpose(1, 2)
                mixed = (HEAD**-0.5 * heads @ heads.mT).softmax(-1) @ heads
                v = mixed.transpose(1, 2).reshape(v.shape)
            new = new + block.attn.out_proj(v)
        x = block(x, False)
    patches = x if new is None else new
    return vision.ln_post(torch.cat([x[:, :1], patches[:, 1:]], 1)) @ vision.proj


@torch.no_grad()
def zero_shot(model, folder, rows, classes, texts, grey=False):
    """(top-1, top-5) in percent."""
    truth = torch.tensor([classes.index(row["labels"][0]["class"]) for row in rows])
    first = torch.cat([tokens(model.clip, part, 0)[0] for part in pixels(folder, rows, model.config.image, grey).split(64)])
    best = (first @ texts.T).topk(min(5, len(classes)), 1).indices
    hit = best == truth[:, None]
    return 100 * hit[:, 0].float().mean().item(), 100 * hit.any(1).float().mean().item()


def scores(first, patches, texts, empty, how):
    """Patch scores [B, N, C]."""
    cosine = patches @ texts.T
    if how == "labels":
        weight = (2 * first @ texts.T).softmax(1)
        weighted = cosine * (weight / weight.mean(1, keepdim=True))[:, None]
        return weighted - weighted.mean(2, keepdim=True)
    return cosine - (patches @ empty)[..., None] if how == "empty" else cosine


class Tally:
    """Sums over pictures of one method."""

    def __init__(self):
        self.iou, self.contrast, self.pointing, self.argmax = [], [], [], []

    def add(self, maps, masks):
        """maps, masks: [labels, H, W]; maps in 0..1, masks bool."""
        for map, mask in zip(maps, masks):
            over = map[None] >= THRESHOLDS[:, None, None]
            union = (over | mask).sum((1, 2))
            self.iou.append((over & mask).sum((1, 2)) / np.maximum(union, 1))
            self.contrast.append(map[mask].mean() - map[~mask].mean())
            self.pointing.append(mask.flat[int(map.argmax())])
        if len(maps) > 1:
            owned = masks.any(0)
            self.argmax.append((maps.argmax(0) == masks.argmax(0))[owned].mean())

    def figures(self):
        mean = np.mean(self.iou, 0)
        best = int(mean.argmax())
        return {
            "mIoU": 100 * mean[best], "threshold": float(THRESHOLDS[best]), "mSC": 100 * float(np.mean(self.contrast)),
            "pointing": 100 * float(np.mean(self.pointing)), "argmax": 100 * float(np.mean(self.argmax)),
        }


def methods(layers):
    """name -> (depth, mode, scoring)"""
    table = {"raw CLIP": (0, "vv", "cosine")}
    for depth in sorted({1, 2, 3, 4, layers // 2, layers - 2, layers} & set(range(1, layers + 1))):
        table[f"v-v, last {depth}"] = (depth, "vv", "cosine")
    table[f"v only, all {layers}"] = (layers, "v", "cosine")
    table[f"v-v, all {layers}, feature surgery, all labels"] = (layers, "vv", "labels")
    table[f"v-v, all {layers}, minus empty text"] = (layers, "vv", "empty")
    return table


@torch.no_grad()
def heat_maps(model, folder, rows, classes, texts, empty):
    """method -> figures, and the two baselines."""
    images = pixels(folder, rows, model.config.image)
    grid = model.config.image // model.config.patch
    masks = [np.asarray(Image.open(Path(folder) / row["mask"])) for row in rows]
    wanted = [[classes.index(label["class"]) for label in row["labels"]] for row in rows]
    truth = [np.stack([mask == label["value"] for label in row["labels"]]) for row, mask in zip(rows, masks)]
    out = {}
    for name, (depth, mode, how) in methods(model.config.layers).items():
        tally = Tally()
        first, patches = (torch.cat(part) for part in zip(*(tokens(model.clip, part, depth, mode) for part in images.split(32))))
        for i in range(len(rows)):
            values = scores(first[i:i + 1], patches[i:i + 1], texts, empty, how)[0][:, wanted[i]]
            values = (values - values.amin(0)) / (values.amax(0) - values.amin(0)).clamp(min=1e-12)
            high, wide = masks[i].shape
            small = values.T.reshape(-1, grid, grid).numpy()
            tally.add(np.stack([cv2.resize(m, (wide, high), interpolation=cv2.INTER_LINEAR) for m in small]), truth[i])
        out[name] = tally.figures()
    whole = [m.mean() for masks in truth for m in masks]
    union = [m.sum() / masks.any(0).sum() for masks in truth for m in masks]
    out["whole picture"] = {"mIoU": 100 * float(np.mean(whole))}
    out["all objects, ignoring the text"] = {"mIoU": 100 * float(np.mean(union))}
    return out


def evaluate(model, folder, templates=CLIP_TEMPLATES, known=None):
    """style -> {"zero_shot", "zero_shot_grey", "maps"}. `known`: the classes the model knows (others are left out)."""
    table = load_set(folder)
    classes = [name for name in table["classes"] if known is None or name in known]
    texts = model.ensemble(classes, templates)
    empty = model.ensemble([""], templates)[0]
    rows = [row for row in table["scenes"] if all(label["class"] in classes for label in row["labels"])]
    out = {}
    for style in dict.fromkeys(row["style"] for row in rows):
        one = [row for row in rows if row["style"] == style and row.get("single")]
        many = [row for row in rows if row["style"] == style and "mask" in row]
        entry = out[style] = {"classes": len(classes), "singles": len(one), "pictures": len(many)}
        if one:
            entry["zero_shot"] = zero_shot(model, folder, one, classes, texts)
            entry["zero_shot_grey"] = zero_shot(model, folder, one, classes, texts, grey=True)
        if many:
            entry["maps"] = heat_maps(model, folder, many, classes, texts, empty)
    return out


def table(results):
    """The figures as Markdown."""
    lines = []
    styles = list(results)
    lines += ["| | " + " | ".join(styles) + " |", "| --- |" + " --- |" * len(styles)]
    for key, title in (("zero_shot", "zero-shot top-1 / top-5"), ("zero_shot_grey", "the same in greyscale")):
        cells = ["{:.1f} / {:.1f}".format(*results[s][key]) if key in results[s] else "" for s in styles]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    lines += ["", "| mIoU (threshold) / mSC / pointing / argmax | " + " | ".join(styles) + " |", "| --- |" + " --- |" * len(styles)]
    for name in results[styles[0]].get("maps", {}):
        cells = []
        for style in styles:
            f = results[style]["maps"][name]
            form = "{mIoU:.1f} ({threshold:.2f}) / {mSC:.1f} / {pointing:.1f} / {argmax:.1f}" if "mSC" in f else "{mIoU:.1f}"
            cells.append(form.format(**f))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
