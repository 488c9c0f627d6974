"""The record of a run's calibration: written when training ends, read by whatever predicts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy.typing as npt
from pydantic import Field, PositiveInt

from tlcli.errors import Problem, RunError
from tlcli.networks.temperature import (
    HIGHEST_TEMPERATURE,
    LOWEST_TEMPERATURE,
    fit_temperature,
    log_loss,
)
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.records import RecordPart, Share, validate_record
from tlcli.system import files

Array = npt.NDArray[Any]

Temperature = Annotated[float, Field(ge=LOWEST_TEMPERATURE, le=HIGHEST_TEMPERATURE)]


class ThresholdRecord(RecordPart):
    """The confidence from which on the model answers.

    `probability` is a calibrated one. On the validation photos, `val_coverage` of them reach it,
    and `val_precision` of those are right.
    """

    target_precision: Share
    probability: Share
    val_coverage: Share
    val_precision: Share


class ValidationLosses(RecordPart):
    """The photos that a temperature was fitted on, and their log loss without and with it."""

    n: PositiveInt
    log_loss_before: float | None = None
    log_loss_after: float | None = None


class CalibrationRecord(RecordPart):
    """`calibration.json`.

    Attributes:
        temperature: by which logits are divided; None where the run had no validation photos.
        precision: that the logits were computed in; None where an earlier version fitted it.
        fitted_on: tlcli 0.1.0 fitted it on probabilities, which were cut off at 1 - 1e-7.
        threshold: None unless `tlcli evaluate --target-precision` has chosen one.
    """

    temperature: Temperature | None
    fitted_on: Literal["logits", "probabilities"] = "probabilities"
    precision: str | None = None
    val: ValidationLosses | None = None
    threshold: ThresholdRecord | None = None


def fit_calibration(logits: Array, labels: Array) -> CalibrationRecord:
    """Fit the temperature on validation photos, logits (n, classes) and labels (n,), without files.

    Without a photo there is no temperature.
    """
    if not len(labels):
        return CalibrationRecord(temperature=None, fitted_on="logits")
    temperature = fit_temperature(logits, labels)
    losses = ValidationLosses(
        n=len(labels),
        log_loss_before=log_loss(logits, labels),
        log_loss_after=log_loss(logits, labels, temperature),
    )
    return CalibrationRecord(temperature=temperature, fitted_on="logits", val=losses)


def read_calibration_record(run: Run) -> CalibrationRecord | None:
    """The calibration that a run holds; None where tlcli 0.1.0 left it without one.

    Raises `RunError` where the file is damaged.
    """
    path = run.file(directory.CALIBRATION)
    if not path.exists():
        return None
    try:
        return validate_record(path, run.read(directory.CALIBRATION), CalibrationRecord)
    except RunError as error:
        hint = "restore it, or remove it and run `tlcli evaluate --calibrate`"
        first = error.problems[0]
        raise RunError(Problem(first.where, first.message, hint)) from error


def write_calibration_record(run: Run, record: CalibrationRecord) -> None:
    """Write the calibration of a run, where every command finds it."""
    files.write_json(run.file(directory.CALIBRATION), record.model_dump())
