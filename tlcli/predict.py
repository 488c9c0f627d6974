"""From a run to probabilities: nothing but its `model.keras` is needed."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli import images
from tlcli.errors import Problem, RunError, reason
from tlcli.framework import keras, tf
from tlcli.photos import Look, View, batches
from tlcli.runs import MODEL, MODEL_CARD

Array = npt.NDArray[Any]

BATCH_SIZE = 32


@dataclass(frozen=True)
class Prediction:
    """What a model says of one photo: classes by falling probability, or why it cannot be read."""

    path: str
    top: tuple[tuple[str, float], ...]
    error: str | None = None

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
        return {
            "path": self.path, "label": self.label, "probability": self.probability, "top": top
        }  # fmt: skip


class Predictor:
    """A trained model with the names of its classes and the way it wants its photos.

    Args:
        source: a run directory, or a `model.keras` that tlcli has written.

    Raises:
        RunError: where there is no model, or it is damaged, or nothing in it tells the classes.
    """

    def __init__(self, source: Path) -> None:
        path = source / MODEL if source.is_dir() else source
        self.path = path
        card = read_card(path)
        self.classes: tuple[str, ...] = tuple(card["classes"])
        height, width = card["image_size"]
        self._look = Look(height, width, card["resize"])
        try:
            # safe_mode stays on: a model file is data, and must not bring code along.
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunError(Problem(str(path), f"cannot be loaded: {reason(error)}")) from error
        self._model = tf.function(
            lambda x: model(x, training=False),
            input_signature=[tf.TensorSpec([None, height, width, 3], tf.float32)],
        )

    def probabilities(self, pixels: Array) -> Array:
        """Raw RGB, shape (n, height, width, 3), 0..255 -> probabilities, shape (n, classes)."""
        values = self._model(tf.convert_to_tensor(pixels, tf.float32)).numpy()
        if values.shape[1] == 1:  # a sigmoid unit: the probability of the second class
            values = np.concatenate([1 - values, values], axis=1)
        return np.asarray(values)

    def predict(self, paths: Iterable[str | Path], *, top: int = 1) -> Iterator[Prediction]:
        """Predictions in the order of `paths`, as they are made; a bad file gets an error."""
        # A path is its own identity here: the same photo may be asked for twice.
        views = (View(Path(path), str(path)) for path in paths)
        for batch in batches(_chunks(views, BATCH_SIZE), self._look):
            values = iter(self.probabilities(batch.pixels) if batch.readable else ())
            for view in batch.views:
                problem = batch.errors.get(view.path)
                if problem is not None:
                    yield Prediction(view.digest, (), error=problem.message)
                else:
                    yield Prediction(view.digest, self._ranked(next(values), top))

    def _ranked(self, values: Array, top: int) -> tuple[tuple[str, float], ...]:
        order = np.argsort(-values, kind="stable")[:top]
        return tuple((self.classes[i], float(values[i])) for i in order)


def read_card(path: Path) -> dict[str, Any]:
    """What a model archive says of its classes and pixels; see `runs.MODEL_CARD`."""
    try:
        with zipfile.ZipFile(path) as archive:
            card: dict[str, Any] = json.loads(archive.read(MODEL_CARD))
    except FileNotFoundError:
        raise RunError(Problem(str(path), "no such model", "name a run with --run")) from None
    except KeyError:
        hint = "only models of tlcli say which output is which class"
        raise RunError(Problem(str(path), f"has no {MODEL_CARD} inside", hint)) from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise RunError(Problem(str(path), f"is not a model: {reason(error)}")) from error
    if card.get("decoder") != images.DECODER_VERSION:
        message = (
            f"trained on pixels of decoder version {card.get('decoder')}, "
            f"this tlcli decodes with version {images.DECODER_VERSION}"
        )
        hint = f"use tlcli {card.get('tlcli')}, or train again"
        raise RunError(Problem(str(path), message, hint))
    return card


def _chunks(views: Iterable[View], size: int) -> Iterator[Sequence[View]]:
    iterator = iter(views)
    while chunk := list(islice(iterator, size)):
        yield chunk
