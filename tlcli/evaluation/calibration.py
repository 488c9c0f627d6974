"""Probabilities one can act on: temperature scaling, calibration error, and when to abstain.

A network that is right nine times in ten should give a probability of 0.9. Fine-tuned ones mostly
give a higher one; dividing their logits by one number, fitted on the validation photos, corrects
most of that and changes no answer (Guo et al., "On Calibration of Modern Neural Networks", ICML
2017).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.errors import Problem, RunError
from tlcli.networks.probabilities import likeliest_class, softmax
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.evaluation_records import ReliabilityBin
from tlcli.system import files

Array = npt.NDArray[Any]

#: Smaller probabilities count as this one. Of two classes one is `1 - p`, which in float32 cannot
#: come closer to 0 than 6e-8 (Keras' epsilon is 1e-7, too); more classes come from a softmax, which
#: can give every number that float32 has.
EPSILON, SMALLEST_FLOAT = 1e-7, float(np.finfo(np.float32).tiny)

#: Bins of equal width in the calibration error and the reliability diagram, as in the paper.
BIN_COUNT = 15

#: A temperature outside of these is no calibration: there are too few mistakes to determine one.
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0

#: Bisection or Newton steps at most; ten are usual.
MAX_STEPS = 200


@dataclass(frozen=True)
class Threshold:
    """The confidence from which on the model answers.

    `probability` is a calibrated one. On the validation photos, `coverage` of them reach it, and
    `precision` of those are right.
    """

    target_precision: float
    probability: float
    coverage: float
    precision: float


@dataclass(frozen=True)
class Calibration:
    """The temperature of a run, its effect on the validation photos, and the threshold, if any.

    Attributes:
        val: n, and ece and log_loss before and after.
    """

    temperature: float
    val: dict[str, Any]
    threshold: Threshold | None = None

    def apply(self, probabilities: Array) -> Array:
        """Calibrated probabilities, shape (n, classes); the order within a row stays."""
        return apply_temperature(probabilities, self.temperature)

    def as_dict(self) -> dict[str, Any]:
        """The form in `calibration.json`."""
        threshold = self.threshold and {
            "target_precision": self.threshold.target_precision,
            "probability": self.threshold.probability,
            "val_coverage": self.threshold.coverage,
            "val_precision": self.threshold.precision,
        }
        return {"temperature": self.temperature, "val": self.val, "threshold": threshold}


def fit(probabilities: Array, labels: Array) -> Calibration:
    """Fit the temperature that makes the labels of validation photos likeliest.

    Args:
        probabilities: of a network, shape (n, classes), n at least 1.
        labels: the true classes, integers, shape (n,).
    """
    temperature = _best_temperature(_logits(probabilities), labels)
    after = apply_temperature(probabilities, temperature)
    val = {
        "n": len(labels),
        "ece_before": expected_calibration_error(probabilities, labels),
        "ece_after": expected_calibration_error(after, labels),
        "log_loss_before": log_loss(probabilities, labels),
        "log_loss_after": log_loss(after, labels),
    }
    return Calibration(temperature, val)


def add_threshold(
    calibration: Calibration, probabilities: Array, labels: Array, target: float
) -> Calibration:
    """The calibration with the lowest threshold that keeps the precision at `target` or above.

    `probabilities` are the uncalibrated ones of the validation photos. The threshold is the lowest
    of their confidences for which at least a share `target` of the photos that reach it are right.
    Raises `RunError` where there is none.
    """
    values = calibration.apply(probabilities)
    confidence, right = values.max(axis=1), likeliest_class(values) == labels
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
    coverage = (last + 1) / len(right)
    threshold = Threshold(target, float(confidence[last]), coverage, float(precision[last]))
    return replace(calibration, threshold=threshold)


def read_calibration(run: Run) -> Calibration | None:
    """The calibration that a run holds, or None. Raises `RunError` where the file is damaged."""
    path = run.file(directory.CALIBRATION)
    if not path.exists():
        return None
    value = run.read(directory.CALIBRATION)
    try:
        calibration = _from_json(value)
    except (KeyError, TypeError, ValueError):
        calibration = None
    if calibration is None or not _is_plausible(calibration):
        hint = "delete it, and run `tlcli evaluate` again"
        raise RunError(Problem(str(path), "is not a calibration that tlcli has written", hint))
    return calibration


def _from_json(value: Any) -> Calibration:
    threshold = value["threshold"]
    if threshold:
        keys = ("target_precision", "probability", "val_coverage", "val_precision")
        threshold = Threshold(*(float(threshold[key]) for key in keys))
    return Calibration(float(value["temperature"]), dict(value["val"]), threshold)


def _is_plausible(calibration: Calibration) -> bool:
    """Whether `fit` and `add_threshold` could have given these numbers."""
    threshold = calibration.threshold
    shares = vars(threshold).values() if threshold else ()
    return LOWEST_TEMPERATURE <= calibration.temperature <= HIGHEST_TEMPERATURE and all(
        0 <= share <= 1 for share in shares
    )


def write_calibration(run: Run, calibration: Calibration) -> None:
    """Write a calibration into a run, where `tlcli predict` finds it."""
    files.write_json(run.file(directory.CALIBRATION), calibration.as_dict())


def apply_temperature(probabilities: Array, temperature: float) -> Array:
    """softmax(logits / temperature) of the logits that led to `probabilities`; float64.

    The logits are known up to a constant for each row, which softmax does not see.
    """
    if temperature == 1:
        return np.asarray(probabilities, np.float64)
    return softmax(_logits(probabilities) / temperature)


def log_loss(probabilities: Array, labels: Array) -> float:
    """The mean of -ln(probability of the true class); see `EPSILON` for those near 0."""
    return float(-_logits(probabilities)[np.arange(len(labels)), labels].mean())


def reliability_bins(probabilities: Array, labels: Array) -> tuple[ReliabilityBin, ...]:
    """The reliability diagram: `BINS` equal intervals (low, high] of confidence, with the number of
    photos, their mean confidence and their accuracy (None where there are none).

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


def _logits(probabilities: Array) -> Array:
    floor = EPSILON if probabilities.shape[1] == 2 else SMALLEST_FLOAT
    return np.log(np.maximum(np.asarray(probabilities, np.float64), floor))


def _best_temperature(logits: Array, labels: Array) -> float:
    """Minimises the log loss over b = 1 / temperature, in which it is convex.

    Newton's steps, with bisection where one would leave the bracket. Where every photo is right,
    or nearly, the loss falls for ever as b grows: such photos determine no temperature, and it
    stays 1, so that probabilities do not become more extreme without evidence.
    """
    true = logits[np.arange(len(labels)), labels]

    def slopes(b: float) -> tuple[float, float]:
        p = softmax(b * logits)
        mean = (p * logits).sum(axis=1)
        spread = (p * (logits - mean[:, None]) ** 2).sum(axis=1)
        return float((mean - true).mean()), float(spread.mean())

    low, high = 1 / HIGHEST_TEMPERATURE, 1 / LOWEST_TEMPERATURE
    if slopes(high)[0] <= 0:
        return 1.0
    if slopes(low)[0] >= 0:
        return HIGHEST_TEMPERATURE
    b = 1.0
    for _ in range(MAX_STEPS):
        slope, curvature = slopes(b)
        if slope > 0:
            high = b
        else:
            low = b
        step = b - slope / curvature if curvature > 0 else low
        following = step if low < step < high else (low + high) / 2
        if abs(following - b) <= 1e-12 * b:
            break
        b = following
    return 1 / b
