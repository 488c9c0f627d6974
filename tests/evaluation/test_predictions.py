"""Probabilities that a run keeps."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from tlcli.evaluation import predictions
from tlcli.evaluation.predictions import LabelledProbabilities

CLASSES = ("cat", 'do,"g\n')
NAMES = ("a/1.png", 'b/"2",\n.png', "고양이.png")


SHARES = np.random.default_rng(0).random(3, np.float32).astype(np.float64)
LABELLED = LabelledProbabilities(
    NAMES, np.array([0, 1, 1]), np.stack([SHARES, 1 - SHARES], axis=1), CLASSES
)


def test_they_come_back_to_the_last_bit(tmp_path: Path):
    path = tmp_path / "table.csv"
    LABELLED.write(path)
    restored = predictions.read_predictions(path, NAMES, [0, 1, 1], CLASSES)
    assert restored is not None
    assert (restored.probabilities == LABELLED.probabilities).all()
    assert restored.labels.tolist() == [0, 1, 1]
    assert (restored.names, restored.classes) == (NAMES, CLASSES)


def test_the_table_is_as_documented(tmp_path: Path):
    path = tmp_path / "table.csv"
    LABELLED.write(path)
    with path.open(encoding="utf-8", newline="") as file:
        heads, *rows = csv.reader(file)
    assert heads == ["path", "label", "predicted", "p:cat", 'p:do,"g\n']
    assert [row[:2] for row in rows] == [
        [name, CLASSES[label]] for name, label in zip(NAMES, [0, 1, 1], strict=True)
    ]
    assert [row[2] for row in rows] == [
        CLASSES[int(best)] for best in LABELLED.probabilities.argmax(axis=1)
    ]


def test_a_table_of_other_photos_or_a_damaged_one_is_none(tmp_path: Path):
    path = tmp_path / "table.csv"
    assert predictions.read_predictions(path, NAMES, [0, 1, 1], CLASSES) is None
    LABELLED.write(path)
    assert predictions.read_predictions(path, NAMES[::-1], [0, 1, 1], CLASSES) is None
    assert predictions.read_predictions(path, NAMES, [0, 0, 1], CLASSES) is None
    assert predictions.read_predictions(path, NAMES, [0, 1, 1], ("cat", "dog")) is None
    whole = path.read_text(encoding="utf-8")
    for damaged in ("", whole[:-30], whole.replace("0.", "x."), whole.replace("0.", "nan,0.")):
        path.write_text(damaged, encoding="utf-8")
        assert predictions.read_predictions(path, NAMES, [0, 1, 1], CLASSES) is None


def test_the_likeliest_class_of_each_photo_is_read(tmp_path: Path):
    path = tmp_path / "table.csv"
    assert predictions.read_guesses(path) is None
    LABELLED.write(path)
    guesses = predictions.read_guesses(path)
    assert guesses is not None
    assert [(guess.path, guess.label) for guess in guesses] == [
        (name, CLASSES[label]) for name, label in zip(NAMES, LABELLED.labels, strict=True)
    ]
    assert [guess.predicted for guess in guesses] == [
        CLASSES[int(best)] for best in LABELLED.probabilities.argmax(axis=1)
    ]
    assert [guess.probability for guess in guesses] == LABELLED.probabilities.max(axis=1).tolist()
