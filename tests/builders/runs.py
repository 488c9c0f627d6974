"""A run with photos, as training and evaluation leave it, for tests of what reads a run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from builders.photos import paint
from tlcli.data.hashing import hash_file
from tlcli.evaluation.calibration import read_calibration
from tlcli.evaluation.evaluate import score
from tlcli.evaluation.predictions import LabelledLogits
from tlcli.runs import directory
from tlcli.runs.calibration_record import fit_calibration, write_calibration_record
from tlcli.runs.directory import Run
from tlcli.runs.evaluation_records import Evaluation, write_evaluation
from tlcli.system import files

Array = npt.NDArray[Any]

#: File names that do harm where they are taken for anything but text.
HOSTILE = (
    "<script>alert(1)</script>.png",  # the slash makes it a folder and a file
    "\"><img src=x onerror='alert(2)'>.png",
    "{{ 7 * 7 }} {% raw %} &lt;b&gt; $x^2$.png",
    "line\nbreak\ttab \x1b[31m.png",
    "\u202egnp.exe \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627.png",
    "고양이 사진 🐈.png",
    f"{'long ' * 30}/{'x' * 150}.png",
    "].png--><!--<plaintext>.png",
)
HOSTILE_CLASSES = ("<b>bold</b>", "quo\"te's & co", "שלום\u202e", "고양이\nline", "x" * 300)

PALETTE = ((40, 60, 210), (50, 190, 60), (210, 50, 40), (200, 200, 30), (120, 30, 160))


@dataclass(frozen=True)
class Stage:
    """A stage of a fabricated run: its boundary, its epochs, its accuracy on the test photos."""

    name: str
    boundary: str | None
    epochs: int
    accuracy: float | None


STAGES = (Stage("head", None, 6, 2 / 3), Stage("block5", "block4_pool", 4, 0.8))


def write_finished_run(
    folder: Path,
    photos: Path,
    *,
    classes: tuple[str, ...] = ("blue", "green", "red"),
    names: tuple[str, ...] = (),
    each: int = 10,
    margin: float = 2.0,
    stages: tuple[Stage, ...] = STAGES,
    splits: tuple[str, ...] = ("train", "val", "test"),
    evaluated: bool = True,
) -> Run:
    """A run on `each` painted photos of every class and split; the first test photos get `names`.

    The logits come from a seeded table: `margin` is what the logit of the true class has
    above the noise of the others.
    """
    items = _paint_photos(photos, splits, len(classes), each, names)
    run = Run(folder)
    folder.mkdir(parents=True)
    _write_records(run, photos, classes, stages, splits, each)
    _write_training(run, stages, each * len(classes))
    rows = [(str(path), classes[label], split, hash_file(path)) for path, label, split in items]
    files.write_table(run.file(directory.SPLIT), ("path", "label", "split", "sha256"), rows)
    for split in splits[1:]:
        in_split = [(path, label) for path, label, of_split in items if of_split == split]
        shown = tuple(path.relative_to(photos).as_posix() for path, _ in in_split)
        labels = np.array([label for _, label in in_split])
        logits = _logits(labels, len(classes), margin, seed=len(split))
        predicted = LabelledLogits(shown, labels, logits, classes)
        last = split == splits[-1]
        if split == "val":
            write_calibration_record(run, fit_calibration(logits, labels))
        if evaluated or not last:
            predicted.write(run.file(directory.predictions(split)), read_calibration(run))
        if evaluated and last:
            _write_evaluation(run, split, predicted)
    return run


def _paint_photos(
    folder: Path, splits: tuple[str, ...], classes: int, each: int, names: tuple[str, ...]
) -> list[tuple[Path, int, str]]:
    """Path, label and split of each photo; the first of the split test get `names`."""
    items = []
    for split in splits:
        remaining = list(names) if split == "test" else []
        for label in range(classes):
            colour = PALETTE[label % len(PALETTE)]
            for number in range(each):
                # The name of a class may be none for a folder: its number is one.
                name = remaining.pop() if remaining else f"{number:03d}.png"
                path = folder / split / str(label) / name
                paint(path, colour, photo_seed(split, label, number), side=40)
                items.append((path, label, split))
    return items


def _logits(labels: Array, classes: int, margin: float, *, seed: int) -> Array:
    logits = np.random.default_rng(seed).normal(0, 1.5, (len(labels), classes))
    return np.asarray(logits + margin * np.eye(classes)[labels])


def _write_evaluation(run: Run, split: str, predicted: LabelledLogits) -> None:
    """What `tlcli evaluate` writes, less its pictures."""
    write_evaluation(run, Evaluation(split=split, **score(predicted, read_calibration(run))))


def photo_seed(split: str, label: int, number: int) -> int:
    """A seed of its own for every photo."""
    return 10_000 * ("train", "val", "test").index(split) + 1_000 * label + number


def _write_records(
    run: Run, photos: Path, classes: tuple[str, ...], stages: tuple[Stage, ...],
    splits: tuple[str, ...], each: int,
) -> None:  # fmt: skip
    counts = {
        split: dict.fromkeys(classes, each if split in splits else 0)
        for split in ("train", "val", "test")
    }
    record = {
        "created": "2030-01-02T03:04:05+00:00",
        "command": ["tlcli", "finetune"],
        "base": "VGG16",
        "seed": 7,
        "recipe_fingerprint": "a" * 64,
        "dataset_fingerprint": "b" * 64,
        "classes": list(classes),
        "photos": counts,
        "weights": {"checksum": "c" * 64},
        "versions": {"tlcli": "0", "keras": "3"},
        "machine": {"processor": "A Processor", "devices": ["CPU"]},
    }
    files.write_json(run.file(directory.RECORD), record)
    recipe = {
        "name": "pets",
        "data": {"dir": str(photos)},
        "base": {"name": "VGG16", "weights": "random", "image_size": 64},
        "stages": [
            {"name": stage.name, "freeze_until": stage.boundary, "epochs": stage.epochs}
            for stage in stages
        ],
    }
    run.file(directory.RECIPE).write_text(json.dumps(recipe))
    run.file(directory.MODEL).touch()


def _write_training(run: Run, stages: tuple[Stage, ...], n: int) -> None:
    """The records of stages with `n` test photos."""
    lines, outcomes = [], []
    for stage in stages:
        for epoch in range(1, stage.epochs + 1):
            line = {
                "stage": stage.name,
                "epoch": epoch,
                "loss": 1 / epoch,
                "accuracy": 1 - 0.5 / epoch,
                "val_loss": 1.2 / epoch,
                "val_accuracy": 1 - 0.6 / epoch,
                "learning_rate": 1e-5 if stage.boundary else 1e-3,
                "seconds": 0.5,
            }
            lines.append(json.dumps(line))
        test = stage.accuracy is not None and {"accuracy": stage.accuracy, "loss": 0.3, "n": n}
        outcomes.append(
            {
                "name": stage.name,
                "epochs": stage.epochs,
                "best_epoch": stage.epochs - 1,
                "val_loss": 0.4,
                "val_accuracy": 0.8,
                "seconds": 2.5,
                "test": test or None,
            }
        )
    run.file(directory.METRICS).write_text("\n".join(lines) + "\n")
    summary = {
        "stages": outcomes,
        "test": outcomes[-1]["test"],
        "extraction": {"images": 120, "computed": {"block5_pool": 120}, "stored": {}},
        "seconds": {"load": 1.0, "extract": 12.0, "stage head": 2.5, "save": 0.5},
    }
    files.write_json(run.file(directory.SUMMARY), summary)


def write_explanations(run: Run) -> None:
    """Heat maps of the mistakes, fabricated."""
    folder = run.file(directory.EXPLANATIONS)
    folder.mkdir()
    index = []
    for number, guess in enumerate(run.read(directory.evaluation("test"))["mistakes"][:4], 1):
        Image.new("RGB", (60, 40), (250, 120, number)).save(folder / f"{number:04d}.png")
        index.append(
            {
                "path": guess["path"],
                "class": guess["predicted"],
                "label": guess["label"],
                "probability": guess["probability"],
                "method": "grad-cam",
                "layer": "block5_conv3",
                "image": f"{number:04d}.png",
            }
        )
    files.write_json(folder / directory.EXPLANATIONS_INDEX, index)
