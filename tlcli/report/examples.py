"""Photos of a page that are shown one by one: mistakes, and right answers that were unsure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from tlcli.errors import Problem, RunError
from tlcli.report.run_data import Evidence
from tlcli.report.thumbnails import Album, Thumbnail
from tlcli.runs import directory
from tlcli.runs.evaluation_records import Evaluation, ExplanationRecord, Guess

#: Photos shown of each kind, and pixels of their longer side.
MOST, SIDE = 12, 224


@dataclass(frozen=True)
class Heat:
    """A heat map in the page, with what it explains."""

    explanation: ExplanationRecord
    picture: Thumbnail


@dataclass(frozen=True)
class Exhibit:
    """A photo with what the network made of it; None for a picture that cannot be shown."""

    guess: Guess
    picture: Thumbnail | None
    heat: Heat | None


def asked_for(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The photos to explain, the most important first: those that a report shows."""
    pairs = zip_longest(evaluation.mistakes[:MOST], evaluation.unsure_correct[:MOST])
    guesses = dict.fromkeys(guess for pair in pairs for guess in pair if guess is not None)
    return [guess.model_dump() for guess in guesses]


def photo_examples(
    guesses: Sequence[Guess], evidence: Evidence, album: Album
) -> tuple[Exhibit, ...]:
    """The first photos of a list, each with the heat for the class that was named, if there is."""
    shown = guesses[:MOST]
    heats = {(one.path, one.name): one for one in evidence.explanations or ()}
    pictures = album.pictures((guess.path for guess in shown), SIDE)
    folder = evidence.run.file(directory.EXPLANATIONS)
    return tuple(
        Exhibit(
            guess,
            pictures.get(guess.path),
            _heat(heats.get((guess.path, guess.predicted)), folder, album),
        )
        for guess in shown
    )


def _heat(explanation: ExplanationRecord | None, folder: Path, album: Album) -> Heat | None:
    if explanation is None:
        return None
    if Path(explanation.image).name != explanation.image:  # nothing from elsewhere gets in
        where = str(folder / directory.EXPLANATIONS_INDEX)
        message = f"image: '{explanation.image}' is not the name of a file in this folder"
        raise RunError(Problem(where, message, "make it again, or remove it"))
    picture = album.picture(folder / explanation.image, SIDE)
    return None if picture is None else Heat(explanation, picture)
