"""The confusion matrix of a page, with the photos of each cell."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from tlcli.evaluation.chart_data import ConfusionTable, confusion_table
from tlcli.report.thumbnails import PhotoThumbnails, Thumbnail
from tlcli.runs.evaluation_records import Evaluation, Guess

#: The most classes with a row of their own: of more, those with the most mistakes.
MOST_CLASSES = 40

#: Photos shown of a cell at most: of mistakes, which are of more interest, and of right answers.
MOST_WRONG, MOST_RIGHT = 48, 16

#: Pixels of the longer side of their thumbnails.
SIDE = 144

#: How many strengths a cell's colour has.
SHADES = 9


@dataclass(frozen=True)
class CellPhoto:
    """A photo in a cell, with its prediction."""

    guess: Guess
    picture: Thumbnail


@dataclass(frozen=True)
class MatrixCell:
    """Photos with one true and one predicted class.

    Attributes:
        share: of the photos of its row.
        shade: 0 without photos, else 1..`SHADES`: by the square root of the share of the row, so
            that a few mistakes among many photos are visible.
        photos: the most confident ones, as far as they can be shown; the cell has `more`.
    """

    row: int
    column: int
    n: int
    share: float
    shade: int
    photos: tuple[CellPhoto, ...] = ()

    @property
    def more(self) -> int:
        """How many photos of the cell are not shown."""
        return self.n - len(self.photos)


@dataclass(frozen=True)
class ConfusionMatrix:
    """The confusion matrix as it is shown: rows are labels, columns predictions.

    Attributes:
        names: of rows and columns; None stands for all other classes together.
        rows: the cells; those of `None` against itself hold right and wrong answers.
        folded: classes that have no row of their own.
    """

    names: tuple[str | None, ...]
    rows: tuple[tuple[MatrixCell, ...], ...]
    folded: int

    @property
    def cells(self) -> list[MatrixCell]:
        """The cells that hold photos, mistakes before right answers, the largest first."""
        held = [cell for row in self.rows for cell in row if cell.n]
        return sorted(held, key=lambda cell: (self.correct(cell), -cell.n))

    def correct(self, cell: MatrixCell) -> bool:
        """Whether a cell holds right answers only."""
        return cell.row == cell.column and self.names[cell.row] is not None


def confusion_with_photos(
    evaluation: Evaluation, guesses: Sequence[Guess], thumbnails: PhotoThumbnails
) -> ConfusionMatrix:
    """The matrix of an evaluation with photos of its predictions, until their bytes are used up.

    Every cell gets its first photo before any cell gets its second.
    """
    matrix = _without_photos(confusion_table(evaluation, MOST_CLASSES))
    by_cell = _by_cell(matrix, guesses)
    most = {
        key: MOST_RIGHT if matrix.correct(matrix.rows[key[0]][key[1]]) else MOST_WRONG
        for key in by_cell
    }
    shown = {key: photos[: most[key]] for key, photos in by_cell.items()}
    turns = zip_longest(*(shown[cell.row, cell.column] for cell in matrix.cells))
    paths = [guess.path for turn in turns for guess in turn if guess is not None]
    pictures = thumbnails.pictures(paths, SIDE)
    return replace(
        matrix,
        rows=tuple(
            tuple(
                replace(
                    cell,
                    photos=tuple(
                        CellPhoto(guess, pictures[guess.path])
                        for guess in shown.get((cell.row, cell.column), ())
                        if guess.path in pictures
                    ),
                )
                for cell in row
            )
            for row in matrix.rows
        ),
    )


def _without_photos(table: ConfusionTable) -> ConfusionMatrix:
    rows = tuple(
        tuple(
            MatrixCell(row, column, count, share, _shade(share))
            for column, (count, share) in enumerate(zip(counts, shares, strict=True))
        )
        for row, (counts, shares) in enumerate(zip(table.counts, table.shares, strict=True))
    )
    return ConfusionMatrix(table.names, rows, table.folded)


def _shade(share: float) -> int:
    return math.ceil(SHADES * math.sqrt(share))


def _by_cell(
    matrix: ConfusionMatrix, guesses: Sequence[Guess]
) -> dict[tuple[int, int], list[Guess]]:
    """The predictions of each cell, the most confident first."""
    place = {name: at for at, name in enumerate(matrix.names)}
    other = len(matrix.names) - 1
    held: dict[tuple[int, int], list[Guess]] = defaultdict(list)
    for cell in matrix.cells:
        held[cell.row, cell.column] = []
    for guess in sorted(guesses, key=lambda guess: guess.confidence, reverse=True):
        key = place.get(guess.label, other), place.get(guess.predicted, other)
        held[key].append(guess)
    return dict(held)
