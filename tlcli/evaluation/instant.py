"""Making the file from which a run answers without TensorFlow, and proving it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tlcli._version import __version__
from tlcli.errors import Problem, RunError, TlcliError, reason
from tlcli.evaluation.calibration import Calibration, read_calibration
from tlcli.evaluation.keras_models import open_in_float32, open_keras
from tlcli.evaluation.labelled_photos import data_folder_of, spread_evenly
from tlcli.images.loader import BATCH_SIZE, PixelSettings, View, load_batches, split_into_chunks
from tlcli.networks.engine import Engine, LiteRTEngine
from tlcli.networks.probabilities import class_logits, likeliest_class
from tlcli.runs.directory import INSTANT, MODEL, Run
from tlcli.runs.inputs import read_split
from tlcli.runs.instant_file import InstantRecord, Parity, write_instant_file
from tlcli.runs.model_file import archive_fingerprint, find_features, read_card
from tlcli.system import console

Array = npt.NDArray[np.float64]

#: A probability may differ by so much from that of Keras.
TOLERANCE = 1e-4

#: Photos that a proof compares, spread evenly over the validation and test photos of a run. A
#: conversion that is wrong is so for nearly every photo; `tlcli export` compares all of them.
PROOF_PHOTOS = 64


def add_instant_file(run: Run) -> None:
    """Make the instant file of a run that has just ended; a failure is only a warning."""
    console.note(f"making {INSTANT}, from which `tlcli predict` answers at once")
    try:
        make_instant_file(run)
    except ImportError:
        console.note(f"no {INSTANT}: ai-edge-litert is not installed; Keras will answer")
    except (TlcliError, OSError) as error:
        console.warn(f"no {INSTANT}, Keras will answer: {reason(error)}")
    except KeyboardInterrupt:
        console.warn(f"no {INSTANT}: stopped; `tlcli predict --engine instant` makes it")


def make_instant_file(run: Run) -> LiteRTEngine:
    """Convert the model of a run, compare it with Keras, and keep it in the run.

    A run that cannot be written gets no file, which is printed as a warning.

    Raises:
        RunError: where the model or a record of the run is missing or damaged, where the converted
            network answers otherwise, or where no photo of the run's can be read any more to
            compare them on.
        ImportError: where the runtime of LiteRT is not installed.
    """
    from tlcli.networks.conversion import convert_to_litert, freeze

    path = run.file(MODEL)
    card = read_card(path)
    try:
        model, logits = open_in_float32(path, card)
        features = find_features(model, card)
        flatbuffer = convert_to_litert(freeze(model, logits, features=features))
        engine = LiteRTEngine(flatbuffer, card["image_size"])
    except (ValueError, RuntimeError) as error:
        message = f"cannot be converted to LiteRT: {reason(error)[:200]}"
        raise RunError(Problem(str(path), message)) from error
    photos, settings = _proof_photos(run), PixelSettings.from_card(card)
    keras = open_keras(path, card)
    parity = compare_engines(keras, engine, photos, settings, read_calibration(run))
    check_parity(path, parity)
    record = InstantRecord(
        tlcli=__version__,
        model=archive_fingerprint(path),
        sha256=hashlib.sha256(flatbuffer).hexdigest(),
        parity=parity,
    )
    try:
        write_instant_file(run.file(INSTANT), flatbuffer, record)
    except OSError as error:
        where = str(run.file(INSTANT))
        console.warn(str(Problem(where, f"cannot be written: {reason(error)}")))
    return engine


def compare_engines(
    expected: Engine,
    engine: Engine,
    photos: Sequence[View],
    settings: PixelSettings,
    calibration: Calibration,
) -> Parity | None:
    """Compare the probabilities of two engines on photos; None where none can be read."""
    number, changed, largest = 0, 0, 0.0
    for batch in load_batches(split_into_chunks(photos, BATCH_SIZE), settings):
        if not batch.readable:
            continue
        then, now = (
            calibration.apply(class_logits(each.compute(batch.pixels).astype(np.float64)))
            for each in (expected, engine)
        )
        number += len(now)
        changed += int((likeliest_class(then) != likeliest_class(now)).sum())
        difference = float(np.abs(then - now).max())
        largest = max(largest, difference) if np.isfinite(difference) else np.inf
    if not number:
        return None
    return Parity(photos=number, largest=min(largest, 1.0), labels_changed=changed)


def _proof_photos(run: Run) -> list[View]:
    """Photos of the run's that its network was not trained on; all kinds where there are none."""
    rows = read_split(run)
    chosen = [row for row in rows if row.split in ("val", "test")] or list(rows)
    root = data_folder_of(run)
    return [
        View(str(row.path_below(root)), row.sha256) for row in spread_evenly(chosen, PROOF_PHOTOS)
    ]


def check_parity(path: object, parity: Parity | None) -> None:
    """Raise `RunError` about the model at `path` where the differences are more than rounding."""
    if parity is None:
        message = "its converted form was not compared with it: no photo of the run can be read"
        raise RunError(Problem(str(path), message, "move the photos back"))
    if parity.labels_changed or parity.largest > TOLERANCE:
        message = (
            f"its converted form answers otherwise: probabilities differ by up to "
            f"{parity.largest:.2g} (at most {TOLERANCE:g} is allowed), and "
            f"{parity.labels_changed} of {parity.photos} labels"
        )
        raise RunError(Problem(str(path), message))
