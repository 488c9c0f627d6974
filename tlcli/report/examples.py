"""Photos of a page that are shown one by one: mistakes, and right answers that were unsure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from tlcli.errors import Problem, RunError
from tlcli.report.run_data import RunData
from tlcli.report.thumbnails import PhotoThumbnails, Thumbnail
from tlcli.runs import directory
from tlcli.runs.evaluation_records import Evaluation, ExplanationRecord, Guess

#: Photos shown of each kind, and pixels of the longer side of their thumbnails.
MOST, SIDE = 12, 224


@dataclass(frozen=True)
class Heat:
    """A heat map in the page, and the record of what it explains."""

    explanation: ExplanationRecord
    picture: Thumbnail


@dataclass(frozen=True)
class PhotoExample:
    """A photo with its prediction; None for a picture that cannot be shown."""

    guess: Guess
    picture: Thumbnail | None
    heat: Heat | None


def photos_to_explain(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The photos that a report shows and can explain, the most important first."""
    pairs = zip_longest(evaluation.mistakes[:MOST], evaluation.unsure_correct[:MOST])
    guesses = dict.fromkeys(guess for pair in pairs for guess in pair if guess is not None)
    return [guess.model_dump() for guess in guesses]


def show_examples(
    guesses: Sequence[Guess], data: RunData, thumbnails: PhotoThumbnails
) -> tuple[PhotoExample, ...]:
    """The first photos of a list, each with a heat map of the predicted class if there is one."""
    shown = guesses[:MOST]
    explanations = {(item.path, item.name): item for item in data.explanations or ()}
    pictures = thumbnails.pictures((guess.path for guess in shown), SIDE)
    folder = data.run.file(directory.EXPLANATIONS)
    return tuple(
        PhotoExample(
            guess,
            pictures.get(guess.path),
            _heat(explanations.get((guess.path, guess.predicted)), folder, thumbnails),
        )
        for guess in shown
    )


def _heat(
    explanation: ExplanationRecord | None, folder: Path, thumbnails: PhotoThumbnails
) -> Heat | None:
    if explanation is None:
        return None
    if (
        Path(explanation.image).name != explanation.image
    ):  # a path would show files of other folders
        where = str(folder / directory.EXPLANATIONS_INDEX)
        message = f"image: '{explanation.image}' is not the name of a file in this folder"
        raise RunError(Problem(where, message, "make it again, or remove it"))
    picture = thumbnails.picture(folder / explanation.image, SIDE)
    return None if picture is None else Heat(explanation, picture)
