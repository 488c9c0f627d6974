"""From a run to probabilities: nothing but its `model.keras` is needed.

Where that lies in a run, the run's calibration and threshold are applied, and photos that it was
trained on are recognised; a model alone has the temperature in its card.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tlcli.errors import Problem, RunError
from tlcli.evaluation.calibration import RAW, Calibration, model_calibration
from tlcli.evaluation.tta import read_tta_settings
from tlcli.images import augment
from tlcli.images.loader import Batch, PixelSettings, View, load_batches, split_into_chunks
from tlcli.networks.engine import Engine, KerasEngine
from tlcli.networks.probabilities import class_logits, log_softmax
from tlcli.networks.temperature import log_probabilities
from tlcli.runs.directory import MODEL, SPLIT, Run
from tlcli.runs.inputs import read_split
from tlcli.runs.model_file import find_logits, open_model, read_card, run_of_model
from tlcli.system import console

if TYPE_CHECKING:
    from tlcli.recipe.augment import Augment

Array = npt.NDArray[Any]

BATCH_SIZE = 32


@dataclass(frozen=True)
class Prediction:
    """A model's answer for one photo: classes by falling probability, or why it cannot be read.

    Attributes:
        log_odds: ln(p / (1 - p)) of the probabilities in `top`, which rank the surest photos.
        error: what is wrong; `hint` is what to do about it, if anything.
        calibrated: whether the probabilities are, and not the network's own.
        threshold: the probability below which an answer is unsure, if one is in force.
        seen_in_training: whether the run was trained on a photo with the same bytes.
    """

    path: str
    top: tuple[tuple[str, float], ...]
    log_odds: tuple[float, ...] = ()
    error: str | None = None
    hint: str = ""
    calibrated: bool = False
    threshold: float | None = None
    seen_in_training: bool = False

    @property
    def unsure(self) -> bool:
        """Whether the likeliest class stays below the threshold."""
        return self.threshold is not None and self.probability < self.threshold

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
        top = [
            {"label": label, "probability": value, "log_odds": odds}
            for (label, value), odds in zip(self.top, self.log_odds, strict=True)
        ]
        values: dict[str, Any] = {
            "path": self.path,
            "label": self.label,
            "probability": self.probability,
            "log_odds": self.log_odds[0],
            "calibrated": self.calibrated,
            "threshold": self.threshold,
            "unsure": self.unsure,
            "top": top,
        }
        values |= {"seen_in_training": True} if self.seen_in_training else {}
        return values


def open_keras(path: Path, card: dict[str, Any], precision: str = "float32") -> KerasEngine:
    """The model at `path`, whose card has been read, as an engine that gives its logits."""
    model = open_model(path, card, precision)
    return KerasEngine(model, find_logits(model, path))


def open_in_float32(path: Path, card: dict[str, Any]) -> tuple[Any, Any]:
    """The same model, which computes in float32, to be converted, and its logits."""
    model = open_model(path, card)
    return model, find_logits(model, path)


class Answer(NamedTuple):
    """What a model says of a photo: logits of a softmax, float64, shape (classes,).

    `digest` is the hex SHA-256 of the bytes that they were computed from.
    """

    logits: Array
    digest: str


class Predictor:
    """A trained model with the names of its classes and the pixels it takes.

    Args:
        source: a run directory, or a `model.keras` that tlcli has written.
        raw: leave the run's calibration and threshold aside, which `calibration` holds otherwise.
        engine: what computes the logits of this model; Keras, if none is given.

    Raises:
        RunError: where there is no model, or it is damaged, or nothing in it tells the classes.
    """

    def __init__(self, source: Path, *, raw: bool = False, engine: Engine | None = None) -> None:
        path = source / MODEL if source.is_dir() else source
        self.path = path
        card = read_card(path)
        self.calibration = model_calibration(path, card, raw=raw)
        self._run = run_of_model(path)
        self.classes: tuple[str, ...] = tuple(card["classes"])
        self.pixel_settings = PixelSettings.from_card(card)
        self.engine = open_keras(path, card) if engine is None else engine

    def logits(self, pixels: Array) -> Array:
        """Raw RGB, shape (n, height, width, 3), 0..255 -> logits, float64, shape (n, classes).

        They are those of a softmax; see `probabilities.class_logits`.
        """
        return class_logits(self.engine.compute(pixels).astype(np.float64))

    def probabilities(self, pixels: Array) -> Array:
        """The same pixels -> probabilities under `calibration`, float64, shape (n, classes)."""
        return self.calibration.apply(self.logits(pixels))

    def tta_probabilities(self, pixels: Array, digests: Sequence[str], views: int) -> Array:
        """The mean of the probabilities over each photo and its views 1 to `views`, (n, classes).

        Test-time augmentation with the views of the run's recipe; see `augment.make_views`.
        `digests` are the SHA-256 of the photos' bytes.

        Raises:
            RunError: where no recipe lies beside the model, or its views do not differ.
        """
        if not views:
            return self.probabilities(pixels)
        return np.exp(self._log_mean_over_views(pixels, digests, views, self._tta_settings))

    def _log_mean_over_views(
        self, pixels: Array, digests: Sequence[str], views: int, settings: Augment
    ) -> Array:
        """ln of the means; adding up in logarithms keeps what is close to 0 and 1 apart."""
        temperature = self.calibration.temperature or 1
        total = log_probabilities(self.logits(pixels), temperature)
        for number in range(1, views + 1):
            augmented = augment.make_views(settings, pixels, digests, [number] * len(digests))
            total = np.logaddexp(total, log_probabilities(self.logits(augmented), temperature))
        return log_softmax(total)

    @cached_property
    def _tta_settings(self) -> Augment:
        return read_tta_settings(self.path.parent)

    @cached_property
    def _trained_on(self) -> frozenset[str]:
        return _training_photos(self._run) if self._run else frozenset()

    def predict(
        self, photos: Iterable[str | Path | Problem], *, top: int = 1, tta: int = 0
    ) -> Iterator[Prediction]:
        """Predictions in the order of `photos`, one by one; an unreadable file gets an error.

        A problem that stands in the place of photos gets one, too.

        With `tta` each is the mean of the probabilities of the photo and so many of its views. The
        threshold of the run was chosen without views, and is then left aside.
        """
        if tta:
            _ = self._tta_settings  # refuses a run without views before anything is said
        self._note_calibration(tta)
        # Photos are read some batches ahead of the answers.
        given, read_ahead = tee(photos)
        views = (View(Path(photo)) for photo in read_ahead if not isinstance(photo, Problem))
        answers = self.stream(views, tta=tta)
        for photo in given:
            answer = photo if isinstance(photo, Problem) else next(answers)
            path = photo.where if isinstance(photo, Problem) else str(photo)
            yield self.prediction(path, answer, top=top, tta=tta)

    def prediction(
        self, path: str, answer: Answer | Problem, *, top: int = 1, tta: int = 0
    ) -> Prediction:
        """What `predict` gives for a photo, from its answer as `stream` gives it."""
        if isinstance(answer, Problem):
            return Prediction(path, (), error=answer.message, hint=answer.hint)
        in_force = self.calibration.without_threshold() if tta else self.calibration
        # Logarithms of means, unlike logits, are calibrated already.
        ranked, odds = self._ranked(answer.logits, RAW if tta else in_force, top)
        return Prediction(
            path,
            ranked,
            odds,
            calibrated=in_force.temperature is not None,
            threshold=in_force.threshold.probability if in_force.threshold else None,
            seen_in_training=answer.digest in self._trained_on,
        )

    def _note_calibration(self, tta: int) -> None:
        """Print what calibration is in force, and whether a threshold is left aside."""
        if tta and self.calibration.threshold is not None:
            console.note("--tta: the threshold of the run, chosen without views, is left aside")
            self.calibration.without_threshold().note()
        else:
            self.calibration.note()

    def stream(self, photos: Iterable[View], *, tta: int = 0) -> Iterator[Answer | Problem]:
        """The answer for each photo, in order, or why it cannot be read.

        With `tta` logits are ln of the means, over the photo and so many of its views, of their
        probabilities under `calibration`. A run without views is refused before any photo is read.
        """
        settings = self._tta_settings if tta else None
        for batch in load_batches(split_into_chunks(photos, BATCH_SIZE), self.pixel_settings):
            yield from self._answers(batch, tta, settings)

    def _answers(
        self, batch: Batch, tta: int, settings: Augment | None
    ) -> Iterator[Answer | Problem]:
        """The answer for each photo of a batch, or its problem."""
        digests = [view.digest for view in batch.readable]
        values: Iterable[Array] = ()
        if digests and settings is not None:
            values = self._log_mean_over_views(batch.pixels, digests, tta, settings)
        elif digests:
            values = self.logits(batch.pixels)
        readable = map(Answer, values, digests)
        for view in batch.views:
            problem = batch.errors.get(view.path)
            yield next(readable) if problem is None else problem

    def _ranked(
        self, logits: Array, scale: Calibration, top: int
    ) -> tuple[tuple[tuple[str, float], ...], tuple[float, ...]]:
        """Class and probability by falling logits, and the log odds of these probabilities."""
        order = np.argsort(-logits, kind="stable")[:top]
        values, odds = scale.apply(logits[None])[0], scale.log_odds(logits[None])[0]
        classes = tuple((self.classes[i], float(values[i])) for i in order)
        return classes, tuple(map(float, odds[order]))


def _training_photos(run: Run) -> frozenset[str]:
    """The hashes of the photos that a run was trained on; none where it was copied without."""
    if not run.file(SPLIT).is_file():
        return frozenset()
    try:
        return frozenset(row.sha256 for row in read_split(run) if row.split == "train")
    except RunError as error:  # predictions do not depend on it
        console.warn(f"{error}; photos from its training set cannot be recognised")
        return frozenset()
