"""Probabilities one can act on: the temperature and threshold in force, and how good they are.

There is one notion of probability: that of the logits divided by the temperature of the run, which
was fitted on the validation photos when training ended (`networks.temperature`). Every command,
file and picture gives it, unless `--raw` asks for the network's own.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.errors import Problem, RunError
from tlcli.networks.probabilities import likeliest_class, softmax
from tlcli.networks.temperature import log_odds
from tlcli.runs.calibration_record import ThresholdRecord, read_calibration_record
from tlcli.runs.directory import Run
from tlcli.runs.evaluation_records import ReliabilityBin
from tlcli.runs.model_file import run_of_model
from tlcli.system import console

Array = npt.NDArray[Any]

#: Bins of equal width in the calibration error and the reliability diagram, as in the paper.
BIN_COUNT = 15


@dataclass(frozen=True)
class Calibration:
    """What turns logits into the probabilities that commands give.

    Attributes:
        temperature: None for the network's own probabilities.
        threshold: below which an answer is unsure, if one was chosen.
        remark: what a user has to know of it: why there is no temperature, or an old one.
    """

    temperature: float | None = None
    threshold: ThresholdRecord | None = None
    remark: str = ""

    def apply(self, logits: Array) -> Array:
        """Logits of a softmax -> probabilities, float64, shape (n, classes)."""
        return softmax(np.asarray(logits, np.float64) / (self.temperature or 1))

    def log_odds(self, logits: Array) -> Array:
        """The same as ln(p / (1 - p)), which ranks also probabilities that are 1 to every digit."""
        return log_odds(logits, self.temperature or 1)

    def without_threshold(self) -> Calibration:
        """The same probabilities, of which none is called unsure."""
        return replace(self, threshold=None)

    def note(self) -> None:
        """Say on stderr what probabilities these are, where they are not the usual ones."""
        if self.remark:
            console.note(self.remark)
        if self.threshold is not None:
            chosen = f"--target-precision {self.threshold.target_precision:g}"
            console.note(
                f"unsure below {self.threshold.probability:.4f}, the threshold of {chosen}; "
                "`tlcli evaluate --clear-threshold` removes it"
            )


#: The network's own probabilities, as `--raw` asks for them.
RAW = Calibration()


def read_calibration(run: Run, *, raw: bool = False) -> Calibration:
    """The calibration that is in force for a run. Raises `RunError` where its file is damaged."""
    if raw:
        return RAW
    record, where = read_calibration_record(run), console.one_line(str(run.path))
    again = f"`tlcli evaluate --run {shlex.quote(str(run.path))} --calibrate`"
    if record is None:
        remark = f"{where}: not calibrated, as tlcli 0.1.0 left it; {again} does it"
        return Calibration(remark=remark)
    if record.temperature is None:
        return Calibration(remark=f"{where}: not calibrated: it had no validation photos")
    remark = (
        f"{where}: calibrated by tlcli 0.1.0, from probabilities that were cut off; "
        f"{again} does it from logits"
    )
    remark = "" if record.fitted_on == "logits" else remark
    return Calibration(record.temperature, record.threshold, remark)


def model_calibration(path: Path, card: dict[str, Any], *, raw: bool = False) -> Calibration:
    """What is in force for a model file: that of its run, or the temperature in its card."""
    run = run_of_model(path)
    if run is not None:
        return read_calibration(run, raw=raw)
    temperature = None if raw else card.get("temperature")
    where = console.one_line(str(path))
    remark = f"{where}: not calibrated: a temperature is neither in it nor in a run around it"
    return Calibration(temperature, remark="" if temperature or raw else remark)


def choose_threshold(probabilities: Array, labels: Array, target: float) -> ThresholdRecord:
    """The lowest threshold that keeps the precision at `target` or above.

    `probabilities` are the calibrated ones of the validation photos. The threshold is the lowest of
    their confidences for which at least a share `target` of the photos that reach it are right.
    Raises `RunError` where there is none.
    """
    confidence, right = probabilities.max(axis=1), likeliest_class(probabilities) == labels
    order = np.argsort(-confidence, kind="stable")
    confidence, right = confidence[order], right[order]
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    # Photos with the same confidence are answered together or not at all.
    last_of_equals = np.append(confidence[1:] < confidence[:-1], True)
    candidates = np.flatnonzero(last_of_equals & (precision >= target))
    if not len(candidates):
        best = precision[last_of_equals].max()
        message = f"no threshold reaches it on the val photos; the best precision is {best:.4f}"
        raise RunError(Problem(f"--target-precision {target:g}", message, "ask for less"))
    last = int(candidates[-1])
    return ThresholdRecord(
        target_precision=target,
        probability=float(confidence[last]),
        val_coverage=(last + 1) / len(right),
        val_precision=float(precision[last]),
    )


def reliability_bins(probabilities: Array, labels: Array) -> tuple[ReliabilityBin, ...]:
    """The reliability diagram: `BIN_COUNT` equal intervals (low, high] of confidence, with the
    number of photos, their mean confidence and their accuracy (None where there are none).

    The confidence is the probability of the likeliest class.
    """
    confidence = np.asarray(probabilities, np.float64).max(axis=1)
    right = likeliest_class(probabilities) == labels
    edges = np.linspace(0, 1, BIN_COUNT + 1)
    number = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, BIN_COUNT - 1)
    return tuple(
        _bin(edges[index], edges[index + 1], confidence[number == index], right[number == index])
        for index in range(BIN_COUNT)
    )


def _bin(low: float, high: float, confidence: Array, right: Array) -> ReliabilityBin:
    n = len(confidence)
    return ReliabilityBin(
        low=float(low),
        high=float(high),
        n=n,
        confidence=float(confidence.mean()) if n else None,
        accuracy=float(right.mean()) if n else None,
    )


def expected_calibration_error(probabilities: Array, labels: Array) -> float:
    """The expected calibration error: the gap between confidence and accuracy of each bin,
    weighted by its photos (Naeini et al., AAAI 2015; Guo et al., 2017)."""
    gaps = (
        row.n * abs(row.confidence - row.accuracy)
        for row in reliability_bins(probabilities, labels)
        if row.confidence is not None and row.accuracy is not None
    )
    return float(sum(gaps) / len(labels))
