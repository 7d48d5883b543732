"""A checkpoint as a folder that every CLIP loader reads: OpenCLIP's layout."""

import json
import os
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from common import Problem, say, sha256, write_json
from model import Clip, Config
from trainer import finished, read_checkpoint
from words import Words

WEIGHTS, CONFIG, TOKENIZER, CONCEPTS = "open_clip_model.safetensors", "open_clip_config.json", "tokenizer.json", "concepts.json"
LARGEST = 16_000_000  # bytes: what the repository carries


def export(run, out, which="average"):
    """Writes the model of a checkpoint into `out`; all of it, or nothing."""
    state = read_checkpoint(run)
    config = Config(**state["preset"]["model"])
    tensors = dict(state["master"])
    if which == "average":
        tensors.update(state["average"])
    half = {name: value.detach().half().contiguous() for name, value in tensors.items()}
    broken = [name for name, value in half.items() if not torch.isfinite(value).all()]
    if broken:
        raise Problem(f"{run}: {broken[0]} is not finite in half precision")
    stage = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        stage.mkdir(parents=True)
        about = {"format": "pt", "model": "lancet demo CLIP", "scenes": str(state["scenes"]), "seed": str(state["seed"])}
        save_file(half, stage / WEIGHTS, about)
        size = (stage / WEIGHTS).stat().st_size
        if size > LARGEST:
            raise Problem(f"the weights take {size} bytes, more than {LARGEST}")
        write_json(stage / CONFIG, config.file())
        write_json(stage / TOKENIZER, Words(state["merges"], config.context).file())
        write_json(stage / CONCEPTS, state["concepts"])
        write_json(stage / "training.json", training(state))
        Model(stage)  # it must load before it replaces anything
        out.mkdir(parents=True, exist_ok=True)
        for file in sorted(stage.iterdir()):
            file.chmod(0o644)
            os.replace(file, out / file.name)
    except (OSError, SafetensorError) as error:  # a full disk comes as either
        raise Problem(f"cannot write {out}: {error} (free space on that disk?)") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    say(f"export: {size / 1e6:.2f} MB, sha256 {sha256(out / WEIGHTS)} -> {out}")


def training(state):
    """What the model card says about the run."""
    history = state["history"]
    return {
        "preset": state["preset"], "seed": state["seed"], "steps": state["step"], "scenes": state["scenes"],
        "minutes": round(state["elapsed"] / 60, 1), "decayed": finished(state),
        "clean_accuracy": [{"step": s, "scenes": n, "seconds": t, "phase": p, "accuracy": a} for s, n, t, p, a in history],
    }


class Model:
    """An exported folder, loaded in f32 for evaluation."""

    def __init__(self, folder):
        folder = Path(folder)
        try:
            self.config = Config.of_file(json.loads((folder / CONFIG).read_text()))
            tensors = load_file(folder / WEIGHTS)
            self.words = Words.read(folder / TOKENIZER, self.config.context)
        except FileNotFoundError as error:
            raise Problem(f"{folder} holds no exported model: {Path(error.filename or WEIGHTS).name} is missing") from error
        except (ValueError, KeyError, SafetensorError) as error:
            raise Problem(f"{folder}: not a model of this tool, or cut short: {error}") from error
        self.clip = Clip(self.config).eval()
        try:
            self.clip.load_state_dict({name: value.float() for name, value in tensors.items()})
        except RuntimeError as error:
            raise Problem(f"{folder}: the weights do not fit {CONFIG}: {error}") from error

    @torch.no_grad()
    def texts(self, texts):
        """Features [N, joint], unit length."""
        return torch.cat([self.clip.text([self.words.ids(text) for text in texts[i:i + 256]]) for i in range(0, len(texts), 256)])

    def ensemble(self, names, templates):
        """Mean of the unit features over templates, unit length: [names, joint]."""
        rows = self.texts([template.replace("{}", name) for name in names for template in templates])
        return torch.nn.functional.normalize(rows.view(len(names), len(templates), -1).mean(1), dim=-1)
