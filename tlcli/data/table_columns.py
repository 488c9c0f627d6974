"""Which column of a table is which, by its first line and by the names that the recipe gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tlcli.data.column_meanings import guess_columns, has_column_words
from tlcli.data.folders import is_photo
from tlcli.data.splits import SplitName, split_values
from tlcli.errors import DataError, Problem, nearest
from tlcli.recipe.settings import Columns
from tlcli.system.yamlfile import quote_scalar

#: What the columns are for, and their order in a table that does not name them.
COLUMNS = ("path", "label", "split", "group")

# Lines that are looked at to tell what a column holds, of them those whose files are looked for,
# and columns that a message names.
_LOOKED_AT, _LOOKED_FOR, _MAX_SHOWN = 1_000, 100, 6


class TableLine(NamedTuple):
    """A line of a table that holds something, by the number of its last line in the file."""

    number: int
    cells: list[str]


@dataclass(frozen=True)
class TableColumns:
    """The columns of a table.

    Attributes:
        names: as the first line gives them; empty where that is a line like the others.
        width: how many there are.
        positions: of those that are read, counted from 0, by what they are for: path, label and,
            where the table has them, split and group.
        splits: what the values of the split column mean, in lower case.
    """

    names: tuple[str, ...]
    width: int
    positions: Mapping[str, int]
    splits: Mapping[str, SplitName]

    def values(self, place: int, lines: Sequence[TableLine]) -> list[str]:
        """The values of the column at `place`, without outer spaces."""
        return [line.cells[place].strip() for line in lines if len(line.cells) == self.width]


@dataclass(frozen=True)
class ColumnNames:
    """What the columns of a table are to be called.

    Attributes:
        names: those of the recipe.
        is_fixed: for a table of photos to evaluate a run on: its recipe cannot change, so that the
            table may have the usual names in place of those of the recipe.
    """

    names: Columns = field(default_factory=Columns)
    is_fixed: bool = False

    def in_table(self, spelt: Sequence[str]) -> dict[str, str | None]:
        """The name of each column, by what it is for; None for one that is not used."""
        names: dict[str, str | None] = self.names.model_dump()
        if not self.is_fixed:
            return names
        folded = {name.casefold() for name in spelt}
        return {
            use: name if name and name.casefold() in folded else use for use, name in names.items()
        }

    def hint(self, guesses: Mapping[str, str]) -> str:
        """How to say which column is which, as far as that can be guessed."""
        if not guesses:
            return "begin with a line `path,label`, and `split` or `group` if there are any"
        if self.is_fixed:
            renamed = ", ".join(f"'{name}' to {use}" for use, name in guesses.items())
            return f"rename the column{'s' if len(guesses) > 1 else ''} {renamed}"
        return f"say in the recipe which is which: {recipe_line(**guesses)}"


def recipe_line(**names: str | None) -> str:
    """The words of a recipe that name columns: `data.columns: {split: is_valid}`."""
    pairs = (f"{use}: {'null' if name is None else _scalar(name)}" for use, name in names.items())
    return f"data.columns: {{{', '.join(pairs)}}}"


def _scalar(name: str) -> str:
    """A name as it can stand between braces, where YAML gives more signs a meaning."""
    return json.dumps(name, ensure_ascii=False) if set(name) & set(",[]{}") else quote_scalar(name)


def find_columns(
    table: Path, lines: Sequence[TableLine], names: ColumnNames, is_file: Callable[[str], bool]
) -> TableColumns:
    """The columns of a table of these lines, the first one included.

    `is_file` says whether there is a photo of a path. Raises DataError for a table without a
    column of paths and one of labels.
    """
    spelt = tuple(cell.strip() for cell in lines[0].cells)
    called = names.in_table(spelt)
    folded = {name.casefold() for name in spelt}
    path = called["path"]
    if (path and path.casefold() in folded) or any(
        called[use] not in (use, None) for use in called
    ):
        return _by_name(table, spelt, names, lines)
    if _names_columns(lines, is_file):
        missing = [use for use in ("path", "label") if use not in folded]
        what = f"names columns, but not {' and '.join(missing)} (found {_show(spelt)})"
        others = {
            name: values
            for name, values in _columns(spelt, lines).items()
            if name.casefold() not in called
        }
        hint = names.hint(guess_columns(others, [*missing, "split"]))
        raise DataError(Problem(f"{table}:1", what, hint))
    if not 2 <= len(spelt) <= len(COLUMNS):
        what = f"has no columns path and label (found {_show(spelt)})"
        raise DataError(Problem(f"{table}:1", what, names.hint({})))
    places = {use: COLUMNS.index(use) for use in COLUMNS[: len(spelt)] if called[use]}
    return TableColumns((), len(spelt), places, split_values("split"))


def guess_names(lines: Sequence[TableLine], is_file: Callable[[str], bool]) -> dict[str, str]:
    """What a table without a recipe calls its columns, by what they are for, where it is not that.

    Empty where its first line names no columns, or has the usual names.
    """
    spelt = tuple(cell.strip() for cell in lines[0].cells)
    folded = {name.casefold() for name in spelt}
    if "path" not in folded and not _names_columns(lines, is_file):
        return {}
    missing = [use for use in ("path", "label", "split") if use not in folded]
    if missing in ([], ["split"]):
        return {}
    others = {
        name: values
        for name, values in _columns(spelt, lines).items()
        if name.casefold() not in COLUMNS
    }
    return guess_columns(others, missing)


def _by_name(
    table: Path, spelt: tuple[str, ...], names: ColumnNames, lines: Sequence[TableLine]
) -> TableColumns:
    """The columns, if the first line names them."""
    folded = [name.casefold() for name in spelt]
    called = {use: name for use, name in names.in_table(spelt).items() if name}
    counts = {use: folded.count(name.casefold()) for use, name in called.items()}
    places = {use: folded.index(called[use].casefold()) for use in called if counts[use]}
    problems = []
    for use, name in called.items():
        if counts[use] > 1:
            what, hint = f"names the column '{name}' twice", "rename one of them"
        elif not counts[use] and name != use:
            what = f"names no column '{name}' (found {_show(spelt)})"
            guess = nearest(name, filter(None, spelt))
            hint = f"data.columns.{use} is to be one of its columns"
            hint = f"did you mean {recipe_line(**{use: guess})}?" if guess else hint
        elif not counts[use] and use in ("path", "label"):
            what = f"names no column '{use}' (found {_show(spelt)})"
            others = {name: values for name, values in _columns(spelt, lines).items()
                      if folded.index(name.casefold()) not in places.values()}  # fmt: skip
            hint = names.hint(guess_columns(others, [use]))
        else:
            continue
        problems.append(Problem(f"{table}:1", what, hint))
    if problems:
        raise DataError(problems)
    return TableColumns(spelt, len(spelt), places, split_values(called.get("split", "split")))


def _columns(spelt: Sequence[str], lines: Sequence[TableLine]) -> dict[str, list[str]]:
    """The first values of each column, by its name in the first line."""
    whole = TableColumns((), len(spelt), {}, {})
    some = lines[1 : _LOOKED_AT + 1]
    return {name: whole.values(place, some) for place, name in enumerate(spelt) if name}


def _show(names: Sequence[str]) -> str:
    shown = ",".join(names[:_MAX_SHOWN])
    return f"'{shown}{',...' if len(names) > _MAX_SHOWN else ''}'"


def _names_columns(lines: Sequence[TableLine], is_file: Callable[[str], bool]) -> bool:
    """Whether the first line names columns, though none of them `path`.

    If it is no photo, and its words are common names of columns; or its label is on no other line,
    and it is made of words, or the other lines are photos.
    """
    cells = [cell.strip() for cell in lines[0].cells]
    if any(is_photo(Path(cell)) for cell in cells) or is_file(cells[0]):
        return False
    if has_column_words(cells):
        return True
    others = [line.cells for line in lines[1 : _LOOKED_AT + 1] if len(line.cells) == len(cells)]
    if len(cells) < 2 or not others or any(cells[1] == other[1].strip() for other in others):
        return False
    if all(cell.replace("_", "").replace(" ", "").isalpha() for cell in cells):
        return True
    return any(is_photo(Path(other[0])) or is_file(other[0]) for other in others[:_LOOKED_FOR])
