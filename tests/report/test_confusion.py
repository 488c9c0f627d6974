"""The confusion matrix: every photo in its cell, also where classes are folded together."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from builders.photos import paint

from tlcli.data.hashing import hash_file
from tlcli.evaluation import metrics
from tlcli.report import confusion, examples
from tlcli.report.confusion import MOST_CLASSES, MOST_RIGHT, SHADES, confusion_with_photos
from tlcli.report.thumbnails import PhotoThumbnails
from tlcli.runs.evaluation_records import Evaluation, Guess


def random_evaluation(classes: int, n: int, wrong: float = 0.4) -> tuple[Evaluation, list[Guess]]:
    random = np.random.default_rng(3)
    names = [f"c{number:03d}" for number in range(classes)]
    labels = random.integers(0, classes, n)
    values = random.random((n, classes)) * wrong + np.eye(classes)[labels] * random.random((n, 1))
    values /= values.sum(axis=1, keepdims=True)
    guesses = [
        Guess(path=f"{at}.png", label=names[label], predicted=names[row.argmax()],
              probability=row.max())
        for at, (label, row) in enumerate(zip(labels, values, strict=True))
    ]  # fmt: skip
    return Evaluation(**dict(metrics.measure(values, labels, names))), guesses


@pytest.fixture
def thumbnails(tmp_path: Path) -> PhotoThumbnails:
    for number in range(120):
        paint(tmp_path / f"{number}.png", (100, 100, 100), number, side=24)
    digests = {path.name: hash_file(path) for path in tmp_path.iterdir()}
    return PhotoThumbnails(tmp_path, tmp_path, digests, 10_000_000)


def test_cells_hold_their_photos_the_surest_first(thumbnails: PhotoThumbnails):
    evaluation, guesses = random_evaluation(3, 120)
    matrix = confusion_with_photos(evaluation, guesses, thumbnails)
    assert [[cell.n for cell in row] for row in matrix.rows] == [
        list(row) for row in evaluation.confusion
    ]
    for cell in matrix.cells:
        pair = matrix.names[cell.row], matrix.names[cell.column]
        truth = sorted(
            (guess for guess in guesses if (guess.label, guess.predicted) == pair),
            key=lambda guess: -guess.probability,
        )
        shown = truth[:MOST_RIGHT] if matrix.correct(cell) else truth
        assert [photo.guess for photo in cell.photos] == shown
        assert cell.more == len(truth) - len(shown)
    assert max(cell.shade for cell in matrix.cells) <= SHADES
    assert all(cell.shade >= 1 for cell in matrix.cells)


def test_every_cell_gets_a_photo_before_any_gets_two(thumbnails: PhotoThumbnails):
    evaluation, guesses = random_evaluation(3, 120)
    whole = confusion_with_photos(evaluation, guesses, thumbnails)
    cells = len(whole.cells)
    sizes = [len(photo.picture.uri) for cell in whole.cells for photo in cell.photos]
    tight = PhotoThumbnails(
        thumbnails.root, thumbnails.root, thumbnails.digests, int(max(sizes) * (cells + 2))
    )
    matrix = confusion_with_photos(evaluation, guesses, tight)
    assert {len(cell.photos) for cell in matrix.cells} <= {1, 2, 3}
    assert sum(len(cell.photos) for cell in matrix.cells) < sum(map(bool, sizes))


def test_many_classes_are_folded(thumbnails: PhotoThumbnails):
    classes = MOST_CLASSES + 20
    evaluation, guesses = random_evaluation(classes, 3_000, wrong=1.0)
    matrix = confusion_with_photos(
        evaluation,
        guesses,
        PhotoThumbnails(thumbnails.root, thumbnails.root, thumbnails.digests, 0),
    )
    assert (
        matrix.folded == 20 and matrix.names[-1] is None and len(matrix.names) == MOST_CLASSES + 1
    )
    errors = Counter[str]()
    for guess in guesses:
        if guess.label != guess.predicted:
            errors.update((guess.label, guess.predicted))
    kept = set(matrix.names) - {None}
    left = {f"c{number:03d}" for number in range(classes)} - kept
    assert min(errors[name] for name in kept) >= max(errors[name] for name in left)
    for row, label in zip(matrix.rows, matrix.names, strict=True):
        for cell, predicted in zip(row, matrix.names, strict=True):
            here = [
                guess for guess in guesses
                if (guess.label == label if label else guess.label in left)
                and (guess.predicted == predicted if predicted else guess.predicted in left)
            ]  # fmt: skip
            assert cell.n == len(here)
    assert not matrix.correct(matrix.rows[-1][-1]), "the last cell holds mistakes, too"


def test_photos_of_cells_are_smaller_than_those_of_the_lists(tmp_path: Path):
    paint(tmp_path / "0.png", (100, 100, 100), 0, side=300)
    evaluation, (guess,) = random_evaluation(2, 1)
    thumbnails = PhotoThumbnails(
        tmp_path, tmp_path, {"0.png": hash_file(tmp_path / "0.png")}, 10_000_000
    )
    (cell,) = confusion_with_photos(evaluation, [guess], thumbnails).cells
    (photo,) = cell.photos
    assert (photo.picture.width, photo.picture.height) == (confusion.SIDE, confusion.SIDE)
    assert (
        thumbnails.pictures(["0.png"], examples.SIDE)["0.png"].width
        == examples.SIDE
        > confusion.SIDE
    )
