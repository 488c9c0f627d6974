"""From a run to probabilities: nothing but its `model.keras` is needed.

Where that lies in a run, the run's calibration is applied, and photos that it was trained on are
recognised.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.data.hashing import digest
from tlcli.errors import DataError, Problem, RunError
from tlcli.evaluation import calibration
from tlcli.evaluation.tta import read_tta_settings
from tlcli.images import augment
from tlcli.images.loader import Batch, PixelSettings, View, batches, chunks
from tlcli.networks.framework import tf
from tlcli.networks.probabilities import class_probabilities
from tlcli.recipe.augment import Augment
from tlcli.runs.directory import MODEL, SPLIT, Run
from tlcli.runs.inputs import read_split
from tlcli.runs.model_file import open_model, read_card, run_of
from tlcli.system import console

Array = npt.NDArray[Any]

BATCH_SIZE = 32


@dataclass(frozen=True)
class Prediction:
    """What a model says of one photo: classes by falling probability, or why it cannot be read.

    Attributes:
        unsure: whether the likeliest class stays below the run's threshold for an answer.
        seen_in_training: whether the run was trained on a photo with the same bytes.
    """

    path: str
    top: tuple[tuple[str, float], ...]
    error: str | None = None
    unsure: bool = False
    seen_in_training: bool = False

    @property
    def label(self) -> str:
        """The likeliest class."""
        return self.top[0][0]

    @property
    def probability(self) -> float:
        """Its probability."""
        return self.top[0][1]

    def as_dict(self) -> dict[str, Any]:
        """One line of `--format jsonl`."""
        if self.error is not None:
            return {"path": self.path, "error": self.error}
        top = [{"label": label, "probability": value} for label, value in self.top]
        said: dict[str, Any] = {
            "path": self.path, "label": self.label, "probability": self.probability, "top": top
        }  # fmt: skip
        said |= {"unsure": True} if self.unsure else {}
        said |= {"seen_in_training": True} if self.seen_in_training else {}
        return said


class Predictor:
    """A trained model with the names of its classes and the way it wants its photos.

    Args:
        source: a run directory, or a `model.keras` that tlcli has written.
        raw: leave the run's calibration and threshold aside.

    Raises:
        RunError: where there is no model, or it is damaged, or nothing in it tells the classes.
    """

    def __init__(self, source: Path, *, raw: bool = False) -> None:
        path = source / MODEL if source.is_dir() else source
        self.path = path
        run = run_of(path)
        self.calibration = None if raw or run is None else calibration.read_calibration(run)
        self._run = run
        card = read_card(path)
        self.classes: tuple[str, ...] = tuple(card["classes"])
        height, width = card["image_size"]
        self._look = PixelSettings(height, width, card["resize"])
        model = open_model(path, card)
        self._model = tf.function(
            lambda x: model(x, training=False),
            input_signature=[tf.TensorSpec([None, height, width, 3], tf.float32)],
        )

    def probabilities(self, pixels: Array) -> Array:
        """Raw RGB, shape (n, height, width, 3), 0..255 -> probabilities, shape (n, classes).

        They are the network's own, not calibrated.
        """
        return class_probabilities(self._model(tf.convert_to_tensor(pixels, tf.float32)).numpy())

    def tta_probabilities(self, pixels: Array, digests: Sequence[str], views: int) -> Array:
        """The mean of the probabilities over each photo and its views 1 to `views`, (n, classes).

        Test-time augmentation with the views of the run's recipe; see `augment.views`. `digests`
        are the SHA-256 of the photos' bytes.

        Raises:
            RunError: where no recipe lies beside the model, or its views do not differ.
        """
        if not views:
            return self.probabilities(pixels)
        total = self.probabilities(pixels).astype(np.float64)
        for number in range(1, views + 1):
            seen = augment.views(self._augment, pixels, digests, [number] * len(digests))
            total += self.probabilities(seen)
        return (total / (1 + views)).astype(np.float32)

    @cached_property
    def _augment(self) -> Augment:
        return read_tta_settings(self.path.parent)

    @cached_property
    def _trained_on(self) -> frozenset[str]:
        return _training_photos(self._run) if self._run else frozenset()

    @property
    def threshold(self) -> float | None:
        """The calibrated probability below which an answer is unsure, if the run has one."""
        kept = self.calibration and self.calibration.threshold
        return kept.probability if kept else None

    def predict(
        self, paths: Iterable[str | Path], *, top: int = 1, tta: int = 0
    ) -> Iterator[Prediction]:
        """Predictions in the order of `paths`, as they are made; a bad file gets an error.

        With `tta` each is the mean over the photo and so many of its views. Temperature and
        threshold of the run were fitted without views, and are then left aside.
        """
        fitted, least = (None, None) if tta else (self.calibration, self.threshold)
        if fitted is not self.calibration:
            console.note("--tta: not calibrated, which the run is for photos without views")
        for view, values in self.stream(paths, tta=tta):
            if isinstance(values, Problem):
                yield Prediction(view.digest, (), error=values.message)
                continue
            if fitted is not None:
                values = fitted.apply(values[None])[0]
            unsure = least is not None and bool(values.max() < least)
            ranked, seen = self._ranked(values, top), self._seen(view.path)
            yield Prediction(view.digest, ranked, unsure=unsure, seen_in_training=seen)

    def stream(
        self, paths: Iterable[str | Path], *, tta: int = 0
    ) -> Iterator[tuple[View, Array | Problem]]:
        """Uncalibrated probabilities of each photo, shape (classes,), or why it cannot be read.

        With `tta` they are means over the photo and so many of its views.
        """
        if tta:
            _ = self._augment  # refused, if at all, before any photo is read
        # A path is its own identity here: the same photo may be asked for twice.
        views = (View(Path(path), str(path)) for path in paths)
        for batch in batches(chunks(views, BATCH_SIZE), self._look):
            found = self._of_views(batch, tta) if tta else self._of_photos(batch)
            yield from zip(batch.views, found, strict=True)

    def _of_photos(self, batch: Batch) -> Iterator[Array | Problem]:
        """What `stream` says of each view of a batch."""
        values = iter(self.probabilities(batch.pixels) if batch.readable else ())
        for view in batch.views:
            problem = batch.errors.get(view.path)
            yield next(values) if problem is None else problem

    def _of_views(self, batch: Batch, tta: int) -> Iterator[Array | Problem]:
        """The same, as means over photos and their views; a photo may be gone by now."""
        digests: dict[Path, str] = {}
        errors = dict(batch.errors)
        for view in batch.readable:
            try:
                digests[view.path] = digest(view.path)
            except DataError as error:
                errors[view.path] = error.problems[0]
        at = [i for i, view in enumerate(batch.readable) if view.path in digests]
        names = [digests[batch.readable[i].path] for i in at]
        values = iter(self.tta_probabilities(batch.pixels[at], names, tta) if at else ())
        for view in batch.views:
            problem = errors.get(view.path)
            yield next(values) if problem is None else problem

    def _seen(self, path: Path) -> bool:
        if not self._trained_on:
            return False
        try:
            return digest(path) in self._trained_on
        except DataError:  # gone since it was decoded
            return False

    def _ranked(self, values: Array, top: int) -> tuple[tuple[str, float], ...]:
        order = np.argsort(-values, kind="stable")[:top]
        return tuple((self.classes[i], float(values[i])) for i in order)


def _training_photos(run: Run) -> frozenset[str]:
    """The hashes of the photos that a run was trained on; none where it was copied without."""
    if not run.file(SPLIT).is_file():
        return frozenset()
    try:
        return frozenset(row.sha256 for row in read_split(run) if row.split == "train")
    except RunError as error:  # it tells photos apart, no more
        console.warn(f"{error}; photos from its training set cannot be recognised")
        return frozenset()
