"""Whole runs on small photos, against plain Keras and the promises of the design."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders.model_archives import read_model_archive
from builders.networks import thin_vgg16
from builders.photos import paint_splits

from tlcli.data import dataset, preview
from tlcli.errors import DataError, RunError
from tlcli.images import decode
from tlcli.networks.bases import BASES
from tlcli.networks.framework import keras
from tlcli.networks.network import build_network
from tlcli.recipe.load import load_recipe
from tlcli.recipe.settings import Data
from tlcli.runs import directory, resume
from tlcli.system import files, signals
from tlcli.training import mixing, saving, stages
from tlcli.training.order import epoch_order
from tlcli.training.plan import Plan, make_plan
from tlcli.training.preflight import preflight
from tlcli.training.train import TrainedRun, train

pytestmark = pytest.mark.usefixtures("thin_vgg16")

STAGES = """
stages:
  - {name: head, epochs: 2, learning_rate: 1.0e-3}
  - {name: top, freeze_until: BOUNDARY, epochs: 2, learning_rate: 1.0e-4}
"""
HEAD = "stages:\n  - {name: head, epochs: 1}\n"
SIZES = {"VGG16": 32, "ResNet50": 32, "InceptionV3": 75}
#: Of others, where 32 px are too few.
MORE_SIZES = {"SmallConvNet": 48}


@dataclass
class Ran:
    """A finished run with what went into it."""

    plan: Plan
    trained: TrainedRun

    @property
    def path(self) -> Path:
        return self.trained.run.path

    def metrics(self) -> list[dict[str, Any]]:
        lines = (self.path / directory.METRICS).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture
def pair(photos):
    """The generated photos without one of their three classes."""
    return leave_two_classes(photos)


def leave_two_classes(photos: Path) -> Path:
    for folder in photos.glob("*/red"):
        shutil.rmtree(folder)
    return photos


@pytest.fixture
def run(photos, tmp_path):
    """Train on the generated photos: base name, recipe text after `base`, overrides."""

    def start(base: str = "VGG16", text: str = STAGES, *overrides: str, **options: Any) -> Ran:
        return train_on(photos, tmp_path / "small.yaml", base, text, *overrides, **options)

    return start


def side_of(base: str) -> int:
    """Pixels on a side of the photos that a base is tried on."""
    return {**SIZES, **MORE_SIZES}.get(base, 32)


def train_on(
    photos: Path, path: Path, base: str, text: str, *overrides: str, **options: Any
) -> Ran:
    """Write a recipe to `path` and train by it."""
    made = plan_for(photos, path, base, text, *overrides)
    return Ran(made, train(made, resume.RunRequest(**options)))


def plan_for(photos: Path, path: Path, base: str, text: str, *overrides: str) -> Plan:
    """Write a recipe to `path` and plan it."""
    boundary = BASES[base].default_boundary
    path.write_text(
        f"data: {{dir: '{photos}'}}\n"
        f"base: {{name: {base}, weights: random, image_size: {side_of(base)}, "
        "batch_norm: frozen}\n"
        "head: {hidden: [16], dropout: 0.5}\nbatch_size: 8\n"
        + text.replace("BOUNDARY", str(boundary)),
        encoding="utf-8",
    )
    return make_plan(preflight(load_recipe(path, overrides)))


@pytest.fixture(scope="module")
def fine_tuned(tmp_path_factory) -> Ran:
    """A run of `STAGES` with VGG16 on two classes, for tests that only read it."""
    folder = tmp_path_factory.mktemp("fine-tuned")
    with thin_vgg16(), pytest.MonkeyPatch.context() as patched:
        patched.setenv("TLCLI_CACHE", str(folder / "cache"))
        patched.setenv("TLCLI_RUNS", str(folder / "runs"))
        photos = leave_two_classes(paint_splits(folder / "photos"))
        return train_on(photos, folder / "small.yaml", "VGG16", STAGES)


def losses(ran: Ran) -> list[float]:
    """The training loss of every epoch."""
    return [line["loss"] for line in ran.metrics()]


def plain_losses(ran: Ran) -> list[float]:
    """The training losses of the same plan by Keras' own `train_on_batch` on the whole network.

    Nothing is stored: every step runs the network from pixels to probabilities, with frozen layers
    frozen by `trainable`, as Keras' guide on transfer learning has it.
    """
    chosen = ran.plan.recipe
    size = chosen.base.image_size
    network = build_network(ran.plan.row, size, chosen.head, 2, seed=chosen.seed)
    items = ran.plan.index.of("train")
    pixels = np.stack(
        [decode.load_image(i.path, height=size[0], width=size[1], resize="squash") for i in items]
    ).astype(np.float32)
    labels = np.array([item.label for item in items], np.float32)[:, None]
    val = ran.plan.index.of("val")
    val_pixels = np.stack(
        [decode.load_image(i.path, height=size[0], width=size[1], resize="squash") for i in val]
    ).astype(np.float32)
    val_labels = np.array([item.label for item in val], np.float32)[:, None]
    epoch_losses = []
    for number, settings in enumerate(chosen.stages):
        network.freeze(
            settings.freeze_until, batch_norm=chosen.base.batch_norm, first=settings.unfreeze_from
        )
        network.whole.compile(
            keras.optimizers.Adam(settings.learning_rate), keras.losses.BinaryCrossentropy(),
            jit_compile=False,  # which takes much longer than it saves
        )  # fmt: skip
        best, kept = np.inf, network.whole.get_weights()
        for epoch in range(settings.epochs):
            order = epoch_order(chosen.seed, number, epoch, len(items))
            total = 0.0
            for start in range(0, len(order), chosen.batch_size):
                picked = order[start : start + chosen.batch_size]
                network.whole.reset_metrics()
                loss = network.whole.train_on_batch(pixels[picked], labels[picked])
                total += float(loss) * len(picked)
            epoch_losses.append(total / len(items))
            val_loss = network.whole.evaluate(val_pixels, val_labels, verbose=0)
            if val_loss < best:
                best, kept = val_loss, network.whole.get_weights()
        network.whole.set_weights(kept)
    return epoch_losses


@pytest.mark.parametrize(
    "base", ["VGG16", *(pytest.param(name, marks=pytest.mark.slow) for name in list(SIZES)[1:])]
)
def test_training_from_the_store_equals_training_the_whole_network(run, pair, fine_tuned, base):
    ran = fine_tuned if base == "VGG16" else run(base)
    np.testing.assert_allclose(losses(ran), plain_losses(ran), rtol=2e-3)


#: Everything is trained, from stored pixels.
WHOLE = """
stages:
  - {name: head, epochs: 1, learning_rate: 1.0e-3}
  - {name: whole, freeze_until: none, epochs: 3, learning_rate: 1.0e-4}
"""


@pytest.mark.parametrize(
    ("base", "batch_norm"),
    [
        ("SmallConvNet", "train"),
        pytest.param("VGG16", "frozen", marks=pytest.mark.slow),
        *(
            pytest.param(base, mode, marks=pytest.mark.slow)
            for base in ("ResNet50", "MobileNetV2")
            for mode in ("frozen", "train")
        ),
    ],
)
def test_training_the_whole_base_from_stored_pixels_equals_plain_keras(run, pair, base, batch_norm):
    ran = run(base, WHOLE, f"base.batch_norm={batch_norm}", "batch_size=16")
    assert [planned.cut.name for planned in ran.plan.stages] == [ran.plan.row.top.name, "pixels"]
    assert ran.trained.summary.extraction.computed["pixels"] == len(ran.plan.index.items)
    np.testing.assert_allclose(losses(ran), plain_losses(ran), rtol=2e-3)
    (folder,) = files.features_folder(files.cache_folder(None)).glob("any-pixels-*")
    rows = [np.load(path, mmap_mode="r") for path in folder.glob("rows-*.npy")]
    shape = (side_of(base), side_of(base), 3)
    assert {(row.dtype, row.shape[1:]) for row in rows} == {(np.dtype(np.uint8), shape)}


@pytest.mark.slow
def test_layers_between_the_cut_and_the_first_that_trains_stay_frozen(run, pair):
    first = "conv5_block3_2_conv"
    ran = run("ResNet50", STAGES.replace("freeze_until: BOUNDARY", f"unfreeze_from: {first}"))
    assert ran.plan.stages[1].cut.name == "conv5_block2_out"
    np.testing.assert_allclose(losses(ran), plain_losses(ran), rtol=2e-3)
    fresh = build_network(ran.plan.row, (32, 32), ran.plan.recipe.head, 2, seed=0)
    saved = keras.saving.load_model(ran.path / directory.MODEL)
    for name, moves in (("conv5_block3_1_conv", False), (first, True)):
        before, after = (m.get_layer(name).get_weights()[0] for m in (fresh.whole, saved))
        assert (before != after).any() == moves


@pytest.mark.slow
def test_the_whole_base_is_trained_on_stored_views_and_on_live_ones(run, pair):
    views = "augment: {views: 2, rotation_range: 20}\n"
    whole = "stages: [{name: whole, freeze_until: pixels, epochs: 2, learning_rate: 1.0e-4}]\n"
    stored, live = run("VGG16", whole + views), run("VGG16", whole + views, "augment.views=live")
    assert np.isfinite(losses(stored)).all()
    # The views of the first epoch are drawn anew: one of them is another, live and stored alike.
    assert losses(stored)[0] != losses(live)[0]
    plain = [run("VGG16", whole, f"augment.views={views}") for views in (0, "live")]
    assert losses(plain[0]) == losses(plain[1])


@pytest.mark.slow
@pytest.mark.parametrize("base", list(SIZES))
def test_live_views_that_change_nothing_train_as_stored_ones(run, pair, base):
    live = run(base, STAGES + "augment: {views: live}\n")
    np.testing.assert_allclose(losses(live), losses(run(base)), rtol=1e-4)


@pytest.mark.parametrize("base", ["VGG16", pytest.param("ResNet50", marks=pytest.mark.slow)])
def test_frozen_stays_and_the_rest_moves(run, pair, fine_tuned, base):
    ran = fine_tuned if base == "VGG16" else run(base)
    chosen = ran.plan.recipe
    fresh = build_network(ran.plan.row, chosen.base.image_size, chosen.head, 2, seed=chosen.seed)
    saved = keras.saving.load_model(ran.path / directory.MODEL)
    above = {layer.name for layer in fresh.layers_above(str(ran.plan.row.default_boundary))}
    for layer in fresh.whole.layers:
        after = saved.get_layer(layer.name).get_weights()
        same = [np.array_equal(a, b) for a, b in zip(layer.get_weights(), after, strict=True)]
        if layer.name.startswith("head"):
            assert not any(same), layer.name
        elif layer.name not in above or isinstance(layer, keras.layers.BatchNormalization):
            assert all(same), layer.name
        elif same:
            assert not same[0], layer.name


@pytest.mark.slow
def test_batch_norm_trains_when_the_recipe_says_so(run, pair):
    ran = run("MobileNetV3Small", STAGES, "base.batch_norm=train", "batch_size=16")
    chosen = ran.plan.recipe
    fresh = build_network(ran.plan.row, chosen.base.image_size, chosen.head, 2, seed=chosen.seed)
    saved = keras.saving.load_model(ran.path / directory.MODEL)

    def moved(name):
        pairs = zip(
            fresh.whole.get_layer(name).get_weights(), saved.get_layer(name).get_weights(),
            strict=True,
        )  # fmt: skip
        return [not np.array_equal(before, after) for before, after in pairs]

    assert moved("expanded_conv_8_expand_bn") == [True] * 4
    assert moved("expanded_conv_6_expand_bn") == [False] * 4


def test_the_model_opens_with_keras_alone_and_says_what_predict_says(fine_tuned, tmp_path):
    ran = fine_tuned
    item = ran.plan.index.of("test")[0]
    np.save(
        tmp_path / "pixels.npy",
        np.float32(decode.load_image(item.path, height=32, width=32, resize="squash"))[None],
    )
    script = (
        "import sys\n"
        "sys.modules['tlcli'] = None\n"  # importing it would fail
        "import keras, numpy\n"
        "model = keras.saving.load_model(sys.argv[1])\n"
        "print(repr(float(model(numpy.load(sys.argv[2]), training=False)[0, 0])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, ran.path / directory.MODEL, tmp_path / "pixels.npy"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    from tlcli.evaluation.predict import Predictor

    (prediction,) = Predictor(ran.path, raw=True).predict([item.path], top=2)
    by_label = dict(prediction.top)
    assert by_label[ran.plan.index.classes[1]] == pytest.approx(float(done.stdout), abs=1e-6)


def test_a_run_holds_what_it_promises(run):
    ran = run("LeNet5", STAGES, "augment.views=2", "augment.rotation_range=20")
    assert {path.name for path in ran.path.iterdir()} == {*directory.FILES, directory.VIEWS_SHEET}
    record = json.loads((ran.path / directory.RECORD).read_text(encoding="utf-8"))
    assert record["dataset_fingerprint"] == ran.plan.index.fingerprint
    assert record["recipe_fingerprint"] == ran.plan.recipe.fingerprint()
    assert record["versions"]["keras"] == keras.__version__
    again = load_recipe(ran.path / directory.RECIPE)
    assert again.fingerprint() == ran.plan.recipe.fingerprint()
    with (ran.path / directory.SPLIT).open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["sha256"], row["split"]) for row in table] == [
        (item.digest, item.split) for item in ran.plan.index.items
    ]
    assert [(line["stage"], line["epoch"]) for line in ran.metrics()] == [
        ("head", 1), ("head", 2), ("top", 1), ("top", 2)
    ]  # fmt: skip
    with zipfile.ZipFile(ran.path / directory.MODEL) as archive:
        card = json.loads(archive.read(directory.MODEL_CARD))
    assert card["classes"] == list(ran.plan.index.classes)
    assert directory.find_run(None).path == ran.path.resolve()

    summary = json.loads((ran.path / directory.SUMMARY).read_text(encoding="utf-8"))
    trained = ran.trained.as_json()
    assert set(trained) == {"run", "stages", "test", "temperature"}
    assert set(trained["stages"][0]) == {
        "name", "epochs", "best_epoch", "val_loss", "val_accuracy", "seconds"
    }  # fmt: skip
    assert set(trained["test"]) == {"accuracy", "loss", "n"}
    assert summary["test"] == trained["test"]


def test_a_stage_ends_early_and_hands_on_its_best_epoch(run, pair):
    text = "stages:\n  - {name: head, epochs: 40, learning_rate: 0.5, early_stopping: 2}\n"
    ran = run("LeNet5", text)
    lines = ran.metrics()
    best = min(lines, key=lambda line: line["val_loss"])
    (result,) = ran.trained.summary.stages
    assert result.best_epoch == best["epoch"]
    assert result.epochs == len(lines) == result.best_epoch + 2 < 40
    saved = keras.saving.load_model(ran.path / directory.MODEL)
    items = ran.plan.index.of("val")
    pixels = np.stack(
        [decode.load_image(i.path, height=32, width=32, resize="squash") for i in items]
    ).astype(np.float32)
    probabilities = saved(pixels, training=False).numpy()[:, 0].astype(np.float64)
    labels = np.array([item.label for item in items])
    right = np.where(labels == 1, probabilities, 1 - probabilities)
    assert -np.log(right.clip(1e-12)).mean() == pytest.approx(best["val_loss"], rel=1e-3, abs=1e-4)


@pytest.mark.slow
def test_the_same_recipe_gives_the_same_bits(run):
    text = STAGES + "augment: {views: 2, rotation_range: 20}\n"
    first, second = run("VGG16", text), run("VGG16", text)

    def without_times(ran):
        return [{k: v for k, v in line.items() if k != "seconds"} for line in ran.metrics()]

    assert without_times(first) == without_times(second)
    model, other_model = (read_model_archive(ran.path / directory.MODEL) for ran in (first, second))
    assert model == other_model


#: Stages of which the last trains much, little or nothing of the base, and ends early or not.
LAST_STAGES = {
    "fine-tuning": STAGES,
    "whole": WHOLE,
    "head": "stages:\n  - {name: top, freeze_until: BOUNDARY, epochs: 1}\n"
    "  - {name: head, epochs: 1}\n",
    "patience": "stages:\n  - {name: head, epochs: 1}\n"
    "  - {name: top, freeze_until: BOUNDARY, epochs: 9, learning_rate: 0.5, early_stopping: 1}\n",
}


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.slow) for kind in LAST_STAGES],  # see test_durability.py
)
def test_a_run_with_nothing_left_to_train_saves_the_model_of_one_that_was_not_stopped(
    run, pair, fine_tuned, monkeypatch, kind
):
    """It was killed after the checkpoint of its last epoch, so no stage is trained again."""
    undisturbed = fine_tuned if kind == "fine-tuning" else run("VGG16", LAST_STAGES[kind])
    with monkeypatch.context() as patched:
        patched.setattr(saving, "save_model", stop)
        with pytest.raises(KeyboardInterrupt):
            run("VGG16", LAST_STAGES[kind])
    before = [stopped.path for stopped in directory.list_runs(directory.runs_root())]
    resumed = run("VGG16", LAST_STAGES[kind])
    after = [ended.path for ended in directory.list_runs(directory.runs_root())]
    assert after == before and resumed.path in after, "the one that was stopped"
    assert losses(resumed) == losses(undisturbed)
    model, other_model = (
        read_model_archive(ran.path / directory.MODEL) for ran in (undisturbed, resumed)
    )
    assert model == other_model
    layers = {
        layer["config"]["name"]: layer["config"]
        for layer in model["config.json"]["config"]["layers"]
    }
    trained = [name for name in layers if layers[name].get("trainable")]
    assert ("block5_conv1" in trained) == (kind != "head")
    assert ("block4_conv1" in trained) == (kind == "whole")
    assert "head_logits" in trained


def stop(*_: Any) -> None:
    """What takes the place of a function in which a run is stopped."""
    raise KeyboardInterrupt


def test_a_second_run_with_another_head_or_rate_extracts_nothing(run):
    quick = (
        "stages:\n  - {name: head, epochs: 1}\n  - {name: top, freeze_until: BOUNDARY, epochs: 1}\n"
    )
    assert run("VGG16", quick).trained.summary.extraction.images == 39
    changes = (
        "head.hidden=[8]", "head.pooling=max", "head.dropout=0.1",
        "stages.1.learning_rate=1e-6", "stages.1.optimizer=rmsprop",
    )  # fmt: skip
    ran = run("VGG16", quick, *changes)
    assert ran.trained.summary.extraction.images == 0
    assert ran.trained.summary.extraction.computed == {"block4_pool": 0, "block5_pool": 0}


@pytest.mark.slow
def test_stages_from_different_depths_train_what_they_say(run, pair):
    """A later stage with a higher boundary goes on from what a deeper stage has changed."""
    text = """
stages:
  - {name: head, epochs: 1}
  - {name: deep, freeze_until: block3_pool, epochs: 1, learning_rate: 1.0e-3}
  - {name: shallow, freeze_until: block4_pool, epochs: 1, learning_rate: 1.0e-4}
"""
    ran = run("VGG16", text)
    cuts = [planned.cut.name for planned in ran.plan.stages]
    assert cuts == ["block5_pool", "block3_pool", "block3_pool"]
    last = ran.metrics()[-1]
    saved = keras.saving.load_model(ran.path / directory.MODEL)
    items = ran.plan.index.of("val")
    pixels = np.stack(
        [decode.load_image(i.path, height=32, width=32, resize="squash") for i in items]
    ).astype(np.float32)
    predicted = saved(pixels, training=False).numpy()[:, 0] > 0.5
    right = predicted == np.array([i.label for i in items])
    assert right.mean() == pytest.approx(last["val_accuracy"])


def test_every_setting_of_a_stage_trains(run):
    text = """
stages:
  - {name: sgd, epochs: 2, optimizer: {name: sgd, momentum: 0.9, nesterov: true}, schedule: cosine}
  - {name: rmsprop, epochs: 2, optimizer: rmsprop, schedule: {name: exponential, warmup_epochs: 1}}
  - {name: adamw, epochs: 2, optimizer: {name: adamw, weight_decay: 0.01}, label_smoothing: 0.1}
  - {name: plateau, epochs: 2, schedule: {name: plateau, patience: 1}, monitor: val_accuracy}
  - {name: weights, epochs: 2, class_weights: {blue: 1, green: 2, red: 1}, batch_size: 5}
"""
    ran = run("LeNet5", text)
    assert [line["stage"] for line in ran.metrics()] == [
        name for name in ("sgd", "rmsprop", "adamw", "plateau", "weights") for _ in range(2)
    ]
    assert np.isfinite(losses(ran)).all()
    rates = [line["learning_rate"] for line in ran.metrics()]
    assert rates[0] > rates[1], "cosine falls"
    assert rates[2] < 1e-3, "exponential warms up"


def test_three_classes_get_softmax_with_keras_own_loss(run):
    ran = run("LeNet5", HEAD)
    saved = keras.saving.load_model(ran.path / directory.MODEL)
    assert saved.output.shape == (None, 3)
    items = ran.plan.index.of("val")
    pixels = np.stack(
        [decode.load_image(i.path, height=32, width=32, resize="squash") for i in items]
    ).astype(np.float32)
    labels = np.array([item.label for item in items])
    saved.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    loss, accuracy = saved.evaluate(pixels, labels, verbose=0)
    (line,) = ran.metrics()
    assert line["val_loss"] == pytest.approx(loss, rel=1e-4)
    assert line["val_accuracy"] == pytest.approx(accuracy)


@pytest.mark.slow
def test_l2_pulls_the_head_towards_zero(run):
    text = "stages:\n  - {name: head, epochs: 4, learning_rate: 0.01}\n"
    free = run("VGG16", text)
    pulled = run("VGG16", text, "head.l2=1.0")

    def norm(ran):
        model = keras.saving.load_model(ran.path / directory.MODEL)
        return np.linalg.norm(model.get_layer("head_dense_1").get_weights()[0])

    assert norm(pulled) < 0.9 * norm(free)


def test_a_loss_that_is_no_number_ends_the_run_with_a_line(run):
    text = "stages:\n  - {name: head, epochs: 3, learning_rate: 10, optimizer: sgd}\n"
    with pytest.raises(RunError) as raised:
        run("VGG16", text, "head.hidden=[256,256,256,256]", "head.dropout=0")
    assert str(raised.value).startswith("stage 'head': the loss of epoch ")
    assert str(raised.value).endswith("is not a number; lower its learning_rate")


MIXING = {
    "mixup": "augment.mixup=0.4",
    "cutmix": "augment.cutmix=1.0",
}


@pytest.mark.parametrize("kind", ["mixup", pytest.param("cutmix", marks=pytest.mark.slow)])
def test_mixed_photos_train_as_keras_trains_on_soft_labels(run, kind):
    """The losses of plain Keras on mixed pixels, soft labels and weights of classes."""
    text = (
        "stages: [{name: head, epochs: 2, label_smoothing: 0.1, "
        "class_weights: {blue: 1, green: 2, red: 3}}]\n"
    )
    overrides = ("head.dropout=0", "augment.views=live", MIXING[kind])
    ran = run("VGG16", text, *overrides)
    chosen, items = ran.plan.recipe, ran.plan.index.of("train")
    network = build_network(ran.plan.row, (32, 32), chosen.head, 3, seed=chosen.seed)
    network.freeze(None)
    network.whole.compile(
        keras.optimizers.Adam(1e-3), keras.losses.CategoricalCrossentropy(reduction="none"),
        jit_compile=False,
    )  # fmt: skip
    pixels = np.stack(
        [decode.load_image(i.path, height=32, width=32, resize="squash") for i in items]
    ).astype(np.float32)
    smooth = np.eye(3)[[item.label for item in items]] * 0.9 + 0.1 / 3
    weighted = smooth * np.array([1, 2, 3])[[item.label for item in items]][:, None]
    for epoch, line in enumerate(ran.metrics()):
        order, total = epoch_order(0, 0, epoch, len(items)), 0.0
        for batch in range(3):
            picked = order[8 * batch : 8 * batch + 8]
            at = mixing.Step(0, "head", epoch, batch)
            mix = mixing.draw_mix(chosen.augment, at, 8, (32, 32))
            share = mix.shares[:, None]
            target = share * weighted[picked] + (1 - share) * weighted[picked[mix.partners]]
            network.whole.reset_metrics()
            loss = network.whole.train_on_batch(mix.apply(pixels[picked]), *soft(target))
            total += float(loss) * 8
        assert line["loss"] == pytest.approx(total / len(items), rel=2e-4)


def soft(target):
    """Labels that sum to 1, as Keras wants them, and what each photo then weighs."""
    weight = target.sum(axis=1)
    return target / weight[:, None], weight


def test_an_unreadable_photo_stops_the_run_or_is_left_out(run, photos):
    index = dataset.read_index(Data(dir=photos))
    bad = index.of("train")[0].path
    bad.write_bytes(bad.read_bytes()[:-200])
    with pytest.raises(DataError, match="truncated"):
        run()
    shutil.copy(bad, bad.with_name("twin.png"))
    ran = run("VGG16", HEAD, "data.on_bad_image=skip")
    with (ran.path / directory.SPLIT).open(encoding="utf-8", newline="") as file:
        assert not {str(bad), str(bad.with_name("twin.png"))} & {
            row["path"] for row in csv.DictReader(file)
        }
    with pytest.raises(DataError, match="truncated"):
        run("VGG16", HEAD, "augment.views=live")


def test_an_output_folder_is_never_overwritten_unasked(run, tmp_path):
    out = tmp_path / "out"
    run("LeNet5", HEAD, out=out)
    kept = (out / directory.SUMMARY).read_bytes()
    with pytest.raises(RunError) as raised:
        run("LeNet5", HEAD, out=out)
    assert str(raised.value) == (
        f"--out {out}: there is already a run; name another folder, or replace the run with --force"
    )
    assert (out / directory.SUMMARY).read_bytes() == kept
    run("LeNet5", HEAD, "head.dropout=0.2", out=out, force=True)
    assert (out / directory.SUMMARY).read_bytes() != kept


def test_a_run_finishes_where_latest_cannot_be_written(run, tmp_path, monkeypatch, capsys):
    """And a signal after the last step comes too late."""

    def refuse(_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(directory, "mark_latest", refuse)
    out = tmp_path / "out"
    run("LeNet5", HEAD, out=out)
    assert directory.Run(out).closed
    err = " ".join(capsys.readouterr().err.split())
    assert (
        f"cannot be pointed at this run: permission denied; name this run with --run {out}" in err
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("block1_conv1", "weights up to 'block5_pool' have changed though they were frozen"),
        ("head_logits", "the saved model has other weights than the trained one"),
    ],
)
def test_a_model_that_was_saved_otherwise_is_no_finished_run(run, monkeypatch, layer, message):
    save = saving.save_model

    def spoil(network: Any, *rest: Any) -> None:
        bias = network.whole.get_layer(layer).bias
        bias.assign_add(np.full(bias.shape, 1e-7, np.float32))
        save(network, *rest)
        bias.assign_sub(np.full(bias.shape, 1e-7, np.float32))

    monkeypatch.setattr(saving, "save_model", spoil)
    with pytest.raises(RunError, match=message):
        run(text=HEAD)
    (stopped,) = directory.list_runs(directory.runs_root())
    assert not stopped.finished


def test_a_saved_model_is_compared_without_photos_too(photos, tmp_path):
    made = plan_for(photos, tmp_path / "small.yaml", "VGG16", HEAD)
    shutil.rmtree(photos)
    assert saving._pixels(made.recipe, made.index).shape == (saving.REREAD, 32, 32, 3)


def test_the_metrics_of_a_finished_run_are_written_whole(run, monkeypatch):
    """A power cut may take lines that were only appended."""
    monkeypatch.setattr(stages, "append_metrics", lambda *_: None)
    assert len(run("LeNet5", HEAD).metrics()) == 1


def test_a_signal_while_the_views_are_drawn_ends_the_drawing_alone(run, monkeypatch, capsys):
    """Photos are read for it, which may have to be waited for; the run itself is finished."""

    def wait(*_: Any, **__: Any) -> None:
        with signals.interruptible():
            signal.raise_signal(signal.SIGTERM)
            raise AssertionError("the wait goes on")

    monkeypatch.setattr(preview, "write_sheet", wait)
    ran = run("LeNet5", STAGES, "augment.views=2", "augment.rotation_range=20")
    assert {path.name for path in ran.path.iterdir()} == {*directory.FILES}
    assert "warning: no sheet of views: stopped" in capsys.readouterr().err


@pytest.mark.slow
def test_mixed_precision_trains_and_saves(run):
    ran = run("VGG16", STAGES, "precision=mixed_bfloat16")
    assert np.isfinite(losses(ran)).all()
    model = keras.saving.load_model(ran.path / directory.MODEL)
    assert {layer.compute_dtype for layer in model.layers[2:]} == {"float32"}
    assert "float16" not in zipfile.ZipFile(ran.path / directory.MODEL).read("config.json").decode()
