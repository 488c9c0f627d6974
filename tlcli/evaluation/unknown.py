"""How well a run tells photos that show none of its classes: `tlcli evaluate --unknown`.

What is foreign is either in a folder that a user names, or a class that is left out: photos of it
are compared with the training photos of the other classes alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from tlcli.data.findings import relative_name, unreadable_lines
from tlcli.data.unlabelled import index_unlabelled
from tlcli.errors import DataError, Problem, RunError
from tlcli.evaluation import labelled_photos
from tlcli.evaluation.intervals import CONFIDENCE_LEVEL, wilson_interval
from tlcli.evaluation.predict import Predictor
from tlcli.images.loader import BATCH_SIZE, View, load_batches, split_into_chunks
from tlcli.networks.nearest import NearestRows
from tlcli.networks.probabilities import class_logits, log_softmax
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.inputs import read_split
from tlcli.runs.neighbour_file import NeighbourFile, NeighbourFileError, read_neighbours
from tlcli.runs.unknown_record import MarkedPhotos, UnknownRecord
from tlcli.system import console
from tlcli.system.console import counted

Array = npt.NDArray[Any]

#: The fewest classes of which one can be left out, so that two are there to be told apart.
LEAST_CLASSES = 3


@dataclass(frozen=True)
class _Answers:
    """What the network says of some photos: logits (n, classes) and features (n, channels)."""

    logits: Array
    features: Array

    def of(self, chosen: Array) -> _Answers:
        """Some of them."""
        return _Answers(self.logits[chosen], self.features[chosen])

    def strangeness(self, without: int | None = None) -> Array:
        """1 - the highest probability, as its logarithm, so that it ranks the surest, too.

        With `without`, of the classes but one.
        """
        logits = self.logits if without is None else np.delete(self.logits, without, axis=1)
        return np.asarray(-log_softmax(logits).max(axis=1))


def measure_unknown(
    run: Run, split: str, foreign: Sequence[Path] = (), data: Path | None = None
) -> UnknownRecord:
    """Measure false alarms on the photos of a split, foreign photos, and classes left out.

    `data` says where the photos of the run are now. Probabilities rank alike whatever the
    temperature is. Raises a `TlcliError` for a run without features of its training photos, and for
    folders without photos, with photos of the run, or with photos that cannot be read.
    """
    folders = {str(folder): _foreign_views(run, folder) for folder in foreign}
    predictor = Predictor(run.path, engine="keras")
    content = _neighbours(run, predictor)
    photos = labelled_photos.find_split_photos(run, split, predictor.classes, data)
    labels = np.array([photo.label for photo in photos.photos])
    views = [View(str(photo.path), photo.sha256) for photo in photos.photos]
    known = _compute(predictor, views, photos.root, split)
    limit, rows = content.record.limit, content.searchable()
    distances = _distances(rows, known)
    measured = []
    for name, (root, foreign_views) in folders.items():
        answers = _compute(predictor, foreign_views, root, root.name)
        sides = (_distances(rows, answers), distances)
        measured.append(_marked(name, sides, (answers.strangeness(), known.strangeness()), limit))
    beyond = None if limit is None else int((distances > limit).sum())
    n = len(distances)
    return UnknownRecord(
        model=content.record.model,
        split=split,
        n=n,
        limit=limit,
        rate=content.record.rate,
        false_alarms=beyond,
        false_alarms_interval=None if beyond is None else wilson_interval(beyond, n),
        foreign=tuple(measured),
        left_out=tuple(_leave_out(content, known, labels, predictor.classes)),
        level=CONFIDENCE_LEVEL,
    )


def _leave_out(
    content: NeighbourFile, known: _Answers, labels: Array, classes: Sequence[str]
) -> list[MarkedPhotos]:
    """Each class in turn, as far as it has photos, and training photos of others."""
    if len(classes) < LEAST_CLASSES:
        return []
    measured = []
    for number, name in enumerate(classes):
        of_class = labels == number
        others = content.labels != number
        if not of_class.any() or of_class.all() or not others.any():
            continue
        distances = _distances(content.searchable(others), known)
        strange = known.strangeness(without=number)
        sides = distances[of_class], distances[~of_class]
        probabilities = strange[of_class], strange[~of_class]
        measured.append(_marked(name, sides, probabilities, content.record.limit))
    return measured


def _marked(
    name: str, distances: tuple[Array, Array], strange: tuple[Array, Array], limit: float | None
) -> MarkedPhotos:
    """The scores of some photos, first in each pair, beside known ones."""
    n = len(distances[0])
    marked = None if limit is None else int((distances[0] > limit).sum())
    return MarkedPhotos(
        name=name,
        n=n,
        marked=marked,
        interval=None if marked is None else wilson_interval(marked, n),
        auroc=_area(*distances),
        auroc_probability=_area(*strange),
    )


def _area(foreign: Array, known: Array) -> float:
    labels = np.repeat([1, 0], [len(foreign), len(known)])
    return float(roc_auc_score(labels, np.concatenate([foreign, known])))


def _distances(rows: NearestRows, answers: _Answers) -> Array:
    return np.asarray(rows.search(answers.features, 1).distances[:, 0])


def _neighbours(run: Run, predictor: Predictor) -> NeighbourFile:
    path = run.file(directory.NEIGHBOURS)
    hint = "train again: `tlcli finetune` writes it into every run"
    if not predictor.engine.has_features:
        raise RunError(Problem(str(predictor.path), "gives no features to compare", hint))
    try:
        return read_neighbours(path, predictor.path, len(predictor.classes))
    except FileNotFoundError:
        what = f"has no {directory.NEIGHBOURS}, in which its training photos would be"
        raise RunError(Problem(str(run.path), what, hint)) from None
    except NeighbourFileError as error:
        raise RunError(Problem(str(path), str(error), "restore it")) from error


def _foreign_views(run: Run, folder: Path) -> tuple[Path, list[View]]:
    """The photos of a folder; a `DataError` where it has none, or photos of the run."""
    where = f"--foreign {folder}"
    if not folder.is_dir():
        raise DataError(Problem(where, "is not a folder", "name a folder of photos"))
    index = index_unlabelled(folder)
    for note in index.notes:
        console.print_problem(note)
    splits = {row.sha256: row.split for row in read_split(run)}
    own = [item for item in index.items if item.digest in splits]
    if own:
        of_split = sorted({splits[item.digest] for item in own})
        what = f"{counted(len(own), 'photo')} of the run in it ({', '.join(of_split)}), such as "
        what += relative_name(own[0].path, folder)
        hint = "name a folder with photos that show none of the classes"
        raise DataError(Problem(where, what, hint))
    return folder, [View(item.file, item.digest) for item in index.items]


def _compute(predictor: Predictor, views: Sequence[View], root: Path, name: str) -> _Answers:
    """Logits and features of photos; a `DataError` with each that cannot be read."""
    problems: dict[Path, Problem] = {}
    logits: list[Array] = []
    features: list[Array] = []
    with console.progress(len(views), f"evaluating {name}") as bar:
        for batch in load_batches(split_into_chunks(views, BATCH_SIZE), predictor.pixel_settings):
            problems |= batch.errors
            if batch.readable:
                values, rows = predictor.engine.compute_with_features(batch.pixels)
                assert rows is not None  # as `has_features` says
                logits.append(class_logits(values.astype(np.float64)))
                features.append(rows)
            bar.update(len(batch.views))
    if problems:
        raise DataError(unreadable_lines(problems, root))
    return _Answers(np.concatenate(logits), np.concatenate(features))
