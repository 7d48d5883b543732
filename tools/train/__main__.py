"""`python tools/train COMMAND`: see README.md beside this file, or `--help`."""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin cost half the speed of a busy machine

from common import ROOT, Problem, say  # noqa: E402

ART = Path.home() / ".cache" / "lancet-train" / "art.npz"
EVALUATION = ROOT / "weights" / "eval"
SCENE = ROOT / "weights" / "demo" / "scene.png"


def make_art(options):
    import art

    if not options.art.is_file():
        art.build(options.art, getattr(options, "evaluation", False), getattr(options, "side", None) or art.SIDE)


def run(options):
    import multiprocessing

    import art
    import loop
    import presets
    import trainer

    resume = (options.run / "checkpoint.pt").is_file()
    changes = {"hours": options.hours, "scenes": options.scenes}
    if resume:
        preset = trainer.stored_preset(options.run)
    else:
        preset = presets.preset(options.preset, processes=options.processes, threads=options.threads, batch=options.batch, **changes)
    if preset.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise Problem("--preset gpu needs a CUDA device, and PyTorch sees none: use --preset cpu")
    make_art(options)
    art.read(options.art)  # a wrong file is told before processes start
    try:
        options.run.mkdir(parents=True, exist_ok=True)
        for left in (".rendezvous", "stop", "finish"):
            (options.run / left).unlink(missing_ok=True)
    except OSError as error:
        raise Problem(f"cannot write in {options.run}: {error.strerror}") from error
    os.environ["OMP_NUM_THREADS"] = str(preset.threads)
    context = multiprocessing.get_context("spawn")
    arguments = (options.run, preset, options.seed, options.art, resume, changes)
    children = [context.Process(target=loop.child, args=(rank, *arguments)) for rank in range(preset.processes)]
    for process in children:
        process.start()

    def ask(*_):
        (options.run / "stop").touch()  # the first process tells the others

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    failed = False
    while any(process.is_alive() for process in children):
        for process in children:
            process.join(1)
            if process.exitcode not in (None, 0) and not failed:
                failed = True
                for other in children:
                    other.terminate()
    if failed:
        raise Problem(f"training stopped (see above); `run` with the same folder continues from {options.run}/checkpoint.pt")
    if options.out:
        options.weights = "average"
        export(options)
        if json.loads((options.out / "training.json").read_text())["decayed"]:
            report(options.out)


def report(model):
    """What a finished run is told by: the golden case and the card, whose tables are printed."""
    import card as cards
    import golden as goldens
    from export import Model

    goldens.write(Model(model), SCENE, model / "golden.safetensors")
    say("evaluating on weights/eval")
    text = cards.write(model, [EVALUATION], model / "MODEL_CARD.md")
    print(cards.figures(text))
    say(f"card -> {model / 'MODEL_CARD.md'}")


def finish(options):
    import trainer

    trainer.read_checkpoint(options.run)
    (options.run / "finish").write_text(str(options.minutes))
    say(f"asked: decay within {options.minutes} minutes, then the run ends")


def stop(options):
    (options.run / "stop").touch()
    say("asked: checkpoint and stop after the present step")


def export(options):
    import export as exporter

    exporter.export(options.run, options.out, options.weights)


def scenes(options):
    import evalset

    evalset.make(options.out, options.art, options.unseen, options.seed)


def evaluate(options):
    import export as exporter
    import measure

    model = exporter.Model(options.model)
    names = json.loads((options.model / exporter.CONCEPTS).read_text())
    known = {row[0] for row in names}
    if options.classes:
        known = measure.only(options.classes, known)
    results = measure.evaluate(model, options.set, known=known)
    if options.json:
        print(json.dumps(results, indent=1))
    else:
        print(measure.table(results), end="")


def check(options):
    import check as checker
    import export as exporter

    checker.compare(exporter.Model(options.model), options.model, options.lancet, options.set)


def golden(options):
    import export as exporter
    import golden as goldens

    goldens.write(exporter.Model(options.model), options.picture, options.out or options.model / "golden.safetensors")


def card(options):
    import card as cards

    cards.write(options.model, options.set or [EVALUATION], options.out or options.model / "MODEL_CARD.md", options.note)


def main():
    parser = argparse.ArgumentParser(prog="tools/train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name, action, text):
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(action=action)
        return sub

    def art_option(sub):
        sub.add_argument("--art", type=Path, default=ART, help=f"art file (default: {ART}, made when absent)")

    sub = command("art", make_art, "fetch and render the art")
    art_option(sub)
    sub.add_argument("--evaluation", action="store_true", help="also the styles that are only evaluated on")
    sub.add_argument("--side", type=int, help="longer side of a sprite, pixels (default: 96; the evaluation set wants 192)")
    sub = command("run", run, "train; continues when RUN holds a checkpoint")
    sub.add_argument("run", type=Path, metavar="RUN", help="folder of checkpoints")
    sub.add_argument("--preset", choices=("cpu", "gpu", "quick"), default="cpu")
    sub.add_argument("--hours", type=float, help="length in hours; may be set again when continuing")
    sub.add_argument("--scenes", type=int, help="length in scenes instead (reproducible); may be set again")
    sub.add_argument("--processes", type=int, help="data-parallel processes (CPU)")
    sub.add_argument("--threads", type=int, help="threads of each process")
    sub.add_argument("--batch", type=int, help="scenes a step and process")
    sub.add_argument("--seed", type=int, default=1)
    sub.add_argument("--out", type=Path, help="export here when the run ends; a finished one is evaluated and gets its card, too")
    art_option(sub)
    sub = command("finish", finish, "let the learning rate of a running or stopped run fall from now on, then end it")
    sub.add_argument("run", type=Path, metavar="RUN")
    sub.add_argument("--minutes", type=float, default=20)
    sub = command("stop", stop, "checkpoint and stop a running run")
    sub.add_argument("run", type=Path, metavar="RUN")
    sub = command("export", export, "write the model of a checkpoint in OpenCLIP's layout")
    sub.add_argument("run", type=Path, metavar="RUN")
    sub.add_argument("--out", type=Path, required=True)
    sub.add_argument("--weights", choices=("average", "last"), default="average")
    sub = command("scenes", scenes, "make the evaluation set")
    sub.add_argument("--out", type=Path, required=True, help="a folder that does not exist yet")
    sub.add_argument("--art", type=Path, default=ART.with_name("art-192.npz"), help="art file made with `art --evaluation --side 192`")
    sub.add_argument("--unseen", nargs="+", default=["fxemoji"], help="styles never trained on (default: fxemoji)")
    sub.add_argument("--seed", type=int, default=2026)
    sub = command("eval", evaluate, "zero-shot and heat maps of an exported model on an evaluation set")
    sub.add_argument("model", type=Path, metavar="MODEL")
    sub.add_argument("--set", type=Path, default=EVALUATION, help="folder with scenes.json (default: weights/eval)")
    sub.add_argument("--classes", type=Path, metavar="FILE", help="only these classes (a concepts.json), to compare models on equal terms")
    sub.add_argument("--json", action="store_true")
    sub = command("check", check, "compare the features of an exported model in PyTorch and in the engine")
    sub.add_argument("model", type=Path, metavar="MODEL")
    sub.add_argument("--lancet", type=Path, default=ROOT / "target" / "release" / "lancet", help="the built program")
    sub.add_argument("--set", type=Path, default=EVALUATION)
    sub = command("golden", golden, "write what the engine has to reproduce with an exported model")
    sub.add_argument("model", type=Path, metavar="MODEL")
    sub.add_argument("--picture", type=Path, default=SCENE, help="with a JSON beside it (default: weights/demo/scene.png)")
    sub.add_argument("--out", type=Path, help="default: MODEL/golden.safetensors")
    sub = command("card", card, "write the model card: data, licences, recipe, figures, checksums")
    sub.add_argument("model", type=Path, metavar="MODEL")
    sub.add_argument("--set", type=Path, action="append", help="evaluation set (repeatable; default: weights/eval)")
    sub.add_argument("--note", action="append", default=[], help="what else happened in the run, a line of its recipe (repeatable)")
    sub.add_argument("--out", type=Path, help="default: MODEL/MODEL_CARD.md")
    options = parser.parse_args()
    try:
        options.action(options)
    except Problem as error:
        say(f"error: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
