"""The photos of a run that an export is made and proved with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tlcli.data.findings import unreadable_lines
from tlcli.errors import DataError, Problem, RunError
from tlcli.evaluation.labelled_photos import (
    LabelledPhotos,
    data_folder_of,
    find_split_photos,
    photo_name,
    read_recorded_split,
    spread_evenly,
)
from tlcli.images.loader import BATCH_SIZE, PixelSettings, View, load_batches, split_into_chunks
from tlcli.runs.directory import Run
from tlcli.runs.inputs import read_split

#: Training photos from which int8 takes the ranges of the activations.
CALIBRATION_PHOTOS = 100


def training_pixels(run: Run, settings: PixelSettings, data: Path | None) -> Iterator[np.ndarray]:
    """Pixels of training photos, spread evenly over the run's.

    Raises `DataError` with every one of them that is missing, has changed or cannot be read.
    """
    rows = read_recorded_split(run, "train")
    recorded = data_folder_of(run)
    root = data or recorded
    sample = spread_evenly(rows, CALIBRATION_PHOTOS)
    views = [View(str(root / photo_name(row, recorded)), row.sha256) for row in sample]
    for batch in load_batches(split_into_chunks(views, BATCH_SIZE), settings):
        if batch.errors:
            raise DataError(unreadable_lines(batch.errors, root))
        yield from batch.pixels


def proof_photos(run: Run, classes: Sequence[str], data: Path | None) -> list[LabelledPhotos]:
    """The validation and test photos of a run, whichever it has."""
    splits = {row.split for row in read_split(run)}
    chosen = [split for split in ("val", "test") if split in splits]
    if not chosen:
        message = "has neither validation nor test photos to prove an export on"
        raise RunError(Problem(str(run.path), message, "train with some"))
    return [find_split_photos(run, split, classes, data) for split in chosen]
