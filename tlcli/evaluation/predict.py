"""From a run to probabilities: nothing but its `model.keras` is needed.

Where that lies in a run, the run's calibration is applied, and photos that it was trained on are
recognised.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import tee
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tlcli.errors import Problem, RunError
from tlcli.evaluation import calibration
from tlcli.evaluation.tta import read_tta_settings
from tlcli.images import augment
from tlcli.images.loader import Batch, PixelSettings, View, load_batches, split_into_chunks
from tlcli.networks.framework import tf
from tlcli.networks.probabilities import class_probabilities
from tlcli.recipe.augment import Augment
from tlcli.runs.directory import MODEL, SPLIT, Run
from tlcli.runs.inputs import read_split
from tlcli.runs.model_file import open_model, read_card, run_of_model
from tlcli.system import console

Array = npt.NDArray[Any]

BATCH_SIZE = 32


@dataclass(frozen=True)
class Prediction:
    """A model's answer for one photo: classes by falling probability, or why it cannot be read.

    Attributes:
        error: what is wrong; `hint` is what to do about it, if anything.
        unsure: whether the likeliest class stays below the run's threshold for an answer.
        seen_in_training: whether the run was trained on a photo with the same bytes.
    """

    path: str
    top: tuple[tuple[str, float], ...]
    error: str | None = None
    hint: str = ""
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
            hint = {"hint": self.hint} if self.hint else {}
            return {"path": self.path, "error": self.error, **hint}
        top = [{"label": label, "probability": value} for label, value in self.top]
        values: dict[str, Any] = {
            "path": self.path, "label": self.label, "probability": self.probability, "top": top
        }  # fmt: skip
        values |= {"unsure": True} if self.unsure else {}
        values |= {"seen_in_training": True} if self.seen_in_training else {}
        return values


class Answer(NamedTuple):
    """A model's uncalibrated probabilities for a photo, shape (classes,).

    `digest` is the hex SHA-256 of the bytes that they were computed from.
    """

    probabilities: Array
    digest: str


class Predictor:
    """A trained model with the names of its classes and the pixels it takes.

    Args:
        source: a run directory, or a `model.keras` that tlcli has written.
        raw: leave the run's calibration and threshold aside.

    Raises:
        RunError: where there is no model, or it is damaged, or nothing in it tells the classes.
    """

    def __init__(self, source: Path, *, raw: bool = False) -> None:
        path = source / MODEL if source.is_dir() else source
        self.path = path
        run = run_of_model(path)
        self.calibration = None if raw or run is None else calibration.read_calibration(run)
        self._run = run
        card = read_card(path)
        self.classes: tuple[str, ...] = tuple(card["classes"])
        self._pixel_settings = PixelSettings.from_card(card)
        height, width = card["image_size"]
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

        Test-time augmentation with the views of the run's recipe; see `augment.make_views`.
        `digests` are the SHA-256 of the photos' bytes.

        Raises:
            RunError: where no recipe lies beside the model, or its views do not differ.
        """
        if not views:
            return self.probabilities(pixels)
        return self._mean_over_views(pixels, digests, views, self._tta_settings)

    def _mean_over_views(
        self, pixels: Array, digests: Sequence[str], views: int, settings: Augment
    ) -> Array:
        total = self.probabilities(pixels).astype(np.float64)
        for number in range(1, views + 1):
            augmented = augment.make_views(settings, pixels, digests, [number] * len(digests))
            total += self.probabilities(augmented)
        return (total / (1 + views)).astype(np.float32)

    @cached_property
    def _tta_settings(self) -> Augment:
        return read_tta_settings(self.path.parent)

    @cached_property
    def _trained_on(self) -> frozenset[str]:
        return _training_photos(self._run) if self._run else frozenset()

    @property
    def threshold(self) -> float | None:
        """The calibrated probability below which an answer is unsure, if the run has one."""
        threshold = self.calibration and self.calibration.threshold
        return threshold.probability if threshold else None

    def predict(
        self, photos: Iterable[str | Path | Problem], *, top: int = 1, tta: int = 0
    ) -> Iterator[Prediction]:
        """Predictions in the order of `photos`, one by one; an unreadable file gets an error.

        A problem that stands in the place of photos gets one, too.

        With `tta` each is the mean over the photo and so many of its views. Temperature and
        threshold of the run were fitted without views, and are then left aside.
        """
        fitted, threshold = (None, None) if tta else (self.calibration, self.threshold)
        if fitted is not self.calibration:
            console.note("--tta: not calibrated, which the run is for photos without views")
        # Photos are read some batches ahead of the answers.
        given, read_ahead = tee(photos)
        views = (View(Path(photo)) for photo in read_ahead if not isinstance(photo, Problem))
        answers = self.stream(views, tta=tta)
        for photo in given:
            answer = photo if isinstance(photo, Problem) else next(answers)
            path = photo.where if isinstance(photo, Problem) else str(photo)
            if isinstance(answer, Problem):
                yield Prediction(path, (), error=answer.message, hint=answer.hint)
                continue
            values = answer.probabilities
            values = values if fitted is None else fitted.apply(values[None])[0]
            unsure = threshold is not None and bool(values.max() < threshold)
            ranked, seen = self._ranked(values, top), answer.digest in self._trained_on
            yield Prediction(path, ranked, unsure=unsure, seen_in_training=seen)

    def stream(self, photos: Iterable[View], *, tta: int = 0) -> Iterator[Answer | Problem]:
        """The answer for each photo, in order, or why it cannot be read.

        With `tta` probabilities are means over the photo and so many of its views. A run without
        views is refused before any photo is read.
        """
        settings = self._tta_settings if tta else None
        for batch in load_batches(split_into_chunks(photos, BATCH_SIZE), self._pixel_settings):
            yield from self._answers(batch, tta, settings)

    def _answers(
        self, batch: Batch, tta: int, settings: Augment | None
    ) -> Iterator[Answer | Problem]:
        """The answer for each photo of a batch, or its problem."""
        digests = [view.digest for view in batch.readable]
        values: Iterable[Array] = ()
        if digests and settings is not None:
            values = self._mean_over_views(batch.pixels, digests, tta, settings)
        elif digests:
            values = self.probabilities(batch.pixels)
        readable = map(Answer, values, digests)
        for view in batch.views:
            problem = batch.errors.get(view.path)
            yield next(readable) if problem is None else problem

    def _ranked(self, values: Array, top: int) -> tuple[tuple[str, float], ...]:
        order = np.argsort(-values, kind="stable")[:top]
        return tuple((self.classes[i], float(values[i])) for i in order)


def _training_photos(run: Run) -> frozenset[str]:
    """The hashes of the photos that a run was trained on; none where it was copied without."""
    if not run.file(SPLIT).is_file():
        return frozenset()
    try:
        return frozenset(row.sha256 for row in read_split(run) if row.split == "train")
    except RunError as error:  # predictions do not depend on it
        console.warn(f"{error}; photos from its training set cannot be recognised")
        return frozenset()
