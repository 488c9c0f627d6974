"""The confusion matrix of a page, with the photos of each cell."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from tlcli.evaluation.chart_data import ConfusionTable, confusion_table
from tlcli.report.thumbnails import Album, Thumbnail
from tlcli.runs.evaluation_records import Evaluation, Guess

#: Classes that get a row of their own; of more, those with the most mistakes do.
MOST_CLASSES = 40

#: Photos shown of a cell: mistakes, of which one wants to see more, and right answers.
MOST_WRONG, MOST_RIGHT = 48, 16

#: Pixels of the longer side of their thumbnails.
SIDE = 144

#: Strengths of a cell's colour.
SHADES = 9


@dataclass(frozen=True)
class Shot:
    """A photo in the page."""

    guess: Guess
    picture: Thumbnail


@dataclass(frozen=True)
class MatrixCell:
    """Photos with one true and one predicted class.

    Attributes:
        shade: 0 for none, else 1..`SHADES`, by the share of the row; its square root, so that a few
            mistakes among many photos are seen.
        shots: the surest ones, as far as they can be shown; `more` are in the cell besides.
    """

    row: int
    column: int
    n: int
    shade: int
    shots: tuple[Shot, ...] = ()

    @property
    def more(self) -> int:
        """Photos of the cell that are not shown."""
        return self.n - len(self.shots)


@dataclass(frozen=True)
class Matrix:
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
        """Whether a cell holds nothing but right answers."""
        return cell.row == cell.column and self.names[cell.row] is not None


def confusion_examples(evaluation: Evaluation, guesses: Sequence[Guess], album: Album) -> Matrix:
    """The matrix of an evaluation with photos of its predictions, for as long as there is room.

    Every cell gets its first photo before any gets its second.
    """
    matrix = _without_photos(confusion_table(evaluation, MOST_CLASSES))
    held = _sorted(matrix, guesses)
    most = {
        key: MOST_RIGHT if matrix.correct(matrix.rows[key[0]][key[1]]) else MOST_WRONG
        for key in held
    }
    shown = {key: some[: most[key]] for key, some in held.items()}
    turns = zip_longest(*(shown[cell.row, cell.column] for cell in matrix.cells))
    wanted = [guess.path for turn in turns for guess in turn if guess is not None]
    pictures = album.pictures(wanted, SIDE)
    return replace(
        matrix,
        rows=tuple(
            tuple(
                replace(
                    cell,
                    shots=tuple(
                        Shot(guess, pictures[guess.path])
                        for guess in shown.get((cell.row, cell.column), ())
                        if guess.path in pictures
                    ),
                )
                for cell in row
            )
            for row in matrix.rows
        ),
    )


def _without_photos(table: ConfusionTable) -> Matrix:
    rows = tuple(
        tuple(
            MatrixCell(row, column, count, _shade(share))
            for column, (count, share) in enumerate(zip(counts, shares, strict=True))
        )
        for row, (counts, shares) in enumerate(zip(table.counts, table.shares, strict=True))
    )
    return Matrix(table.names, rows, table.folded)


def _shade(share: float) -> int:
    return math.ceil(SHADES * math.sqrt(share))


def _sorted(matrix: Matrix, guesses: Sequence[Guess]) -> dict[tuple[int, int], list[Guess]]:
    """The predictions by cell, the surest first."""
    place = {name: at for at, name in enumerate(matrix.names)}
    other = len(matrix.names) - 1
    held: dict[tuple[int, int], list[Guess]] = defaultdict(list)
    for cell in matrix.cells:
        held[cell.row, cell.column] = []
    for guess in sorted(guesses, key=lambda guess: -guess.probability):
        key = place.get(guess.label, other), place.get(guess.predicted, other)
        held[key].append(guess)
    return dict(held)
