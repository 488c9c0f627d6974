"""What `tlcli evaluate` changes of a run's calibration, where it is asked to."""

from __future__ import annotations

from pathlib import Path

from tlcli.data.layout import SPLITS
from tlcli.errors import Problem, RunError, reason
from tlcli.evaluation.calibration import Calibration, choose_threshold, read_calibration
from tlcli.evaluation.predictions import LabelledLogits, RunProbabilities
from tlcli.runs import directory
from tlcli.runs.calibration_record import (
    CalibrationRecord,
    fit_calibration,
    read_calibration_record,
    write_calibration_record,
)
from tlcli.runs.directory import Run
from tlcli.runs.inputs import read_split
from tlcli.system import console


def calibrate(run: Run, data: Path | None = None, precision: str = "auto") -> None:
    """Calibrate a run of tlcli 0.1.0 on its val photos, as runs are now when they end.

    A run that is calibrated in this way is left as it is, and a threshold stays in force. Tables of
    probabilities in the run are brought up to date. `precision` is that of `RunProbabilities`, and
    the record says which it was. Raises a `TlcliError` where there are no val
    photos, or they are not there.
    """
    record = read_calibration_record(run)
    if record is not None and record.fitted_on == "logits":
        console.note(f"--calibrate: {run.path} is calibrated already, from its training on")
        return
    val = _val_logits(run, "--calibrate", data, precision)
    fitted = fit_calibration(val.logits, val.labels).model_copy(update={"precision": val.precision})
    if record is not None and record.threshold is not None:
        fitted = _with_threshold(fitted, val, record.threshold.target_precision)
    _write(run, fitted)
    for split in SPLITS:
        if any(row.split == split for row in read_split(run)):
            stored = RunProbabilities(run).stored_logits(split)
            if stored is not None and stored.exact:
                stored.write(run.file(directory.predictions(split)), read_calibration(run))
    console.note(f"{run.path}: calibrated, temperature {fitted.temperature:.3f}")


def set_threshold(
    run: Run, target: float, data: Path | None = None, precision: str = "auto"
) -> None:
    """Choose the threshold for a share of right answers on the val photos, and keep it in the run.

    `precision` is that of `RunProbabilities`. Raises a `TlcliError` where no threshold reaches the
    target, or the run is not calibrated.
    """
    where = f"--target-precision {target:g}"
    record = read_calibration_record(run)
    if record is None:
        message = "the run is not calibrated, as tlcli 0.1.0 left it"
        raise RunError(Problem(where, message, "add --calibrate"))
    val = _val_logits(run, where, data, precision)
    _write(run, _with_threshold(record, val, target))


def clear_threshold(run: Run) -> None:
    """Remove the threshold of a run, and say which it was."""
    record = read_calibration_record(run)
    if record is None or record.threshold is None:
        console.note("--clear-threshold: there is none")
        return
    _write(run, record.model_copy(update={"threshold": None}))
    below = f"{record.threshold.probability:.4f}"
    console.note(f"--clear-threshold: answers below {below} are no longer called unsure")


def _val_logits(run: Run, where: str, data: Path | None, precision: str) -> LabelledLogits:
    if not any(row.split == "val" for row in read_split(run)):
        message = f"the run {run.path} had no validation photos"
        raise RunError(Problem(where, message, "train with some: data.split, or a val folder"))
    source = RunProbabilities(run, precision=precision)
    stored = source.split_logits("val", data=data)
    if stored.exact:
        return stored
    return source.split_logits("val", data=data, again=True)


def _with_threshold(
    record: CalibrationRecord, val: LabelledLogits, target: float
) -> CalibrationRecord:
    probabilities = Calibration(record.temperature).apply(val.logits)
    threshold = choose_threshold(probabilities, val.labels, target)
    return record.model_copy(update={"threshold": threshold})


def _write(run: Run, record: CalibrationRecord) -> None:
    """Raises `RunError` where the run cannot be written: the change would not be in force."""
    try:
        write_calibration_record(run, record)
    except OSError as error:
        path = str(error.filename or run.file(directory.CALIBRATION))
        message = f"cannot be written: {reason(error)}"
        raise RunError(Problem(path, message, "make the run writable, or copy it")) from error
