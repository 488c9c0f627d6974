"""The record of an evaluation, against the file of an earlier version and one written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tlcli.errors import RunError
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.evaluation_records import Evaluation, read_evaluation, write_evaluation
from tlcli.system import files

#: Every key that `tlcli evaluate` writes, in the order of the file.
WRITTEN = """{
  "split": "data",
  "model": {"run": "pets-1", "base": "VGG16", "created": "2030-01-02T03:04:05+00:00"},
  "data": "/photos/\\udcff",
  "seen_in_training": 1,
  "copies": 1,
  "precision": "mixed_bfloat16",
  "tta": 2,
  "without_tta": {"accuracy": 0.5, "log_loss": 0.75},
  "n": 2,
  "classes": ["cat", "dog"],
  "accuracy": 0.5,
  "accuracy_interval": [0.094531, 0.905469],
  "level": 0.95,
  "majority": {"class": "cat", "accuracy": 1.0},
  "balanced_accuracy": 0.5,
  "macro": {"precision": 1.0, "recall": 0.5, "f1": 0.6666666666666666},
  "per_class": [
    {"class": "cat", "support": 2, "precision": 1.0, "recall": 0.5, "f1": 0.6666666666666666,
     "roc_auc": 0.25, "average_precision": 0.125},
    {"class": "dog", "support": 0, "precision": 0.0, "recall": null, "f1": 0.0,
     "roc_auc": null, "average_precision": null}
  ],
  "top_k": {"k": 5, "accuracy": 1.0},
  "roc_auc": 0.25,
  "average_precision": 0.125,
  "temperature": 2.0,
  "log_loss": 0.5,
  "brier": 0.2,
  "ece": 0.1,
  "uncalibrated": {"log_loss": -0.0, "brier": 0.25, "ece": 1e-07},
  "abstaining": {"probability": 0.75, "target_precision": 0.9, "answered": 0, "coverage": 0.0,
                 "precision": null,
                 "precision_interval": [0.0, 1.0]},
  "reliability": {
    "bins": [{"low": 0.0, "high": 0.5, "n": 0, "confidence": null, "accuracy": null},
             {"low": 0.5, "high": 1.0, "n": 2, "confidence": 1.0000001, "accuracy": 0.5}],
    "uncalibrated_bins": null
  },
  "confusion": [[1, 1], [0, 0]],
  "mistakes": [{"path": "b.png", "label": "cat", "predicted": "dog", "probability": 0.9,
                "log_odds": 2.1}],
  "unsure_correct": [{"path": "a.png", "label": "cat", "predicted": "cat", "probability": 0.6,
                      "log_odds": null}]
}"""


def test_the_file_keeps_every_byte(tmp_path: Path):
    run = Run(tmp_path)
    text = json.dumps(json.loads(WRITTEN), indent=2) + "\n"
    path = run.file(directory.evaluation("data"))
    path.write_text(text)
    evaluation = read_evaluation(run, "data")
    assert evaluation is not None
    assert (evaluation.right, evaluation.majority.name) == (1, "cat")
    path.unlink()
    assert write_evaluation(run, evaluation) == path
    assert path.read_text() == text


def test_what_an_earlier_version_left_out_has_a_default(tmp_path: Path):
    """`tta` and `copies` came later than the other keys."""
    value = json.loads(WRITTEN)
    later = {"tta", "without_tta", "copies"}
    kept = {key: part for key, part in value.items() if key not in later}
    evaluation = Evaluation.model_validate({**kept, "of a later version": 1})
    assert (evaluation.tta, evaluation.without_tta, evaluation.copies) == (0, None, 0)


def test_an_evaluation_of_0_1_0_gives_its_calibrated_numbers(tmp_path: Path):
    """It had those of the network in their place, and the calibrated ones beside them."""
    value = json.loads(WRITTEN)
    own = value.pop("uncalibrated")
    value["calibrated"] = {key: value.pop(key) for key in ("temperature", *own)}
    value |= own
    del value["abstaining"]["target_precision"]
    bins = value["reliability"]["bins"]
    calibrated = [{**row, "confidence": row["n"] and 0.75} for row in bins]
    value["reliability"] = {"bins": bins, "calibrated_bins": calibrated}
    value["unsure_correct"][0]["calibrated"] = 0.55
    run = Run(tmp_path)
    files.write_json(run.file(directory.evaluation("test")), value)
    evaluation = read_evaluation(run, "test")
    assert evaluation is not None
    assert (evaluation.temperature, evaluation.log_loss, evaluation.ece) == (2.0, 0.5, 0.1)
    assert evaluation.uncalibrated is not None
    assert evaluation.uncalibrated.brier == 0.25
    assert evaluation.reliability.bins[1].confidence == 0.75
    assert evaluation.reliability.uncalibrated_bins is not None
    assert evaluation.reliability.uncalibrated_bins[1].confidence == 1.0000001
    assert [guess.probability for guess in evaluation.unsure_correct] == [0.55]


def test_a_run_without_an_evaluation_has_none(tmp_path: Path):
    assert read_evaluation(Run(tmp_path), "test") is None


@pytest.mark.parametrize(
    ("key", "damaged", "message"),
    [
        ("per_class", [{"support": 1}], "per_class.0.class: Field required"),
        ("accuracy", 1.5, "accuracy: Input should be less than or equal to 1"),
        ("confusion", [[1]], "Value error, the confusion matrix must have 2 rows of 2 counts"),
    ],
)
def test_damages_are_named(tmp_path: Path, key: str, damaged: object, message: str):
    run = Run(tmp_path)
    path = run.file(directory.evaluation("test"))
    files.write_json(path, {**json.loads(WRITTEN), key: damaged})
    with pytest.raises(RunError) as caught:
        read_evaluation(run, "test")
    assert str(caught.value).startswith(f"{path}: {message}")
