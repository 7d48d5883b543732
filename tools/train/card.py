"""The model card: licences, data, recipe, figures, checksums, written from what was really done."""

import json
from datetime import timedelta

import measure
from art import PACKAGES
from common import Problem, sha256, write_bytes
from export import CONCEPTS, CONFIG, TOKENIZER, WEIGHTS, Model

LIMITS = """\
* Illustrations in the manner of emoji only; photographs, sketches and other languages are out of reach. An unknown word still gets a map, and it means nothing.
* Boundaries are patches of {patch} px in a picture of {image} px: fine parts (a rotor, a string, thin legs) are lost.
* Names of backgrounds (sky, snow) say what a picture is and light up everywhere: with `lancet segment --background`, take a word like "nothing". Words inside a sentence (`lancet words`) were never trained on their own.
* One seed. The threshold of mIoU is the best on the very pictures it is measured on, for every method alike.
* No use beyond demonstration and tests is intended.
"""


def art_rows():
    for row in PACKAGES.values():
        yield "| {title} | {author}, <{source}> | `{npm}` {version} | {licence} | {use} |".format(**row)


def findings(results, layers):
    """What the figures say, in words that follow from them."""
    for style, entry in results.items():
        maps = entry.get("maps")
        if not maps:
            continue
        raw, union = maps["raw CLIP"], maps["all objects, ignoring the text"]["mIoU"]
        depths = {name: figures for name, figures in maps.items() if name.startswith("v-v, last")}
        name = max(depths, key=lambda key: depths[key]["mIoU"])
        best, values = depths[name], maps[f"v only, all {layers}"]
        feature = maps[f"v-v, all {layers}, feature surgery, all labels"]
        whole = depths[f"v-v, last {layers}"]
        yield (
            f"* **{style}**: architecture surgery takes mIoU from {raw['mIoU']:.1f} (raw CLIP) to {best['mIoU']:.1f} ({name}), mSC from "
            f"{raw['mSC']:.1f} to {best['mSC']:.1f}, pointing from {raw['pointing']:.0f} to {best['pointing']:.0f} %, argmax from {raw['argmax']:.0f} to "
            f"{best['argmax']:.0f} %. A map of all objects that ignores the text reaches mIoU {union:.1f}: surgery is "
            f"{'better' if best['mIoU'] > union else 'not better'} than that in outline, and what it adds is which object is which. "
            f"Feature surgery over all labels changes mIoU by {feature['mIoU'] - whole['mIoU']:+.1f} and pointing by {feature['pointing'] - whole['pointing']:+.1f}. "
            f"Values alone (no v-v similarity) reach {values['mIoU']:.1f} against {whole['mIoU']:.1f} with it."
        )


def card(folder, sets, notes=()):
    """Markdown for the exported model in `folder`; `sets`: folders of evaluation sets; `notes`: what else happened in the run."""
    try:
        run = json.loads((folder / "training.json").read_text())
        concepts = json.loads((folder / CONCEPTS).read_text())
    except OSError as error:
        raise Problem(f"{error.filename} is missing: export the model with this tool first") from error
    model = Model(folder)
    config, preset = model.config, run["preset"]
    results = {}
    for place in sets:
        for style, entry in measure.evaluate(model, place, known={row[0] for row in concepts}).items():
            results.setdefault(style, entry)
    parameters = sum(p.numel() for p in model.clip.parameters())
    vocabulary = config.vocabulary
    files = "\n".join(
        f"| `{name}` | {(folder / name).stat().st_size:,} | `{sha256(folder / name)}` |" for name in (WEIGHTS, CONFIG, TOKENIZER, CONCEPTS)
    )
    decay = "fell to zero at the end" if run["decayed"] else "**did not fall to zero: this is an average taken in the middle of a run**"
    gates = "\n".join(
        f"| {row['scenes']:,} | {timedelta(seconds=round(row['seconds']))} | {row['phase']} | {100 * row['accuracy']:.1f} |"
        for row in run["clean_accuracy"][:: max(1, len(run["clean_accuracy"]) // 12)]
    )
    return f"""# Model card: the bundled model

**What it is.** A small CLIP, trained from scratch on synthetic scenes of openly licensed emoji art, so that every method of the
engine can be seen without a download. It knows {len(concepts)} concepts. It is a demonstration model: for photographs load a real CLIP by path.

| | vision | text |
| --- | --- | --- |
| input | {config.image} x {config.image} px, patch {config.patch} | context {config.context}, vocabulary {vocabulary:,} (start {vocabulary - 2}, end {vocabulary - 1}) |
| width / layers / heads | {config.width} / {config.layers} / {config.width // 64} of 64 | {config.text_width} / {config.text_layers} / {config.text_width // 64} of 64 |

Joint width {config.joint}, QuickGELU, {parameters / 1e6:.2f} M parameters stored as F16 in OpenCLIP's layout; CLIP's usual mean and deviation, bicubic resize of the
whole picture to a square.

| file | bytes | sha256 |
| --- | --- | --- |
{files}

## Training data

No picture from the web was used. Scenes were composed on the fly from icons of the packages used to train; their exact masks were used for evaluation only.
No art is contained in the weights.

| art | author, source | npm package | licence | used for |
| --- | --- | --- | --- | --- |
{chr(10).join(art_rows())}

The art was rendered, recoloured (grey, any hue, negative, in up to half of the sprites), drawn again as line art, outlined, sheared, scaled, turned and composed.
Tokenizer: the byte-pair merges of OpenAI CLIP (MIT), reduced to those that the captions and the 85 prompt templates need.
Weights, tables and code: the project's licence.

## Recipe

* Text tower alone for {preset['text_steps']} steps; then softmax of each present concept against the absent ones (random templates and synonyms; names of backgrounds are concepts, too, with weight {preset['ground']}) plus half the usual caption contrast. Class-token pooling, no mask loss.
* A sigmoid for every pair of picture and concept says whether it is there (weight {preset['presence']}). The softmaxes do not see what all prompts share, and in maps that lights up where the objects are not; this loss makes it point at objects.
* Stochastic depth of the vision tower's MLPs, up to {preset['depth']}.
* Three phases, opened when zero-shot on clean single objects passes {100 * preset['gates'][0]:.0f} and {100 * preset['gates'][1]:.0f} %: one large object at 64 px; one or two at 64 px; none to five at 96 px. {preset['keep'][2]} of 144 patches are looked at (what they hide is not asked for) until the rate has fallen to {preset['whole']} of what it was.
* Muon ({preset['muon']}) on the vision matrices, AdamW ({preset['adam']}) elsewhere; batch {preset['batch'] * preset['processes']}; bf16 arithmetic, f32 weights, their average (decay {preset['average']}); the learning rate {decay}.
* {run['scenes']:,} scenes in {run['steps']:,} steps, {run['minutes']:.0f} minutes on {preset['device'].upper()} ({preset['processes']} processes), seed {run['seed']}. `python tools/train run RUN`: see tools/train/README.md.
{"".join(f"* {note}{chr(10)}" for note in notes)}
| scenes | time | phase | clean accuracy, % |
| --- | --- | --- | --- |
{gates}

## Measured

Definitions: `tools/train/measure.py`. Compositions whose pairs were never seen in training; styles named `unseen` were never trained on. Percent; chance of zero-shot is {100 / len(concepts):.1f}.

{measure.table(results)}
## Where surgery helps, and where not

{chr(10).join(findings(results, config.layers))}

## Limits

{LIMITS.format(patch=config.patch, image=config.image)}"""


def figures(text):
    """The part of a card that says how good the model is."""
    return text[text.index("## Measured"):text.index("## Limits")].rstrip()


def write(folder, sets, out, notes=()):
    """Writes the card and returns its text."""
    text = card(folder, sets, notes)
    write_bytes(out, text.encode())
    return text
