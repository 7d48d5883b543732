"""The state of a run: what a checkpoint holds, and how one step changes it.

Scenes, prompts and dropped patches are pure functions of (seed, step, process), so a checkpoint needs no generator
state. The learning rate holds until the decay, which starts by itself or when asked (`finish`).
"""

import math
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F

import art
import captions
import scenes
from common import Problem, say, whole_file
from losses import caption_loss, concept_loss, marks, presence_loss, visible
from model import Clip, Config, normalise, whiten_patches
from muon import Muon
from words import Words

FORMAT = 1


class Run:
    """Everything that a checkpoint holds, and how one step changes it."""

    def __init__(self, folder, preset, seed, art_file, rank=0):
        self.folder, self.preset, self.seed, self.rank = Path(folder), preset, seed, rank
        self.world = preset.processes
        self.device = torch.device(preset.device)
        self.styles = [name for name, row in art.PACKAGES.items() if row["use"] == "train"]
        self.bank = scenes.Bank(art.read(art_file), self.styles)
        self.concepts = self.bank.concepts
        self.named = self.concepts + self.bank.grounds  # what prompts are made of
        self.step = self.scenes = self.phase = 0
        self.elapsed, self.began = 0.0, time.monotonic()
        self.decay_from = None  # progress in the run's own unit at which the decay began
        self.total = preset.scenes or preset.hours * 3600
        self.history = []
        self.stopping = False
        self.words = Words.pruned(captions.language(self.named), preset.model.context)
        preset.model.vocabulary = len(self.words.vocabulary)
        torch.manual_seed(seed)
        self.master = Clip(preset.model)
        self.prepare()

    def prepare(self):
        """Optimisers, the bf16 copy that computes, the average."""
        self.master.to(self.device)
        named = dict(self.master.named_parameters())
        matrices = {n for n, p in named.items() if n.startswith("visual.transformer") and p.ndim == 2}
        decayed = {n for n, p in named.items() if p.ndim >= 2 and "embedding" not in n} - matrices
        self.muon = Muon([named[n] for n in sorted(matrices)], lr=self.preset.muon)
        self.adam = torch.optim.AdamW(
            [
                {"params": [named[n] for n in sorted(decayed)], "weight_decay": 0.05},
                {"params": [named[n] for n in sorted(set(named) - matrices - decayed)], "weight_decay": 0.0},
            ],
            lr=self.preset.adam, betas=(0.9, 0.98), eps=1e-8,
        )
        self.net = Clip(self.preset.model).to(self.device, torch.bfloat16)
        self.average = {n: p.detach().clone() for n, p in named.items()}
        self.refresh()

    @torch.no_grad()
    def refresh(self):
        for p, q in zip(self.net.parameters(), self.master.parameters()):
            p.copy_(q)
            p.grad = None

    # -- progress

    def now(self):
        return self.elapsed + time.monotonic() - self.began

    def done(self):
        return self.scenes if self.preset.scenes else self.now()

    def rate(self):
        """Factor of the learning rates; notes where the decay begins."""
        if self.decay_from is None and self.done() >= self.total * (1 - self.preset.decay):
            self.decay_from = self.total * (1 - self.preset.decay)
        falling = 1.0
        if self.decay_from is not None:
            falling = max(0.0, 1 - (self.done() - self.decay_from) / max(1e-9, self.total - self.decay_from))
        return min(1.0, (self.step + 1) / 80) * falling

    def finish(self, minutes):
        """The decay starts now and takes so long. Turns a run counted in scenes into one counted in time. What was
        learned so far stays beside it, for a longer run some other day."""
        self.save("before-finish.pt")
        self.preset.scenes = 0
        self.decay_from = self.now()
        self.total = self.decay_from + minutes * 60

    def orders(self):
        """Files that a person leaves in the folder."""
        order = self.folder / "finish"
        if order.is_file():
            try:
                self.finish(float(order.read_text()))
                say(f"finish: the learning rate now falls to 0 within {(self.total - self.decay_from) / 60:.1f} minutes")
            except ValueError:
                say(f"{order} holds no number of minutes: ignored")
            order.unlink()
        if (self.folder / "stop").is_file():
            (self.folder / "stop").unlink()
            self.stopping = True

    # -- one step

    def text_first(self):
        """The text tower alone, until different concepts lie far apart."""
        optimiser = torch.optim.AdamW([p for n, p in self.master.named_parameters() if not n.startswith("visual")], lr=2e-3)
        for step in range(self.preset.text_steps):
            rng = np.random.default_rng([self.seed, 90_000_000 + step])
            a, b = (
                self.master.text([self.words.ids(captions.prompt(rng, c)) for c in self.concepts], self.device) for _ in "ab"
            )
            loss = F.cross_entropy(20 * a @ b.T, torch.arange(len(a), device=self.device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        self.average = {n: p.detach().clone() for n, p in self.master.named_parameters()}
        self.refresh()
        say(f"text first: {self.preset.text_steps} steps, loss {loss.item():.3f}")

    def whiten(self):
        images, *_ = scenes.batch(self.bank, scenes.PHASES[1], self.seed, 80_000_000, 0, 128, self.preset.model.patch)
        whiten_patches(self.master.visual, normalise(torch.from_numpy(images)).to(self.device))
        self.average["visual.conv1.weight"] = self.master.visual.conv1.weight.detach().clone()
        self.refresh()

    def depth(self):
        """Stochastic depth (Huang et al. 2016) of the vision tower's MLPs, the same in every process: left out the more often the later the
        block, and larger in return. So class features are also made without them, which is what surgery's second stream does."""
        layers = self.preset.model.layers
        often = self.preset.depth * (np.arange(layers) + 1) / layers
        out = np.random.default_rng([self.seed, 40_000_000 + self.step]).random(layers) < often
        return [0.0 if skip else 1 / (1 - share) for skip, share in zip(out, often)]

    def learn(self, feed, factor, keep_all):
        """Forward, backward, update. Returns the loss."""
        images, present, texts, cover = feed.batch(self.phase, self.step)
        named, few = self.named, len(self.concepts)
        shown, unsure = marks(present, len(named)), None
        pixels = normalise(images.to(self.device, non_blocking=True)).to(torch.bfloat16)
        rng = np.random.default_rng([self.seed, 70_000_000 + self.step, self.rank])
        prompts = [self.words.ids(captions.prompt(rng, c)) for c in named]
        grid, side = self.preset.model.image // self.preset.model.patch, pixels.shape[-1] // self.preset.model.patch
        window = tuple(int(i) for i in rng.integers(grid - side + 1, size=2))
        keep = None
        if not keep_all and self.preset.keep[self.phase] < side * side:
            dice = np.random.default_rng([self.seed, 60_000_000 + self.step, self.rank])
            dice = torch.from_numpy(dice.random((len(pixels), side * side), np.float32))
            keep = dice.argsort(1)[:, : self.preset.keep[self.phase]].sort(1).values
            shown, unsure = visible(*cover, keep, shown)
            keep, unsure = keep.to(self.device), unsure.to(self.device)
        shown = shown.to(self.device, non_blocking=True)
        seen = self.net.image(pixels, keep, window, self.depth())
        read = self.net.text(prompts + [self.words.ids(text) for text in texts], self.device)
        scale = self.net.logit_scale.float().exp()
        weight = torch.ones(len(named), device=self.device)
        weight[few:] = self.preset.ground
        loss = concept_loss(seen, read[: len(named)], shown, scale, weight, unsure)
        loss = loss + 0.5 * caption_loss(seen, read[len(named):], shown[:, :few], scale)
        if self.phase == 2:  # where a tenth of the pictures show nothing; before, concepts are not told apart yet
            hidden = None if unsure is None else unsure[:, :few]
            loss = loss + self.preset.presence * presence_loss(seen, read[:few], shown[:, :few], scale, hidden)
        loss.backward()
        self.update(factor)
        self.step += 1
        self.scenes += len(images) * self.world
        return loss.detach()

    @torch.no_grad()
    def update(self, factor):
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in self.net.parameters()]).float()
        if self.world > 1:
            dist.all_reduce(flat)
            flat /= self.world
        norm = flat.norm()
        if not torch.isfinite(norm):
            say(f"step {self.step}: the gradient is not finite, step skipped")
            self.refresh()
            return
        flat /= norm.clamp(min=1.0)
        start = 0
        for q in self.master.parameters():
            q.grad = flat[start:start + q.numel()].view_as(q)
            start += q.numel()
        for group in self.muon.param_groups:
            group["lr"] = self.preset.muon * factor
        for group in self.adam.param_groups:
            group["lr"] = self.preset.adam * factor
        self.muon.step()
        self.adam.step()
        self.master.logit_scale.clamp_(0, math.log(100))
        self.refresh()
        # A short memory at the start, and again when the rate falls and the weights settle.
        weight = min(1 - (1 - self.preset.average) / max(factor, 0.1), (1 + self.step) / (10 + self.step))
        for name, p in self.master.named_parameters():
            self.average[name].lerp_(p, 1 - weight)

    @torch.no_grad()
    def probe(self, per_concept=2):
        """Share of clean single-object pictures whose concept is found among all."""
        if not hasattr(self, "clean"):
            rng = np.random.default_rng([self.seed, 50_000_000])
            known = self.bank.known * per_concept
            made = [scenes.compose(rng, self.bank, scenes.CLEAN, [c]) for c in known]
            self.clean = normalise(torch.from_numpy(np.stack([scene.image for scene in made]))).to(torch.bfloat16), torch.tensor(known)
        pixels, truth = self.clean
        offset = (self.preset.model.image - pixels.shape[-1]) // self.preset.model.patch // 2
        seen = torch.cat([self.net.image(part.to(self.device), None, (offset, offset)) for part in pixels.split(128)])
        read = self.net.text([self.words.ids(f"a picture of a {c.name}") for c in self.concepts], self.device)
        return ((seen @ read.T).argmax(1).cpu() == truth).float().mean().item()

    # -- checkpoints

    def save(self, name="checkpoint.pt"):
        state = {
            "format": FORMAT, "preset": asdict(self.preset), "seed": self.seed,
            "step": self.step, "scenes": self.scenes, "phase": self.phase,
            "elapsed": self.now(), "decay_from": self.decay_from, "total": self.total, "history": self.history,
            "merges": self.words.merges, "concepts": [list(c.names) for c in self.concepts],
            "master": self.master.state_dict(), "average": self.average, "muon": self.muon.state_dict(), "adam": self.adam.state_dict(),
        }
        try:
            with whole_file(self.folder / name) as part:
                torch.save(state, part)
        except (Problem, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            say(f"warning: checkpoint not written, the last one stays: {error}")

    def load(self):
        state = read_checkpoint(self.folder)
        if state["concepts"] != [list(c.names) for c in self.concepts] or [tuple(m) for m in state["merges"]] != self.words.merges:
            raise Problem(
                f"{self.folder} was trained with another concept table or caption language: continue with that version of the tool"
            )
        for key in ("seed", "step", "scenes", "phase", "elapsed", "decay_from", "total", "history", "average"):
            setattr(self, key, state[key])
        self.average = {name: value.to(self.device) for name, value in self.average.items()}
        self.master.load_state_dict(state["master"])
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])
        self.began = time.monotonic()
        self.refresh()


def read_checkpoint(folder):
    path = Path(folder) / "checkpoint.pt"
    if not path.is_file():
        raise Problem(f"no checkpoint in {folder}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError) as error:
        raise Problem(f"{path} cannot be read: {error}") from error
    if state.get("format") != FORMAT:
        raise Problem(f"{path}: format {state.get('format')}, this tool writes {FORMAT}")
    return state


def finished(state):
    """True if the run of a checkpoint came to its end, where the learning rate is zero, and was not only stopped."""
    return (state["scenes"] if state["preset"]["scenes"] else state["elapsed"]) >= state["total"]


def stored_preset(folder):
    """The preset of an interrupted run."""
    from presets import Preset

    table = read_checkpoint(folder)["preset"]
    try:
        return Preset(**{**table, "model": Config(**table["model"])})
    except TypeError as error:
        raise Problem(f"{folder} was trained by another version of this tool ({error}): continue with that one") from error
