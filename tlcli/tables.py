"""Tables of labelled photos: `path,label[,split][,group]`, as CSV or TSV.

The text is UTF-8, with or without a byte order mark. Commas, semicolons or tabs separate the
columns, whichever the first line has; quotes work as in spreadsheets. A first line with the word
`path` in it names the columns, in any order, others ignored; without one they are path, label,
split and group. Paths are relative to the table. Labels are kept as they are, to the last space.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tlcli.console import counted
from tlcli.errors import DataError, Problem, nearest, reason

SplitName = Literal["train", "val", "test"]

COLUMNS = ("path", "label", "split", "group")

#: Words for the splits, in lower case; folders of splits are called the same.
SPLIT_WORDS: dict[str, SplitName] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}

#: Rows with the same slip that are told one by one.
_TOLD = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled photo, and its line in the table.

    `split` and `group` are empty where the table does not say.
    """

    path: Path
    label: str
    split: SplitName | Literal[""] = ""
    group: str = ""
    line: int = field(default=0, compare=False)


def read(table: Path) -> tuple[list[Row], list[Problem]]:
    """The rows of a table, each file once, and what is wrong with others.

    Raises DataError for a file that is no such table.
    """
    rows = _rows(table, _text(table))
    first = next(rows, None)
    if first is None:
        hint = "write a line `path,label` for each photo"
        raise DataError(Problem(str(table), "is empty", hint))
    number, cells = first
    columns = _header(table, cells)
    if columns is None:
        columns = list(COLUMNS[: len(cells)])
        if not 2 <= len(cells) <= len(COLUMNS):
            raise DataError(_no_columns(table, cells))
        found = _Reader(table, columns)
        found.take(number, cells)
    else:
        found = _Reader(table, columns)
    for number, cells in rows:
        found.take(number, cells)
    return found.rows, found.told()


class _Reader:
    """Rows as they are taken, and slips by what is wrong."""

    def __init__(self, table: Path, columns: list[str]) -> None:
        self.rows: list[Row] = []
        self._table, self._columns = table, columns
        self._seen: dict[Path, Row] = {}
        self._slips: dict[str, list[Problem]] = {}

    def take(self, number: int, cells: list[str]) -> None:
        """Check one line and keep its row."""
        if len(cells) != len(self._columns):
            what = f"has {counted(len(cells), 'column')}, not {len(self._columns)}"
            self._slip(number, "columns", what, "put names with a comma in double quotes")
            return
        said = dict(zip(self._columns, cells, strict=True))
        name, label = said["path"], said["label"]
        split = said.get("split", "").strip().lower()
        if not name.strip() or "\0" in name:
            self._slip(number, "path", "has no path", "name the photo, or delete the line")
        elif not label.strip():
            self._slip(number, "label", f"has no label for {name}", "write one, or delete the line")
        elif split and split not in SPLIT_WORDS:
            guess = nearest(split, SPLIT_WORDS)
            hint = f"did you mean '{guess}'?" if guess else "use train, val or test"
            self._slip(number, "split", f"has the unknown split '{said['split']}'", hint)
        else:
            path = self._table.parent / name
            group = said.get("group", "").strip()
            self._keep(Row(path, label, SPLIT_WORDS.get(split, ""), group, number))

    def _keep(self, row: Row) -> None:
        before = self._seen.setdefault(row.path, row)
        if before is row:
            self.rows.append(row)
        elif before == row:
            what = f"repeats line {before.line}"
            self._slip(row.line, "twice", what, "used once", error=False)
        else:
            what = f"contradicts line {before.line} about {row.path.name}"
            self._slip(row.line, "contradiction", what, "keep one of the lines")

    def _slip(self, line: int, kind: str, what: str, hint: str, *, error: bool = True) -> None:
        where = f"{self._table}:{line}"
        problem = Problem(where, what, hint, "error" if error else "warning")
        self._slips.setdefault(kind, []).append(problem)

    def told(self) -> list[Problem]:
        """The slips, the first few of each kind, and how many more there are."""
        told = []
        for problems in self._slips.values():
            told += problems[:_TOLD]
            if more := len(problems) - _TOLD:
                last = problems[-1]
                if more > 0:
                    line = last.where.rpartition(":")[2]
                    what = f"{counted(more, 'more line')} like that, up to line {line}"
                    told.append(Problem(str(self._table), what, last.hint, last.severity))
        return told


def _text(table: Path) -> str:
    try:
        return table.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(Problem(str(table), "no such table", "check the path")) from error
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 text (byte {error.start:,})"
        raise DataError(Problem(str(table), what, "save it as UTF-8 (CSV UTF-8)")) from error
    except OSError as error:
        what = f"cannot be read: {reason(error)}"
        raise DataError(Problem(str(table), what, "name a CSV or TSV file")) from error


def _rows(table: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The lines that hold something, by the number of their last line."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max("\t;,", key=first.count) if table.suffix.lower() != ".tsv" else "\t"
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        where = f"{table}:{reader.line_num}"
        hint = 'close the quotes, and double those inside: "5"" disk.jpg"'
        raise DataError(
            Problem(where, f"is not a line of a table: {reason(error)}", hint)
        ) from error


def _header(table: Path, cells: list[str]) -> list[str] | None:
    """The names of the columns, if the first line names them."""
    names = [cell.strip().lower() for cell in cells]
    if "path" not in names:
        if {"label", "class", "filename", "file", "image"} & set(names):
            raise DataError(_no_columns(table, cells))
        return None
    twice = [name for name in COLUMNS if names.count(name) > 1]
    if twice or "label" not in names:
        what = f"names the column '{twice[0]}' twice" if twice else "names no column 'label'"
        raise DataError(Problem(f"{table}:1", what, "begin with `path,label`"))
    return names


def _no_columns(table: Path, cells: list[str]) -> Problem:
    shown = ",".join(cells[:6])
    hint = "begin with a line `path,label`, and `split` or `group` if there are any"
    return Problem(f"{table}:1", f"has no columns path and label (found '{shown}')", hint)
