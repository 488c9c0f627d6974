"""The proof of an export: the answers of the exported model beside those of the run's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.data.findings import unreadable_lines
from tlcli.errors import DataError, Problem
from tlcli.evaluation.calibration import Calibration, expected_calibration_error
from tlcli.evaluation.intervals import wilson_interval
from tlcli.evaluation.labelled_photos import LabelledPhotos
from tlcli.export.records import ExportParity, Quantize
from tlcli.images.loader import BATCH_SIZE, PixelSettings, View, load_batches, split_into_chunks
from tlcli.networks.engine import Engine, FeatureEngine, time_calls
from tlcli.networks.nearest import NearestRows
from tlcli.networks.probabilities import class_logits, likeliest_class
from tlcli.system import console

Array = npt.NDArray[Any]

#: The largest difference of a probability that each form of weights may bring.
LARGEST: dict[Quantize | None, float] = {None: 1e-4, "float16": 1e-2}

#: The same of the distance to the nearest training photo, which is 0.3 to 1.3.
LARGEST_DISTANCE: dict[Quantize | None, float] = {None: 1e-3, "float16": 1e-2}

#: Of 8-bit weights: the share of labels that must be kept, and the accuracy that may be lost.
LABELS_KEPT, ACCURACY_LOST = 0.99, 0.005

#: Calls that are timed for a photo alone, and for a full batch; the median counts.
_SINGLE_CALLS, _BATCH_CALLS = 21, 5


def measure_parity(
    expected: FeatureEngine,
    exported: FeatureEngine,
    photos: Sequence[LabelledPhotos],
    settings: PixelSettings,
    calibration: Calibration,
    neighbours: tuple[NearestRows, float | None] | None = None,
) -> ExportParity:
    """Compare two engines on labelled photos: logits and calibration, and probabilities.

    With `neighbours`, the features of training photos and the limit of unknown, the distances of
    both to them are compared, too.

    Raises `DataError` with every photo that cannot be read.
    """
    listed = [photo for split in photos for photo in split.photos]
    rows: list[tuple[Array, Array]] = []
    far: list[tuple[Array, Array]] = []
    problems: dict[Path, Problem] = {}
    sample: Array | None = None
    views = [View(str(photo.path), photo.sha256) for photo in listed]
    with console.progress(len(listed), "comparing") as bar:
        for batch in load_batches(split_into_chunks(views, BATCH_SIZE), settings):
            problems |= batch.errors
            if batch.readable:
                sample = batch.pixels if sample is None else sample
                values, features = expected.compute_with_features(batch.pixels)
                given, own = exported.compute_with_features(batch.pixels)
                logits = class_logits(values.astype(np.float64))
                rows.append((calibration.apply(logits), given.astype(np.float64)))
                if neighbours is not None and features is not None and own is not None:
                    nearest = neighbours[0]
                    far.append((_distances(nearest, features), _distances(nearest, own)))
            bar.update(len(batch.views))
    if problems or sample is None:
        raise DataError(unreadable_lines(problems, photos[0].root))
    then, now = (np.concatenate(side) for side in zip(*rows, strict=True))
    labels = np.array([photo.label for photo in listed])
    difference = np.nan_to_num(np.abs(then - now), nan=1.0)
    right = likeliest_class(now) == labels
    low, high = wilson_interval(int(right.sum()), len(labels))
    return ExportParity(
        photos=len(labels),
        largest=float(difference.max()),
        mean=float(difference.mean()),
        labels_changed=int((likeliest_class(then) != likeliest_class(now)).sum()),
        accuracy=float(right.mean()),
        low=low,
        high=high,
        accuracy_before=float((likeliest_class(then) == labels).mean()),
        calibration_error=expected_calibration_error(now, labels),
        calibration_error_before=expected_calibration_error(then, labels),
        ms_per_photo=time_engine(exported, sample),
        **_compare_distances(far, neighbours[1] if neighbours else None),
    )


def _distances(nearest: NearestRows, features: Array) -> Array:
    return np.asarray(nearest.search(features, 1).distances[:, 0])


def _compare_distances(far: list[tuple[Array, Array]], limit: float | None) -> dict[str, Any]:
    """How far distances differ, and how many photos are unknown by one side alone."""
    if not far:
        return {}
    then, now = (np.concatenate(side) for side in zip(*far, strict=True))
    beyond = math.inf if limit is None else limit
    changed = int(((then > beyond) != (now > beyond)).sum())
    return {"distance": float(np.abs(then - now).max()), "unknown_changed": changed}


def time_engine(engine: Engine, sample: Array) -> dict[str, float]:
    """Milliseconds a photo, alone and in a batch of 32."""
    full = np.resize(sample, (BATCH_SIZE, *sample.shape[1:]))
    return {
        "1": _milliseconds(engine, full[:1], _SINGLE_CALLS),
        str(BATCH_SIZE): _milliseconds(engine, full, _BATCH_CALLS),
    }


def _milliseconds(engine: Engine, pixels: Array, calls: int) -> float:
    return float(1000 * np.median(time_calls(engine, pixels, calls)) / len(pixels))


def find_excess(parity: ExportParity, quantize: Quantize | None) -> str:
    """In what the differences are beyond the limits, with the numbers; empty if they are not."""
    excesses = []
    furthest = LARGEST_DISTANCE.get(quantize)
    if furthest is not None and parity.distance is not None and parity.distance > furthest:
        excesses.append(
            f"a distance differs by {parity.distance:.2g}, at most {furthest:g} is allowed"
        )
    if quantize in LARGEST:
        if parity.largest > LARGEST[quantize]:
            limit = f"at most {LARGEST[quantize]:g} is allowed"
            excesses.append(f"a probability differs by {parity.largest:.2g}, {limit}")
    else:
        kept = 1 - parity.labels_changed / parity.photos
        lost = parity.accuracy_before - parity.accuracy
        if kept < LABELS_KEPT:
            excesses.append(
                f"{kept:.1%} of the labels are kept ({parity.labels_changed} of {parity.photos} "
                f"change), at least {LABELS_KEPT:.0%} must be"
            )
        if lost > ACCURACY_LOST:
            excesses.append(
                f"the accuracy falls from {parity.accuracy_before:.4f} to {parity.accuracy:.4f}, "
                f"by more than {100 * ACCURACY_LOST:g} points"
            )
    return "; ".join(excesses)
