"""One photo has one probability: in every command, file and form, calibrated when training ends."""

from __future__ import annotations

import csv
import io
import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import optimize, special

from tlcli.images import decode
from tlcli.networks.framework import keras
from tlcli.report.run_data import read_run_data
from tlcli.runs import directory
from tlcli.runs.calibration_record import read_calibration_record
from tlcli.runs.directory import Run
from tlcli.runs.inputs import read_split

RECIPE = """
name: small
data: {{dir: '{photos}'}}
base: {{name: LeNet5, image_size: 32}}
stages: [{{name: head, epochs: 6, learning_rate: 0.02}}, {{name: top, freeze_until: pool1,
          epochs: 1, learning_rate: 1.0e-4}}]
"""


@pytest.fixture(params=[2, pytest.param(3, marks=pytest.mark.slow)])
def trained(request, photos: Path, write_recipe, cli) -> Run:
    """A run on photos of two or three classes: one that ends in sigmoid, one in softmax."""
    if request.param == 2:
        for split in ("train", "val", "test"):
            shutil.rmtree(photos / split / "green")
    done = cli("finetune", "--config", write_recipe(RECIPE.format(photos=photos)))
    assert done.exit_code == 0, done.stderr
    return directory.find_run(None)


def keras_logits(run: Run, split: str) -> tuple[list[str], Any, Any]:
    """Paths, labels and logits of the photos of a split, by plain Keras from model.keras."""
    rows = [row for row in read_split(run) if row.split == split]
    model = keras.saving.load_model(run.file(directory.MODEL), compile=False)
    below = keras.Model(model.inputs[0], model.get_layer("head_logits").output)
    paths = [str(row.path) for row in rows]
    pixels = [
        np.float32(decode.load_image(Path(path), height=32, width=32, resize="squash"))
        for path in paths
    ]
    logits = below(np.stack(pixels), training=False).numpy().astype(np.float64)
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    classes = run.record()["classes"]
    return paths, np.array([classes.index(row.label) for row in rows]), logits


def every_number(run: Run, paths: list[str], cli, *options: str) -> dict[str, dict[str, Any]]:
    """Probability and log odds of the likeliest class by the path of the photo, from every source.

    Explanations have no log odds.
    """
    root = Path(paths[0]).parents[2]

    def by_path(rows) -> dict[str, tuple[float, float | None]]:
        return {
            str(root / row["path"]): (
                float(row["probability"]), float(row["log_odds"]) if "log_odds" in row else None
            )
            for row in rows
        }  # fmt: skip

    lines = cli("predict", *paths, "--format", "jsonl", *options).stdout.splitlines()
    whole = json.loads(cli("predict", *paths, "--format", "json", *options).stdout)
    table = cli("predict", *paths, "--format", "csv", *options).stdout
    evaluated = json.loads(cli("evaluate", "--json", *options).stdout)
    explained = json.loads(cli("explain", *paths, "--json", "--force", *options).stdout)
    data = read_run_data(run, raw="--raw" in options)
    assert data.predictions is not None and data.evaluation is not None
    shown = [*data.evaluation.mistakes, *data.evaluation.unsure_correct]
    return {
        "predict jsonl": by_path(map(json.loads, lines)),
        "predict json": by_path(whole),
        "predict csv": by_path(csv.DictReader(io.StringIO(table))),
        "evaluate": by_path([*evaluated["mistakes"], *evaluated["unsure_correct"]]),
        "explain": by_path(explained["photos"]),
        "report": by_path(guess.model_dump() for guess in data.predictions),
        "report, examples": by_path(guess.model_dump() for guess in shown),
    }


def sureness(logits) -> list[float]:
    """By how much the logit of the likeliest class exceeds those of the others together."""
    first = logits.max(axis=1)
    others = [np.delete(row, row.argmax()) for row in logits]
    return [float(top - special.logsumexp(rest)) for top, rest in zip(first, others, strict=True)]


def test_every_command_gives_the_same_calibrated_numbers_in_the_order_of_the_logits(
    trained: Run, cli
):
    record = read_calibration_record(trained)
    assert record is not None and record.temperature is not None
    _, labels, val = keras_logits(trained, "val")

    def loss(log_t: float) -> float:
        values = special.log_softmax(val / np.exp(log_t), axis=1)
        return -values[np.arange(len(labels)), labels].mean()

    assert loss(np.log(record.temperature)) <= loss(0)
    if 0.06 < record.temperature < 19:
        truth = optimize.minimize_scalar(loss, bounds=(-3, 3), options={"xatol": 1e-9})
        assert record.temperature in (1.0, pytest.approx(np.exp(truth.x), rel=1e-3))

    paths, _, logits = keras_logits(trained, "test")
    before = cli("predict", *paths, "--format", "json").stdout
    cli("evaluate")
    for options, temperature in (((), record.temperature), (("--raw",), 1.0)):
        truth = special.softmax(logits / temperature, axis=1).max(axis=1)
        expected = dict(zip(paths, truth.tolist(), strict=True))
        order = sorted(paths, key=dict(zip(paths, sureness(logits / temperature), strict=True)).get)
        numbers = every_number(trained, paths, cli, *options)
        for source, by_path in numbers.items():
            assert {path: values[0] for path, values in by_path.items()} == pytest.approx(
                expected, abs=1e-6
            ), source
            odds = [by_path[path][1] for path in order]
            if source != "explain":
                assert all(low < high for low, high in pairwise(odds)), source
    assert cli("predict", *paths, "--format", "json").stdout == before, "evaluate changes nothing"
    with trained.file(directory.predictions("test")).open(newline="") as file:
        rows = list(csv.DictReader(file))
    classes = trained.record()["classes"]
    kept = np.array([[float(row[f"p:{name}"]) for name in classes] for row in rows])
    assert kept == pytest.approx(special.softmax(logits / record.temperature, axis=1), abs=1e-6)


def test_without_validation_photos_nothing_is_calibrated_and_that_is_said(
    photos: Path, write_recipe, cli
):
    photos.joinpath("val").rename(photos.parent / "val")
    photos.joinpath("test").rename(photos.parent / "test")
    text = RECIPE.format(photos=photos / "train").replace("epochs: 6", "epochs: 1")
    text = text.replace(f"'{photos}/train'", f"'{photos}/train', split: {{val: 0, test: 0.25}}")
    done = cli("finetune", "--config", write_recipe(text))
    assert done.exit_code == 0, done.stderr
    assert "probabilities: not calibrated, there were no validation photos\n" in done.stdout
    run = directory.find_run(None)
    record = read_calibration_record(run)
    assert record is not None and record.temperature is None
    photo = next((photos.parent / "test").rglob("*.png"))
    predicted = cli("predict", photo, "--format", "jsonl")
    assert json.loads(predicted.stdout)["calibrated"] is False
    assert f"{run.path}: not calibrated: it had no validation photos\n" in predicted.stderr
