"""Training on several devices is training on one: here two logical processors of a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from builders.commands import ROOT
from builders.model_archives import read_model_archive
from builders.photos import paint_splits
from builders.stores import all_rows

from tlcli.errors import RecipeError, RunError
from tlcli.training.replica_checks import check_replicas
from tlcli.training.replicas import ALONE, Replicas, make_replicas
from tlcli.training.stage_plan import stage_plans

#: Runs commands one after the other in a process whose processor is two devices.
TWO_DEVICES = """
import json, sys
from tlcli.networks.framework import tf
(processor,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(
    processor, [tf.config.LogicalDeviceConfiguration()] * 2
)
from builders.networks import thin_vgg16
from tlcli.cli import main
with thin_vgg16():
    for words in json.loads(sys.argv[1]):
        main(words, standalone_mode=False)
"""

#: The last batch has one photo, so that one of two devices has none.
RECIPE = """
data: {dir: photos}
base: {name: BASE, weights: random, image_size: 32, batch_norm: frozen}
head: {hidden: [8], dropout: 0.0, l2: 0.01}
precision: float32
batch_size: 10
stages:
  - {name: head, epochs: 3, learning_rate: 0.05, optimizer: sgd, class_weights: balanced}
  - {name: top, freeze_until: CUT, epochs: 3, learning_rate: 0.01, optimizer: adam}
"""


def run_commands(folder: Path, *commands: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES, json.dumps(commands)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
             "TLCLI_CACHE": str(folder / "cache"), "TLCLI_RUNS": str(folder / "runs"),
             "TLCLI_INSTANT": "0"},
        capture_output=True,
        text=True,
        timeout=540,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


def metrics(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]


def assert_same_course(run: Path, other: Path, epochs: int = 6) -> None:
    """Losses within 1e-5 of each other, in relation to them, and the same accuracies."""
    first, second = metrics(run), metrics(other)
    assert len(first) == len(second) == epochs
    for expected, actual in zip(first, second, strict=True):
        for key in ("loss", "val_loss"):
            np.testing.assert_allclose(actual[key], expected[key], rtol=1e-5)
        for key in ("accuracy", "val_accuracy", "learning_rate"):
            assert actual[key] == expected[key]


def compare_devices(folder: Path, recipe: str, *more: str) -> None:
    paint_splits(folder / "photos", train=7, val=3, test=2)
    (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
    words = ["finetune", "--config", "recipe.yaml", *more]
    err = run_commands(
        folder,
        [*words, "--out", "one"],
        [*words, "--out", "two", "--set", "devices=all", "--cache-dir", "other"],
    )
    assert err.count("training on /CPU:0, /CPU:1\n") == 1
    assert err.count("extracting on /CPU:0, /CPU:1\n") == 1
    assert all_rows(folder / "cache") == all_rows(folder / "other")
    assert_same_course(folder / "one", folder / "two")
    first, second = (read_model_archive(folder / name / "model.keras") for name in ("one", "two"))
    assert first.keys() == second.keys()


def test_two_devices_train_as_one_does(tmp_path: Path):
    recipe = RECIPE.replace("BASE", "VGG16").replace("CUT", "block5_conv2")
    compare_devices(tmp_path, f"{recipe}augment: {{views: 1, horizontal_flip: true}}\n")


@pytest.mark.slow
@pytest.mark.parametrize("mixing", [{}, {"mixup": 0.3}], ids=["plain", "mixed"])
def test_two_devices_train_a_network_with_batch_norm(tmp_path: Path, mixing: dict):
    recipe = RECIPE.replace("BASE", "MobileNetV2").replace("CUT", "block_16_project")
    compare_devices(tmp_path, f"{recipe}augment: {json.dumps({'views': 1, **mixing})}\n")


def test_one_device_needs_no_strategy():
    assert make_replicas(1) is ALONE
    assert ALONE.count == 1


def test_devices_that_are_not_there():
    with pytest.raises(RunError) as raised:
        make_replicas([0, 7])
    assert str(raised.value) == (
        "devices: device 7 is asked for, and there are /CPU:0; write devices: all, or fewer"
    )


@pytest.mark.parametrize(("photos", "parts"), [(32, [16, 16]), (5, [2, 3]), (1, [0, 1])])
def test_parts_of_a_batch_cover_it(photos: int, parts: list[int]):
    replicas = Replicas()
    replicas.count = 2
    assert np.diff(replicas._bounds(photos)).tolist() == parts


@pytest.mark.parametrize("devices", ["0", "some", "[]", "[1, 1]", "1.5", "{a: 1}", "[a]"])
def test_devices_of_a_recipe_that_cannot_be(load, devices: str):
    with pytest.raises(RecipeError) as raised:
        load("", f"devices={devices}")
    assert str(raised.value).endswith(
        "must be all, how many, or a list of their numbers, as in [0, 1]"
    )


def test_devices_are_no_part_of_a_recipe_that_does_not_name_them(load):
    plain = load("")
    assert "devices" not in plain.resolved()
    assert load("", "devices=1").fingerprint() == plain.fingerprint()
    assert load("", "devices=all").fingerprint() != plain.fingerprint()
    assert load("", "devices=[0, 1]").resolved()["devices"] == [0, 1]


NORMS = (
    "base.name=MobileNetV2", "base.batch_norm=train", "batch_size=11",
    "stages=[{name: head}, {name: top, freeze_until: block_15_add, learning_rate: 1.0e-4}]",
)  # fmt: skip


def check_on(copies: int, parts, *overrides: str) -> str:
    """What is said of training on so many devices; 24 photos are for training."""
    recipe, index = parts(*NORMS, *overrides)
    plan = SimpleNamespace(recipe=recipe, index=index, stages=[*stage_plans(recipe, index)])
    replicas = Replicas()
    replicas.count = copies
    try:
        check_replicas(plan, replicas)
    except RunError as error:
        return str(error)
    return ""


def test_batch_norm_needs_a_photo_on_every_device(parts):
    assert check_on(1, parts) == check_on(2, parts) == ""
    text = "stage 'top': a batch of {} leaves some of {} devices without any, and batch norm takes "
    text += "its statistics on each; set {}base.batch_norm: frozen"
    assert check_on(3, parts) == text.format("2 photos", 3, "batch_size: 12, or ")
    assert check_on(2, parts, "batch_size=23") == text.format("1 photo", 2, "batch_size: 24, or ")
    assert check_on(3, parts, "batch_size=2") == text.format("2 photos", 3, "batch_size: 3, or ")
    assert check_on(32, parts) == text.format("2 photos", 32, "").replace(
        "frozen", "frozen, or train on fewer devices"
    )
    assert check_on(3, parts, "base.batch_norm=frozen") == ""
    assert check_on(3, parts, "base.name=VGG16", "stages=[{name: head}]") == ""


def test_techniques_of_one_device_are_refused_before_anything_is_trained(parts):
    stages = (
        "stages=[{name: head, ema: 0.9}, {name: top, freeze_until: block_15_add, layer_decay: 0.5}]"
    )
    hint = "; leave it out, or set devices: 1 and train without --workers"
    assert check_on(2, parts, "head.normalize=true", stages) == (
        f"stage 'head': ema, head.normalize trains on one device in one process alone{hint}\n"
        f"stage 'top': layer_decay, head.normalize trains on one device in one process alone{hint}"
    )
    assert check_on(1, parts, stages) == ""
