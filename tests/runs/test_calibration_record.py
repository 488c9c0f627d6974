"""The calibration that a run keeps, in the form of today and in that of 0.1.0."""

from __future__ import annotations

import numpy as np
import pytest

from tlcli.errors import RunError
from tlcli.networks.temperature import fit_temperature, log_loss
from tlcli.runs import directory
from tlcli.runs.calibration_record import (
    ThresholdRecord,
    fit_calibration,
    read_calibration_record,
    write_calibration_record,
)
from tlcli.runs.directory import Run
from tlcli.system import files

LOGITS = np.random.default_rng(0).normal(0, 3, (60, 3))
LABELS = np.where(np.arange(60) % 3, LOGITS.argmax(axis=1), np.arange(60) % 3)
THRESHOLD = ThresholdRecord(
    target_precision=0.9, probability=0.7, val_coverage=0.5, val_precision=0.95
)


def test_what_is_fitted_is_recorded():
    record = fit_calibration(LOGITS, LABELS)
    temperature = fit_temperature(LOGITS, LABELS)
    assert record.model_dump() == {
        "temperature": temperature,
        "fitted_on": "logits",
        "precision": None,
        "val": {
            "n": 60,
            "log_loss_before": log_loss(LOGITS, LABELS),
            "log_loss_after": log_loss(LOGITS, LABELS, temperature),
        },
        "threshold": None,
    }


def test_without_validation_photos_there_is_no_temperature():
    record = fit_calibration(np.empty((0, 2)), np.empty(0, int))
    assert (record.temperature, record.fitted_on, record.val) == (None, "logits", None)


def test_a_run_keeps_it(tmp_path):
    run = Run(tmp_path)
    assert read_calibration_record(run) is None
    plain = fit_calibration(LOGITS, LABELS)
    for record in (plain, plain.model_copy(update={"threshold": THRESHOLD})):
        write_calibration_record(run, record)
        assert read_calibration_record(run) == record


def test_the_file_of_an_earlier_version_is_read(tmp_path):
    value = {
        "temperature": 1.5,
        "val": {"n": 9, "ece_before": 0.2, "ece_after": 0.1, "log_loss_before": 0.3,
                "log_loss_after": 0.25},
        "threshold": {"target_precision": 0.9, "probability": 0.7, "val_coverage": 0.5,
                      "val_precision": 0.95},
    }  # fmt: skip
    files.write_json(tmp_path / directory.CALIBRATION, value)
    record = read_calibration_record(Run(tmp_path))
    assert record is not None
    assert (record.temperature, record.fitted_on) == (1.5, "probabilities")
    assert record.threshold == THRESHOLD


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "Input should be a valid dictionary"),
        ({}, "temperature: Field required"),
        ({"temperature": 0, "val": {}, "threshold": None}, "temperature: Input should be greater"),
        ({"temperature": "warm", "val": {"n": 1}}, "temperature: Input should be a valid number"),
        ({"temperature": 1.0, "threshold": {"probability": 1}}, "threshold.target_precision: Fie"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, value, message):
    run = Run(tmp_path)
    files.write_json(run.file(directory.CALIBRATION), value)
    with pytest.raises(RunError) as caught:
        read_calibration_record(run)
    line = str(caught.value)
    assert line.startswith(f"{tmp_path}/calibration.json: {message}")
    assert line.endswith("; restore it, or remove it and run `tlcli evaluate --calibrate`")
