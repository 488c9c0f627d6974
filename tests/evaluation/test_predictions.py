"""Logits and probabilities that a run keeps."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from tlcli.errors import RunError
from tlcli.evaluation import predictions
from tlcli.evaluation.calibration import RAW, Calibration
from tlcli.evaluation.predictions import LabelledLogits

CLASSES = ("cat", 'do,"g\n')
NAMES = ("a/1.png", 'b/"2",\n.png', "고양이.png")


LOGITS = np.random.default_rng(0).normal(0, 30, (3, 2)).astype(np.float32).astype(np.float64)
LABELLED = LabelledLogits(NAMES, np.array([0, 1, 1]), LOGITS, CLASSES)
CALIBRATION = Calibration(1.7)


def test_logits_come_back_to_the_last_bit(tmp_path: Path):
    path = tmp_path / "table.csv"
    LABELLED.write(path, CALIBRATION)
    restored = predictions.read_table(path)
    assert (restored.logits == LOGITS).all()
    assert restored.exact
    assert restored.labels.tolist() == [0, 1, 1]
    assert (restored.names, restored.classes) == (NAMES, CLASSES)


def test_the_table_is_as_documented(tmp_path: Path):
    path = tmp_path / "table.csv"
    LABELLED.write(path, CALIBRATION)
    with path.open(encoding="utf-8", newline="") as file:
        heads, *rows = csv.reader(file)
    assert heads == [
        "path", "label", "predicted", "p:cat", 'p:do,"g\n', "logit:cat", 'logit:do,"g\n'
    ]  # fmt: skip
    assert [row[:2] for row in rows] == [
        [name, CLASSES[label]] for name, label in zip(NAMES, [0, 1, 1], strict=True)
    ]
    assert [row[2] for row in rows] == [CLASSES[int(best)] for best in LOGITS.argmax(axis=1)]
    values = np.array([row[3:] for row in rows], float)
    assert values[:, :2] == pytest.approx(special.softmax(LOGITS / 1.7, axis=1), rel=1e-12)
    assert (values[:, 2:] == LOGITS).all()


def test_a_table_says_what_the_base_computed_in_where_that_is_not_float32(tmp_path: Path):
    path = tmp_path / "table.csv"
    LABELLED.write(path, CALIBRATION)
    assert predictions.read_table(path).precision == "float32"
    replace(LABELLED, precision="mixed_bfloat16").write(path, CALIBRATION)
    with path.open(encoding="utf-8", newline="") as file:
        heads, *rows = csv.reader(file)
    assert heads[-1] == "precision"
    assert {row[-1] for row in rows} == {"mixed_bfloat16"}
    restored = predictions.read_table(path)
    assert restored.precision == "mixed_bfloat16"
    assert (restored.logits == LOGITS).all()


def test_a_table_of_0_1_0_has_the_logits_that_its_probabilities_tell(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_text("path,label,predicted,p:cat,p:dog\na,dog,dog,0.0,1.0\nb,cat,cat,0.75,0.25\n")
    table = predictions.read_table(path)
    assert not table.exact
    assert table.precision is None
    values = RAW.apply(table.logits)
    assert values == pytest.approx(np.array([[1e-7, 1], [0.75, 0.25]]), rel=1e-6)


WHOLE = "path,label,predicted,p:cat,p:dog,logit:cat,logit:dog\na,dog,dog,0.2,0.8,0.0,1.5\n"


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        ("", ":1: has no column 'path'"),
        (WHOLE.replace("predicted", "guess"), ":1: has no column 'predicted'"),
        (WHOLE.replace("logit:dog", "logit:cow"), ":1: has other columns than tlcli writes"),
        (WHOLE.replace(",1.5", ""), ":2: does not fit"),
        (WHOLE.replace("a,dog", "a,cow"), ":2: does not fit"),
        (WHOLE.replace("1.5", "x"), ":2: holds a value that is no number"),
        (WHOLE.replace("1.5", "inf"), ":2: holds a value that is no number"),
        (WHOLE.replace("a,dog", '"a,dog'), ": cannot be read: "),
    ],
)
def test_damages_are_named(tmp_path: Path, damaged: str, message: str):
    path = tmp_path / "table.csv"
    path.write_text(damaged)
    with pytest.raises(RunError) as caught:
        predictions.read_table(path)
    assert str(caught.value).startswith(f"{path}{message}")
    path.write_text(WHOLE)
    assert predictions.read_table(path).logits.tolist() == [[0.0, 1.5]]


def test_the_likeliest_class_of_each_photo():
    guesses = LABELLED.guesses(CALIBRATION)
    assert [(guess.path, guess.label) for guess in guesses] == [
        (name, CLASSES[label]) for name, label in zip(NAMES, LABELLED.labels, strict=True)
    ]
    assert [guess.predicted for guess in guesses] == [
        CLASSES[int(best)] for best in LOGITS.argmax(axis=1)
    ]
    assert [guess.log_odds for guess in guesses] == pytest.approx(
        abs(LOGITS[:, 0] - LOGITS[:, 1]) / 1.7, rel=1e-12
    )
    assert [guess.probability for guess in guesses] == pytest.approx(
        special.softmax(LOGITS / 1.7, axis=1).max(axis=1), rel=1e-12
    )
