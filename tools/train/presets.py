"""What a run is: size of the model, batch, speed of learning, length."""

from dataclasses import dataclass, field, replace

from model import Config


@dataclass
class Preset:
    model: Config = field(default_factory=Config)
    device: str = "cpu"
    processes: int = 2  # data-parallel, CPU only
    threads: int = 1  # per process
    workers: int = 0  # processes that compose scenes ahead; 0: the training process does
    batch: int = 128  # per process
    hours: float = 2.8
    scenes: int = 0  # instead of hours
    muon: float = 0.02
    adam: float = 1.5e-3
    average: float = 0.998  # of the weights
    keep: tuple = (48, 48, 56)  # patches looked at in each phase (of 64, 64, 144)
    whole: float = 0.12  # where the rate has fallen below this, every patch is looked at
    gates: tuple = (0.4, 0.6)  # clean accuracy that opens phases 1 and 2
    latest: tuple = (0.25, 0.5)  # progress at which they open anyway
    decay: float = 0.3  # last share of the run, in which the learning rate falls to 0
    ground: float = 0.2  # weight of the names of backgrounds in the concept loss; 1 is an object's
    depth: float = 0.3  # share of steps that the last block's MLP is left out of; earlier ones' less
    presence: float = 1.0  # weight of yes or no for each concept
    probe: int = 100  # steps between looks at the clean pictures
    save: float = 240  # seconds between checkpoints
    text_steps: int = 100


PRESETS = {
    "cpu": Preset(),
    "gpu": Preset(
        model=Config(width=256, layers=8, joint=256, text_width=128, text_layers=3),
        device="cuda", processes=1, workers=15, batch=1024, hours=0.36, average=0.9995, keep=(64, 64, 96), save=120, text_steps=150,
    ),
    "quick": Preset(
        model=Config(width=64, layers=2, joint=64, text_width=64, text_layers=1),
        processes=1, batch=64, hours=1.2 / 60, average=0.98, latest=(0.3, 0.5), save=20, text_steps=30, probe=50,
    ),
}


def preset(name, **changes):
    return replace(PRESETS[name], **{key: value for key, value in changes.items() if value is not None})
