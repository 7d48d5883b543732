"""PyTorch against the engine: features of pictures, patches and texts of an exported model, within the golden tolerances."""

import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch

import measure
from common import Problem, say

REL_L2, MAX_ABS = 1e-5, 1e-4  # tests/ladder: f32 arithmetic against f64
SURGERY = 6  # blocks that the engine's method `surgery` replaces


def ask(lancet, model, arguments):
    """An array that `lancet encode` writes."""
    with tempfile.TemporaryDirectory(prefix="lancet-check-") as folder:
        out = Path(folder) / "out.npy"
        command = [str(lancet), "encode", "--quiet", "--model", str(model), "--precision", "f32", "--out", str(out), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, env={"XDG_RUNTIME_DIR": folder, **os.environ})
        except OSError as error:
            raise Problem(f"cannot start {lancet}: {error.strerror}; build it with `cargo build --release` or pass --lancet") from error
        if done.returncode != 0:
            raise Problem(f"{lancet} encode failed: {done.stderr.strip()}")
        return torch.from_numpy(np.load(out)).float()


def unit(x):
    return torch.nn.functional.normalize(x, dim=-1)


@torch.no_grad()
def compare(model, folder, lancet, scenes, pictures=12):
    """Raises Problem unless every stage agrees. Lengths are compared for texts and class rows by their direction only
    where this tool keeps no more than the direction."""
    table = measure.load_set(scenes)
    rows = table["scenes"][:: max(1, len(table["scenes"]) // pictures)][:pictures]
    files = [str(Path(scenes) / row["image"]) for row in rows]
    texts = [f"a photo of a {name}." for name in table["classes"]]
    x = measure.pixels(scenes, rows, model.config.image)
    depth = min(SURGERY, model.config.layers)
    class_row, patches = measure.tokens(model.clip, x, 0)
    surgery_row, surgery = measure.tokens(model.clip, x, depth)
    said = [argument for text in texts for argument in ("--text", text)]
    changed = ask(lancet, folder, ["--tokens", "--method", "surgery", *files])
    stages = [
        ("texts", model.texts(texts), ask(lancet, folder, said)),
        ("pictures", class_row, ask(lancet, folder, files)),
        ("tokens", torch.cat([class_row[:, None], patches], 1), ask(lancet, folder, ["--tokens", *files])),
        ("tokens, surgery", torch.cat([surgery_row[:, None], surgery], 1), changed),
    ]
    wrong = []
    for name, ours, theirs in stages:
        if ours.shape != theirs.shape:
            raise Problem(f"{name}: shape {tuple(ours.shape)} here, {tuple(theirs.shape)} from the engine")
        gap = (ours - unit(theirs)).abs()
        relative, largest = (gap.norm() / ours.norm()).item(), gap.max().item()
        good = relative <= REL_L2 and largest <= MAX_ABS
        verdict = "agree" if good else "DIFFER"
        say(f"{name:16} relative L2 {relative:.1e} (<= {REL_L2:.0e})  largest {largest:.1e} (<= {MAX_ABS:.0e})  {verdict}")
        if not good:
            wrong.append(name)
    if wrong:
        raise Problem(f"{', '.join(wrong)}: PyTorch and the engine differ")
