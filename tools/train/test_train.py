"""`python -m pytest tools/train`: no network, no art package, some seconds."""

import errno
import hashlib
import io
import json
import sys
import tarfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import pytest
import torch
from PIL import Image

import art
import backgrounds
import captions
import card
import evalset
import export
import feed
import losses
import measure
import presets
import scenes
import trainer
from common import ROOT, Problem, whole_file
from concepts import held_out_pairs, load
from model import Clip, Config, normalise
from muon import orthogonal
from words import Words


@pytest.fixture(scope="session")
def art_path(tmp_path_factory):
    """An art file with a random blob for every concept in two styles."""
    rng = np.random.default_rng(0)
    concepts = load()
    sprites = []
    for _ in range(2 * len(concepts)):
        high, wide = rng.integers(40, 97, 2)
        sprite = rng.integers(0, 256, (high, wide, 4), np.uint8)
        sprite[..., 3] = 255
        sprites.append(sprite)
    path = tmp_path_factory.mktemp("art") / "art.npz"
    np.savez(
        path, pixels=np.concatenate([s.reshape(-1, 4) for s in sprites]), sizes=np.array([s.shape[:2] for s in sprites]),
        concept=np.tile(np.arange(len(concepts)), 2), style=np.repeat([0, 1], len(concepts)), variant=np.repeat([0, 1], len(concepts)),
        icon=np.array(["x"] * len(sprites)), styles=np.array(["noto", "noto-v1"]), names=np.array([c.name for c in concepts]),
    )
    return path


@pytest.fixture(scope="session")
def bank(art_path):
    return scenes.Bank(art.read(art_path), ["noto", "noto-v1"], backdrops=60)


@pytest.fixture
def tiny(monkeypatch):
    """A preset of seconds, and only the styles of the fixture."""
    monkeypatch.setattr(art, "PACKAGES", {name: {**art.PACKAGES[name]} for name in ("noto", "noto-v1")})
    torch.set_num_threads(1)

    def make():
        return presets.preset("quick", batch=4, text_steps=2, scenes=1000)

    return make


# ---- words, captions ------------------------------------------------------------------------


def test_the_pruned_vocabulary_cuts_the_language_like_the_full_one():
    import gzip

    import words

    texts = captions.language(load() + scenes.grounds())
    pruned = Words.pruned(texts, 32)
    full = [tuple(line.split(" ")) for line in gzip.decompress(words.MERGES.read_bytes()).decode().split("\n") if line]
    rank = {pair: i for i, pair in enumerate(full)}
    names = {id: token for token, id in pruned.vocabulary.items()}
    for text in texts:
        wanted = [token for piece in words.pieces(text) for token in words.merge(words.symbols(piece), rank)]
        assert [names[id] for id in pruned.ids(text)[1:-1]] == wanted[:30], text
    assert len(pruned.vocabulary) < 3000
    again = Words([tuple(pair) for pair in pruned.file()["model"]["merges"]], 32)
    assert again.vocabulary == pruned.vocabulary


def test_unknown_words_fall_to_bytes_and_long_texts_keep_their_end():
    words = Words.pruned(["a cat"], 8)
    assert len(words.ids("zürich")) == 8 and words.ids("zürich")[-1] == words.end
    assert words.ids("a cat")[0] == words.start and len(words.ids("a cat")) == 4


# ---- scenes ---------------------------------------------------------------------------------


def test_a_batch_is_a_pure_function_of_its_numbers(bank):
    one, two = (scenes.batch(bank, scenes.PHASES[2], 1, 5, 0, 6, 8) for _ in "ab")
    assert (one[0] == two[0]).all() and one[1:3] == two[1:3]
    assert all(torch.equal(a, b) for a, b in zip(one[3], two[3]))
    other = scenes.batch(bank, scenes.PHASES[2], 1, 6, 0, 6, 8)
    assert (one[0] != other[0]).any()


def test_masks_name_every_visible_object_and_strangers_never_meet(bank):
    rng = np.random.default_rng(3)
    for _ in range(200):
        scene = scenes.compose(rng, bank, scenes.PHASES[2])
        assert set(np.unique(scene.owner)) - {0} == set(range(1, len(scene.objects) + 1))
        present = scene.present()
        assert not bank.held[np.ix_(present, present)].any()


def test_an_opaque_object_lies_exactly_under_its_mask(bank):
    canvas, owner = np.zeros((32, 32, 3), np.float32), np.zeros((32, 32), np.uint8)
    patch = np.ones((10, 6, 4), np.float32)
    scenes.paste(canvas, owner, patch, -2, 25, 1, 0.0)  # cut at the left and at the foot
    assert (owner == (canvas[..., 0] > 0.5)).all() and owner.sum() == 4 * 7


def test_held_out_pairs_are_symmetric_a_tenth_and_stable():
    small, large = held_out_pairs(50), held_out_pairs(200)
    assert (large == large.T).all() and not large.diagonal().any() and (small == large[:50, :50]).all()
    assert 0.08 < large.mean() < 0.12


# ---- learning -------------------------------------------------------------------------------


def test_concept_loss_ignores_other_present_concepts():
    prompts = torch.eye(3)
    image = torch.nn.functional.normalize(torch.tensor([[1.0, 1.0, 0.0]]), dim=1)
    both, one = torch.tensor([[True, True, False]]), torch.tensor([[True, False, False]])
    even = torch.ones(3)
    assert losses.concept_loss(image, prompts, both, 100.0, even) < 1e-4
    assert losses.concept_loss(image, prompts, one, 100.0, even) > 0.6
    assert losses.concept_loss(image, prompts, torch.zeros(1, 3, dtype=torch.bool), 100.0, even) == 0


def test_a_picture_of_nothing_shows_no_concept():
    prompts, unsure = torch.eye(2), torch.tensor([[False, True]])
    nothing, first = torch.zeros(1, 2, dtype=torch.bool), torch.tensor([[True, False]])
    near, far = torch.tensor([[1.0, 0.0]]), torch.tensor([[-0.7, -0.7]])
    loss = losses.presence_loss
    assert loss(far, prompts, nothing, 20.0, None) < 1e-3 < 10 < loss(near, prompts, nothing, 20.0, None)
    assert loss(near, prompts, first, 20.0, None) < 0.1 < 10 < loss(far, prompts, first, 20.0, None)
    both = torch.tensor([[0.7, 0.7]])
    assert loss(both, prompts, first, 20.0, unsure) < 0.1 < loss(both, prompts, first, 20.0, None)


def test_a_run_of_another_version_is_named(tmp_path):
    torch.save({"format": trainer.FORMAT, "preset": {"model": {}, "warp": 9}}, tmp_path / "checkpoint.pt")
    with pytest.raises(Problem, match="another version"):
        trainer.stored_preset(tmp_path)


def test_stochastic_depth_leaves_out_late_blocks_more_often(art_path, tmp_path, tiny):
    run = trainer.Run(tmp_path, presets.preset("quick", batch=4, text_steps=2, scenes=1000), 1, art_path)
    shares = []
    for run.step in range(400):
        shares.append(run.depth())
    means = np.array(shares).mean(0)
    left_out = (np.array(shares) == 0).mean(0)
    assert np.allclose(means, 1, atol=0.1) and left_out[0] < left_out[-1] < 0.4


def test_a_light_concept_counts_for_less():
    image, prompts = torch.tensor([[1.0, 0.0]]), torch.eye(2)
    for present in ([[True, False]], [[False, True]]):  # alone, its weight is all there is
        alone = losses.concept_loss(image, prompts, torch.tensor(present), 5.0, torch.tensor([1.0, 0.4]))
        assert torch.allclose(alone, losses.concept_loss(image, prompts, torch.tensor(present), 5.0, torch.ones(2)))
    prompts = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    both = torch.tensor([[True, True, False]])
    even, light = (losses.concept_loss(image, prompts, both, 5.0, torch.tensor([1.0, w, 1.0])) for w in (1.0, 0.1))
    assert light < even  # the second one, which is missed, weighs less


def test_what_dropped_patches_hide_is_not_asked_for():
    owners = torch.tensor([[0, 2], [0, 3], [1, 2], [1, 0]])
    pixels = torch.tensor([[50, 0, 0, 0], [10, 40, 50, 50], [64, 64, 64, 64], [0, 0, 0, 9]])
    present = torch.zeros(2, 5, dtype=torch.bool)
    present[owners[:, 0], owners[:, 1]] = True
    present[:, 4] = True  # a ground
    shown, unsure = losses.visible(owners, pixels, torch.tensor([[0, 2], [1, 2]]), present)
    assert shown.nonzero().tolist() == [[0, 2], [0, 3], [0, 4], [1, 2], [1, 4]] and not unsure.any()
    shown, unsure = losses.visible(owners, pixels, torch.tensor([[0], [1]]), present)
    assert shown[0].tolist() == [False, False, True, False, True] and unsure[0].tolist() == [False, False, False, True, False]
    prompts, image = torch.eye(3), torch.tensor([[0.0, 1.0, 0.0]])
    of = lambda unsure: losses.concept_loss(image, prompts, torch.tensor([[True, False, False]]), 9.0, torch.ones(3), unsure)  # noqa: E731
    assert of(torch.tensor([[False, True, False]])) < of(None)  # what is unsure does not compete


def test_scenes_tell_their_grounds(bank):
    first = len(bank.concepts)
    _, shown, _, (owners, pixels) = scenes.batch(bank, scenes.PHASES[2], 1, 3, 0, 40, 8)
    assert {tuple(row) for row in owners.tolist()} == {(i, c) for i, row in enumerate(shown) for c in row if c < len(bank.concepts)}
    assert pixels.shape == (len(owners), 144) and pixels.max() <= 64 and (pixels.sum(1) >= 0.004 * 96 * 96).all()
    assert all(any(first <= number < first + len(bank.grounds) for number in row) for row in shown)
    assert {name for kind in backgrounds.KINDS for name in kind[1]} == {names[0] for names in backgrounds.NAMES}
    words = [word for concept in bank.concepts + bank.grounds for word in concept.names]
    assert len(words) == len(set(words))


def test_texts_read_in_groups_are_the_same():
    torch.manual_seed(0)
    clip = Clip(Config(width=64, layers=1, joint=64, text_width=64, text_layers=2, vocabulary=600))
    rng = np.random.default_rng(0)
    rows = [[598, *rng.integers(0, 500, rng.integers(1, 20)).tolist(), 599] for _ in range(230)]
    with torch.no_grad():
        assert torch.allclose(clip.text(rows), clip.read(rows, "cpu"), atol=1e-5)


def test_caption_loss_does_not_push_apart_pictures_of_the_same_things():
    same = torch.tensor([[True, False], [True, False]])
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert losses.caption_loss(features, features, same, 10.0) < 1e-6


def test_orthogonal_updates():
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonal(torch.randn(2, 48, 16)))
    assert 0.6 < values.min() and values.max() < 1.3


def test_a_killed_run_continues_as_if_nothing_had_happened(art_path, tmp_path, tiny):
    def steps(run, count):
        batches = feed.Feed(run.bank, run.seed, 0, run.preset.batch, 0, run.preset.model.patch)
        for _ in range(count):
            run.learn(batches, 1.0, False)

    straight = trainer.Run(tmp_path, tiny(), 1, art_path)
    steps(straight, 4)
    first = trainer.Run(tmp_path, tiny(), 1, art_path)
    steps(first, 2)
    first.save()
    second = trainer.Run(tmp_path, trainer.stored_preset(tmp_path), 1, art_path)
    second.load()
    steps(second, 2)
    assert (second.step, second.scenes) == (4, 16)
    for name, value in straight.master.state_dict().items():
        assert torch.equal(value, second.master.state_dict()[name]), name
        assert torch.equal(straight.average[name], second.average[name]), name


def test_workers_deliver_the_same_batches_as_the_training_process(bank):
    here, ahead = (feed.Feed(bank, 1, 0, 3, workers, 8) for workers in (0, 2))
    for phase, step in ((0, 7), (0, 8), (1, 9)):  # the workers start again when the phase changes
        (a, names, texts, _), (b, names_ahead, texts_ahead, _) = here.batch(phase, step), ahead.batch(phase, step)
        assert torch.equal(a, b) and names == names_ahead and texts == texts_ahead


def test_finish_starts_the_decay_now(art_path, tmp_path, tiny):
    run = trainer.Run(tmp_path, tiny(), 1, art_path)
    run.step = 500
    assert run.rate() == 1
    (tmp_path / "finish").write_text("0.001")
    run.orders()
    assert run.total - run.now() < 1 and run.rate() <= 1 and not (tmp_path / "finish").exists()


def test_a_broken_checkpoint_is_named(tmp_path):
    with pytest.raises(Problem, match="no checkpoint"):
        trainer.read_checkpoint(tmp_path)
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(Problem, match="cannot be read"):
        trainer.read_checkpoint(tmp_path)


# ---- export, measure ------------------------------------------------------------------------


def test_export_reads_back_and_a_full_disk_leaves_the_old_one(art_path, tmp_path, tiny, monkeypatch):
    run = trainer.Run(tmp_path / "run", tiny(), 1, art_path)
    run.save()
    out = tmp_path / "model"
    export.export(tmp_path / "run", out)
    model = export.Model(out)
    for name, value in model.clip.state_dict().items():
        assert torch.equal(value, run.average[name].half().float()), name
    before = {file.name: file.read_bytes() for file in out.iterdir()}

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(export, "save_file", full)
    with pytest.raises(Problem, match="No space left"):
        export.export(tmp_path / "run", out, "last")
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_run_stopped_in_its_decay_is_not_finished(art_path, tmp_path, tiny):
    run = trainer.Run(tmp_path, tiny(), 1, art_path)
    for run.scenes, wanted in ((900, False), (1000, True)):
        run.rate()
        assert run.decay_from == 700
        run.save()
        assert export.training(trainer.read_checkpoint(tmp_path))["decayed"] == wanted


def test_a_card_has_the_figures_of_its_sets(art_path, tmp_path, tiny, monkeypatch):
    run = trainer.Run(tmp_path / "run", tiny(), 1, art_path)
    run.save()
    export.export(tmp_path / "run", tmp_path / "model")
    maps = dict.fromkeys(
        [*measure.methods(run.preset.model.layers), "all objects, ignoring the text"],
        {"mIoU": 12.3, "threshold": 0.5, "mSC": 4.5, "pointing": 67.0, "argmax": 89.0},
    )
    monkeypatch.setattr(measure, "evaluate", lambda _, place, known: {place.name: {"zero_shot": (11.0, 22.0), "maps": maps}})
    text = card.write(tmp_path / "model", [Path("one"), Path("two")], tmp_path / "card.md", ["stopped once"])
    assert (tmp_path / "card.md").read_text() == text
    assert "* stopped once\n" in text and "**did not fall" in text
    figures = card.figures(text)
    assert figures.startswith("## Measured") and "| one | two |" in figures and "11.0 / 22.0" in figures and "* **two**:" in figures
    assert "Limits" not in figures


def test_a_file_is_whole_or_absent(tmp_path):
    with pytest.raises(RuntimeError), whole_file(tmp_path / "a") as part:
        part.write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_surgery_leaves_the_class_row_alone():
    torch.manual_seed(0)
    clip = Clip(Config(width=64, layers=3, joint=64, text_width=64, text_layers=1, vocabulary=600))
    x = normalise(torch.randint(0, 256, (2, 96, 96, 3), dtype=torch.uint8))
    with torch.no_grad():
        plain, patches = measure.tokens(clip, x, 0)
        assert torch.allclose(plain, clip.image(x), atol=1e-5)
        for depth in (1, 3):
            row, changed = measure.tokens(clip, x, depth)
            assert torch.allclose(row, plain, atol=1e-5) and not torch.allclose(changed, patches, atol=1e-2)


def test_a_perfect_map_scores_full_marks():
    masks = np.zeros((2, 20, 20), bool)
    masks[0, :8, :8], masks[1, 12:, 12:] = True, True
    tally = measure.Tally()
    tally.add(masks.astype(np.float32), masks)
    figures = tally.figures()
    assert [round(figures[key], 3) for key in ("mIoU", "mSC", "pointing", "argmax")] == [100, 100, 100, 100]


def test_only_the_classes_that_both_know_are_asked_for(tmp_path, capsys):
    path = tmp_path / "concepts.json"
    path.write_text('[["cat", "kitten"], ["dodo"], "dog"]')
    assert measure.only(path, {"cat", "dog", "owl"}) == {"cat", "dog"}
    assert "dodo" in capsys.readouterr().err
    with pytest.raises(Problem, match="knows none of its 3"):
        measure.only(path, {"owl"})
    for broken in ('{"cat": 1', "[[]]", "[1]", '"cat"'):
        path.write_text(broken)
        with pytest.raises(Problem, match="expected a JSON list"):
            measure.only(path, {"cat"})


# ---- art ------------------------------------------------------------------------------------


def package(path, version="1.0.0", licence="MIT"):
    with tarfile.open(path, "w:gz") as tar:
        about, icons = {"version": version, "license": licence}, {"icons": {"cat": {"body": "<g/>"}}}
        for name, text in (("package.json", about), ("icons.json", icons)):
            data = json.dumps(text).encode()
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def test_packages_are_checked(tmp_path, monkeypatch):
    row = {"npm": "@x/y", "version": "1.0.0", "licence": "MIT", "kind": "icons", "integrity": "sha512-other"}
    assert set(art.unpack("x", row, package(tmp_path / "p.tgz"))[0]) == {"cat"}
    with pytest.raises(Problem, match="version is '1.0.1', expected '1.0.0'"):
        art.unpack("x", row, package(tmp_path / "p.tgz", version="1.0.1"))
    with pytest.raises(Problem, match="license is 'GPL', expected 'MIT'"):
        art.unpack("x", row, package(tmp_path / "p.tgz", licence="GPL"))
    monkeypatch.setattr(art.shutil, "which", lambda _: None)
    with pytest.raises(Problem, match="npm not found"):
        art.fetch("x", row, tmp_path)


def test_a_package_of_another_content_is_refused(tmp_path, monkeypatch):
    row = {"npm": "@x/y", "version": "1.0.0", "licence": "MIT", "kind": "icons", "integrity": "sha512-other"}
    package(tmp_path / "p.tgz")
    done = art.subprocess.CompletedProcess([], 0, "p.tgz\n", "")
    monkeypatch.setattr(art.shutil, "which", lambda _: "npm")
    monkeypatch.setattr(art.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(Problem, match="not the pinned file"):
        art.fetch("x", row, tmp_path)
    monkeypatch.setattr(art.subprocess, "run", lambda *_, **__: art.subprocess.CompletedProcess([], 1, "", "npm error 404 Not Found"))
    with pytest.raises(Problem, match="404 Not Found"):
        art.fetch("x", row, tmp_path)


def test_line_art_keeps_the_outline():
    sprite = np.zeros((40, 40, 4), np.uint8)
    sprite[5:35, 5:35] = (200, 30, 30, 255)
    sprite[5:35, 20:35, :3] = (30, 30, 200)
    drawn = art.line_art(sprite)
    assert (drawn[..., 3] == sprite[..., 3]).all() and (drawn[20, 19:21, :3] == 28).all()


# ---- the committed evaluation set -----------------------------------------------------------


def test_the_evaluation_set_keeps_its_contract():
    folder = ROOT / "weights" / "eval"
    table = measure.load_set(folder)
    assert table["classes"] == [concept.name for concept in load()], "concepts.toml changed: make weights/eval again"
    held = held_out_pairs(len(table["classes"]))
    sums = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
    for row in table["scenes"]:
        for name in (row["image"], row.get("mask")):
            assert name is None or hashlib.sha256((folder / name).read_bytes()).hexdigest() == sums[name]
        if "mask" in row:
            mask = np.asarray(Image.open(folder / row["mask"]))
            assert mask.dtype == np.uint8 and set(np.unique(mask)) - {0} == {label["value"] for label in row["labels"]}
            present = [table["classes"].index(label["class"]) for label in row["labels"]]
            assert len(present) == 1 or held[np.ix_(present, present)].any(1).all()
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 8_000_000
    kinds = Counter((row["style"], bool(row.get("single"))) for row in table["scenes"])
    alone = {(row["style"], row["labels"][0]["class"]) for row in table["scenes"] if row.get("single")}
    uses = {"train": len(table["classes"])}
    for style in {style for style, _ in kinds} - {"train"}:
        name = style.removeprefix("unseen:")
        assert art.PACKAGES[name]["use"] == "evaluation", f"{name} must not be redistributed, or was trained on"
        uses[style] = sum(owner == style for owner, _ in alone)
    assert len(uses) == 2 and min(uses.values()) > 140
    for style, known in uses.items():
        assert (kinds[style, False], kinds[style, True]) == (evalset.make.__defaults__[1], 2 * known)
