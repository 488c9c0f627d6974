"""Which training photos a photo is most like, and whether it is like none of them.

A run has their features in a file of its own; see `runs.neighbour_file` and `networks.nearest`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt

from tlcli.errors import Problem, RunError
from tlcli.runs.directory import NEIGHBOURS, Run
from tlcli.runs.neighbour_file import NeighbourFile, NeighbourFileError, read_neighbours
from tlcli.system import console

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class NearPhoto:
    """A training photo that a photo is like.

    Attributes:
        path: relative to the data folder of the run, or absolute where it lies elsewhere.
        label: the class that it was trained as.
        sha256: of its bytes, in hex.
    """

    path: str
    label: str
    distance: float
    sha256: str

    def as_dict(self) -> dict[str, Any]:
        """Its JSON form."""
        return {"path": self.path, "label": self.label, "distance": self.distance}


class Likeness(NamedTuple):
    """How far a photo is from the training photos.

    Attributes:
        distance: to the nearest.
        neighbours: the nearest, nearest first; None where nobody asked for them.
    """

    distance: float
    neighbours: tuple[NearPhoto, ...] | None


class TrainingNeighbours:
    """The training photos of a run, to compare others with.

    Attributes:
        record: what their file says.
        limit: the distance beyond which a photo is unknown, if that is to be told.
    """

    def __init__(
        self, content: NeighbourFile, classes: Sequence[str], *, unknown: bool, why: int
    ) -> None:
        self.record = content.record
        self.limit = content.record.limit if unknown else None
        self._content, self._classes, self._why = content, classes, why
        self._rows = content.searchable()

    def compare(self, features: Array) -> list[Likeness]:
        """The likeness of each photo, from features of shape (n, channels)."""
        nearest = self._rows.search(features, max(1, self._why))
        return [
            Likeness(float(distances[0]), self._named(distances, positions))
            for distances, positions in zip(*nearest, strict=True)
        ]

    def _named(self, distances: Array, positions: Array) -> tuple[NearPhoto, ...] | None:
        if not self._why:
            return None
        content = self._content
        return tuple(
            NearPhoto(
                content.paths[position],
                self._classes[content.labels[position]],
                float(distance),
                content.digests[position],
            )
            for distance, position in zip(
                distances[: self._why], positions[: self._why], strict=True
            )
        )


def open_neighbours(
    run: Run | None, model: Path, classes: Sequence[str], *, unknown: bool = True, why: int = 0
) -> TrainingNeighbours | None:
    """The training photos of a run; None where nobody asks, or it has no file of them.

    A file that is damaged or of another model is a warning, and an error with `why`. Raises
    `RunError` with `why`, also where there is no file.
    """
    if not unknown and not why:
        return None
    try:
        if run is None:
            raise FileNotFoundError
        content = read_neighbours(run.file(NEIGHBOURS), model, len(classes))
    except FileNotFoundError:
        if not why:
            return None
        where = str(model if run is None else run.path)
        message = f"has no {NEIGHBOURS}, in which its training photos would be"
        hint = "leave --why out, or train again: `tlcli finetune` writes it into every run"
        raise RunError(Problem(where, message, hint)) from None
    except NeighbourFileError as error:
        assert run is not None
        path = str(run.file(NEIGHBOURS))
        if why:
            raise RunError(Problem(path, str(error), "restore it, or leave --why out")) from error
        hint = "restore it; without it, no photo is called unknown"
        console.warn(str(Problem(path, str(error), hint)))
        return None
    return TrainingNeighbours(content, classes, unknown=unknown, why=why)
