"""The features of a run's training photos, small enough to travel with it.

From this file a run says which training photos are most like a new one, and whether that is like
none of them: `networks.nearest`. It is an archive of NumPy arrays: rows of length 1 in float16, one
for each training photo, or for a part of them that is drawn evenly over the classes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveInt, StrictStr, ValidationError

from tlcli._version import __version__
from tlcli.errors import reason
from tlcli.networks.nearest import NearestRows, choose_limit, normalise, take_roots, thin_rows
from tlcli.runs.model_file import DAMAGED, archive_fingerprint
from tlcli.runs.records import Count, RecordPart, Share
from tlcli.system import files

Array = npt.NDArray[Any]

#: The largest file that is written, and the largest that is read.
MAX_BYTES, MOST_READ = 20_000_000, 64_000_000

#: Bytes of a photo beside its row: the hash, the number of its class, its path in JSON.
_BESIDE_ROW = 200

_RECORD, _ROWS, _LABELS, _PHOTOS = "record", "rows", "labels", "photos"


class NeighbourFileError(Exception):
    """Why a run cannot use its file of neighbours; the message completes "the file ..."."""


class NeighbourRecord(RecordPart):
    """What the file says of itself.

    Attributes:
        tlcli: the version that wrote it.
        model: the fingerprint of the `model.keras` that gave the features.
        limit: the distance beyond which a photo is unknown; None where there is none.
        rate: the share of known photos that is expected beyond the limit.
        asked_rate: the share that the recipe allows.
        val: validation photos that the limit was chosen on.
        trained_on: training photos, of which the file may hold a part.
        rooted: whether the rows are of the square roots of features, as all have been since there
            is this field.
    """

    tlcli: StrictStr
    model: StrictStr
    limit: Annotated[float, Field(ge=0)] | None
    rate: Share | None
    asked_rate: Share
    val: Count
    trained_on: PositiveInt
    rooted: bool = False


@dataclass(frozen=True)
class NeighbourFile:
    """The features of training photos.

    Attributes:
        rows: float16, shape (n, channels), each of length 1.
        labels: the numbers of their classes, shape (n,).
        paths: relative to the data folder, or absolute where they lie elsewhere.
        digests: the hex SHA-256 of their bytes.
    """

    record: NeighbourRecord
    rows: Array
    labels: Array
    paths: tuple[str, ...]
    digests: tuple[str, ...]

    def searchable(self, chosen: Array | None = None) -> NearestRows:
        """All rows, or some of them, to look for the nearest among."""
        rows = self.rows if chosen is None else self.rows[chosen]
        return NearestRows(rows, rooted=self.record.rooted)


def fit_neighbours(
    model: Path, train: Array, labels: Array, photos: Sequence[tuple[str, str]], val: Array,
    rate: float,
) -> NeighbourFile:  # fmt: skip
    """Keep the features of training photos, and choose from when on a photo is unknown.

    Args:
        model: the saved model that gives the features.
        train: of the training photos, shape (n, channels).
        labels: the numbers of their classes, shape (n,).
        photos: the path and the hex SHA-256 of each.
        val: of the validation photos, shape (m, channels), m may be 0.
        rate: the share of known photos that may be called unknown; 0 for no limit.
    """
    channels = train.shape[1]
    kept = thin_rows(labels, MAX_BYTES // (2 * channels + _BESIDE_ROW))
    rows = normalise(take_roots(train[kept])).astype(np.float16)
    distances = NearestRows(rows, rooted=True).search(val, 1).distances[:, 0]
    limit = choose_limit(distances, rate) if rate else None
    record = NeighbourRecord(
        tlcli=__version__,
        model=archive_fingerprint(model),
        limit=limit.distance if limit else None,
        rate=limit.rate if limit else None,
        asked_rate=rate,
        val=len(val),
        trained_on=len(labels),
        rooted=True,
    )
    paths, digests = zip(*(photos[position] for position in kept), strict=True)
    return NeighbourFile(record, rows, labels[kept].astype(np.int32), paths, digests)


def write_neighbours(path: Path, content: NeighbourFile) -> None:
    """Write the file, whole."""
    photos = list(zip(content.paths, content.digests, strict=True))
    arrays: dict[str, Any] = {
        _RECORD: _as_bytes(content.record.model_dump()),
        _ROWS: content.rows,
        _LABELS: content.labels,
        _PHOTOS: _as_bytes(photos),
    }
    with files.replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # numbers alone; NumPy 2.0 has no `allow_pickle` here


def read_neighbours(path: Path, model: Path, classes: int) -> NeighbourFile:
    """The file of a run, if it belongs to this very model, which has so many classes.

    Raises `FileNotFoundError` where there is none, and `NeighbourFileError` where it is damaged or
    belongs to another model.
    """
    try:
        content = _read(path, classes)
        current = archive_fingerprint(model)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, *DAMAGED) as error:
        raise NeighbourFileError(f"cannot be read: {reason(error)}") from error
    if content.record.model != current:
        raise NeighbourFileError(f"was made from another {model.name}")
    return content


def _read(path: Path, classes: int) -> NeighbourFile:
    with files.open_regular(path) as file:
        with zipfile.ZipFile(file) as archive:
            if sum(member.file_size for member in archive.infolist()) > MOST_READ:
                raise ValueError("it is too large")
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            record = _validated(_from_bytes(arrays[_RECORD]))
            rows, labels = arrays[_ROWS], arrays[_LABELS]
            photos = _from_bytes(arrays[_PHOTOS])
    paths, digests = zip(*((str(path), str(digest)) for path, digest in photos), strict=True)
    number = len(paths)
    fits = rows.dtype == np.float16 and rows.ndim == 2 and labels.dtype == np.int32
    if not fits or rows.shape[0] != number or labels.shape != (number,):
        raise ValueError("its arrays do not fit together")
    finite = (rows.view(np.uint16) & 0x7C00 != 0x7C00).all()  # faster than to ask NumPy
    if not finite or labels.min() < 0 or labels.max() >= classes:
        raise ValueError("it holds values that cannot be")
    return NeighbourFile(record, rows, labels, paths, digests)


def _validated(value: Any) -> NeighbourRecord:
    try:
        return NeighbourRecord.model_validate(value)
    except ValidationError as error:
        raise ValueError("its record is not valid") from error


def _as_bytes(value: Any) -> Array:
    text = files.json_text(value).encode(errors="surrogateescape")
    return np.frombuffer(text, np.uint8)


def _from_bytes(array: Array) -> Any:
    return files.parse_json(np.asarray(array, np.uint8).tobytes())
