"""What the engine has to reproduce with an exported model, in float64: a case of its golden ladder (tests/ladder/bundled.rs)."""

import json

import torch
from safetensors.torch import save_file

import measure
from captions import CLIP_TEMPLATES
from check import SURGERY
from common import Problem, say, whole_file


@torch.no_grad()
def write(model, picture, out):
    """`picture`: a PNG with a JSON of the same name, whose labels are asked for. Writes pixels [1, 3, S, S], text features [L, J] of
    "a photo of a LABEL.", unit; ensembles [L + 1, J], the last of the empty text; tokens of plain CLIP and of surgery [1, 1 + N, J],
    and the surgery's scores [1, 1 + N, L]."""
    try:
        labels = list(json.loads(picture.with_suffix(".json").read_text())["labels"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise Problem(f"{picture.with_suffix('.json')}: expected a table with labels: {error}") from error
    clip = model.clip.double()
    pixels = measure.pixels(picture.parent, [{"image": picture.name}], model.config.image)
    ensembles = model.ensemble([*labels, ""], CLIP_TEMPLATES).double()
    plain = measure.features(clip, pixels.double(), 0)
    surgery = measure.features(clip, pixels.double(), min(SURGERY, model.config.layers))
    unit = torch.nn.functional.normalize(surgery, dim=-1)
    scores = measure.scores(unit[:, 0], unit, ensembles[:-1], ensembles[-1], "labels")
    stages = {
        "pixels": pixels, "texts": model.texts([f"a photo of a {label}." for label in labels]), "ensembles": ensembles,
        "clip.features": plain, "surgery.features": surgery, "surgery.scores": scores,
    }
    with whole_file(out) as part:
        save_file({name: value.float().contiguous() for name, value in stages.items()}, part, {"labels": json.dumps(labels)})
    say(f"golden: {len(stages)} stages, {out.stat().st_size:,} bytes -> {out}")
