"""From a run to probabilities: nothing but its `model.keras` is needed.

Where that lies in a run, the run's calibration and threshold are applied, and photos that it was
trained on are recognised; a model alone has the temperature in its card.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tlcli.errors import Problem, RunError
from tlcli.evaluation.calibration import RAW, Calibration, model_calibration
from tlcli.evaluation.engines import choose_engine
from tlcli.evaluation.neighbours import Likeness, open_neighbours
from tlcli.evaluation.prediction import Prediction
from tlcli.evaluation.tta import read_tta_settings
from tlcli.images import augment
from tlcli.images.loader import Batch, PixelSettings, View, load_batches, split_into_chunks
from tlcli.networks.engine import EngineName, FeatureEngine
from tlcli.networks.probabilities import class_logits, log_softmax
from tlcli.networks.temperature import log_probabilities
from tlcli.runs.directory import MODEL, SPLIT, Run, find_model
from tlcli.runs.inputs import read_split
from tlcli.runs.model_file import read_card, run_of_model
from tlcli.system import console

if TYPE_CHECKING:
    from tlcli.recipe.augment import Augment

Array = npt.NDArray[Any]

BATCH_SIZE = 32


class Reading(NamedTuple):
    """What a predictor makes of the pixels of a photo.

    Attributes:
        logits: of a softmax, float64, shape (classes,).
        likeness: to the training photos, where the predictor looks for it.
    """

    logits: Array
    likeness: Likeness | None = None


class Answer(NamedTuple):
    """The same of a photo; `digest` is the hex SHA-256 of the bytes that it was computed from.

    With test-time augmentation, logits are ln of mean probabilities.
    """

    logits: Array
    digest: str
    likeness: Likeness | None = None


class Predictor:
    """A trained model with the names of its classes and the pixels it takes.

    For example, `tlcli.Predictor().predict(["cat.jpg"])` asks the latest run.

    Args:
        source: the name of a run, a run directory, or a `model.keras` that tlcli has written; None
            for the latest run.
        raw: leave the run's calibration and threshold aside, which `calibration` holds otherwise.
        engine: what computes: `keras`, `instant` (LiteRT, without TensorFlow), or an engine for
            this model that is there already; None for the one that is done first.
        unknown: tell photos that are like none of the training photos, if the run can.
        why: name so many of the training photos that are most like each photo.
        photos: how many there are going to be, if that is known: it decides which engine is done
            first.
        precision: that the base computes in; see `engines.choose_engine`.

    Attributes:
        classes: their names, in the order of the columns of logits and probabilities.
        engine_reason: in a few words, why this engine computes.
        precision: that the base computes in; None with an engine that was given.

    Raises:
        RunError: where there is no model, or it is damaged, or nothing in it tells the classes;
            with `why`, where the run cannot name photos.
    """

    def __init__(
        self,
        source: str | Path | Run | None = None,
        *,
        raw: bool = False,
        engine: FeatureEngine | EngineName | None = None,
        unknown: bool = True,
        why: int = 0,
        photos: int | None = None,
        precision: str = "auto",
    ) -> None:
        path = _model_path(source)
        self.path = path
        card = read_card(path)
        self.calibration = model_calibration(path, card, raw=raw)
        self._run = run_of_model(path)
        self.classes: tuple[str, ...] = tuple(card["classes"])
        self.pixel_settings = PixelSettings.from_card(card)
        if engine is None or isinstance(engine, str):
            chosen = choose_engine(path, engine, photos, precision)
            self.engine, self.engine_reason = chosen.engine, chosen.why
            self.precision: str | None = chosen.precision
        else:
            self.engine, self.engine_reason, self.precision = engine, "it was given", None
        self.neighbours = None
        if self.engine.has_features or why:
            neighbours = open_neighbours(self._run, path, self.classes, unknown=unknown, why=why)
            self.neighbours = neighbours if self.engine.has_features else None

    def read(self, pixels: Array) -> list[Reading]:
        """Raw RGB, shape (n, height, width, 3), 0..255 -> logits and likeness of each photo."""
        if self.neighbours is None:
            return [Reading(row) for row in self.logits(pixels)]
        values, features = self.engine.compute_with_features(pixels)
        assert features is not None  # as `has_features` says
        logits = class_logits(values.astype(np.float64))
        return [*map(Reading, logits, self.neighbours.compare(features))]

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
        logits, settings = self.logits(pixels), self._tta_settings
        return np.exp(self._log_mean_over_views(logits, pixels, digests, views, settings))

    def _log_mean_over_views(
        self, logits: Array, pixels: Array, digests: Sequence[str], views: int, settings: Augment
    ) -> Array:
        """ln of the means; adding up in logarithms keeps what is close to 0 and 1 apart.

        `logits` are those of the photos themselves.
        """
        temperature = self.calibration.temperature or 1
        total = log_probabilities(logits, temperature)
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
        self, photos: str | Path | Iterable[str | Path | Problem], *, top: int = 1, tta: int = 0
    ) -> Iterator[Prediction]:
        """Predictions in the order of `photos`, one by one; an unreadable file gets an error.

        `photos` are files; one of them may stand alone, without a list. A problem that stands in
        the place of photos gets one, too.

        With `tta` each is the mean of the probabilities of the photo and so many of its views. The
        threshold of the run was chosen without views, and is then left aside.
        """
        if tta:
            _ = self._tta_settings  # refuses a run without views before anything is said
        self._note_calibration(tta)
        # Photos are read some batches ahead of the answers.
        given, read_ahead = tee([photos] if isinstance(photos, str | Path) else photos)
        views = (View(str(photo)) for photo in read_ahead if not isinstance(photo, Problem))
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
            distance=answer.likeness.distance if answer.likeness else None,
            distance_limit=self.neighbours.limit if self.neighbours else None,
            neighbours=answer.likeness.neighbours if answer.likeness else None,
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
        readings = self.read(batch.pixels) if digests else []
        logits: Iterable[Array] = [reading.logits for reading in readings]
        if digests and settings is not None:
            own = np.stack([reading.logits for reading in readings])
            logits = self._log_mean_over_views(own, batch.pixels, digests, tta, settings)
        readable = map(Answer, logits, digests, (reading.likeness for reading in readings))
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


def _model_path(source: str | Path | Run | None) -> Path:
    """The model that is meant; whether there is one is seen when it is read."""
    if source is None or isinstance(source, str):
        return find_model(source)
    folder = source.path if isinstance(source, Run) else source
    return folder / MODEL if folder.is_dir() else folder
