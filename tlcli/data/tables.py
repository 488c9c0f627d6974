"""Tables of labelled photos: `path,label[,split][,group]`, as CSV or TSV.

The text is UTF-8, with or without a byte order mark. Commas, semicolons or tabs separate the
columns: what a first line `sep=;` says, or whichever the first line has; quotes work as in
spreadsheets. A first line with the word `path` in it, or with the names that the recipe gives in
`data.columns`, names the columns, in any order (`table_columns`). Without one they are path, label,
split and group. Paths are relative to the table (`table_paths`). Labels are kept as they are, to
the last space.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

from tlcli.data.slips import Slip, slip_problems
from tlcli.data.splits import SPLIT_WORDS, SplitName, is_yes_or_no
from tlcli.data.table_columns import ColumnNames, TableColumns, TableLine, find_columns, guess_names
from tlcli.data.table_paths import PhotoFinder
from tlcli.data.unused_columns import find_unused_columns
from tlcli.errors import DataError, Problem, nearest, reason
from tlcli.system import files, object_stores
from tlcli.system.console import counted
from tlcli.system.object_stores import store_address
from tlcli.system.web import as_web_address, not_a_file

# The first line of some spreadsheets says what separates the columns.
_SEPARATOR_LINE = re.compile(r'"?sep=([^\w\s"]|\t)"?;*,*\t*', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TableRow:
    """One labelled photo, and its line in the table.

    `file` is its path as text; see `PathList`. `split` and `group` are empty where the table does
    not say.
    """

    file: str
    label: str
    split: SplitName | Literal[""] = ""
    group: str = ""
    line: int = field(default=0, compare=False)

    @property
    def path(self) -> Path:
        """Where the photo lies."""
        return Path(self.file)


def read_rows(
    table: Path, names: ColumnNames | None = None
) -> tuple[list[TableRow], list[Problem]]:
    """The rows of a table, each file once, and the problems of the other lines.

    `names` is what its columns are called, if not path, label, split and group. Raises DataError
    for a file that is no such table.
    """
    names = names or ColumnNames()
    lines = list(_lines(table, _text(table)))
    if not lines:
        hint = "write a line `path,label` for each photo"
        raise DataError(Problem(str(table), "is empty", hint))
    finder = PhotoFinder(table.parent)
    columns = find_columns(table, lines, names, finder.exists)
    body = lines[1:] if columns.names else lines
    rows: dict[str, TableRow] = {}
    slips: list[Slip] = []
    for line in body:
        parsed = _parse(finder, columns, line)
        if isinstance(parsed, Slip):
            slips.append(parsed)
        elif parsed.file in rows:
            slips.append(_repetition(rows[parsed.file], parsed))
        else:
            rows[parsed.file] = parsed
    problems = [
        *slip_problems(table, slips),
        *finder.completions(table),
        *find_unused_columns(table, columns, names, body),
    ]
    return [*rows.values()], problems


def guess_columns(table: Path) -> dict[str, str]:
    """The names of the columns of a table that no recipe names; see `table_columns.guess_names`."""
    lines = list(_lines(table, _text(table)))
    return guess_names(lines, PhotoFinder(table.parent).exists) if lines else {}


def _parse(finder: PhotoFinder, columns: TableColumns, line: TableLine) -> TableRow | Slip:
    """The row of a line; or what is wrong with it."""
    number, cells = line
    if len(cells) != columns.width:
        what = f"has {counted(len(cells), 'column')}, not {columns.width}"
        return Slip("columns", number, what, "put names with a comma in double quotes")
    values = {use: cells[place] for use, place in columns.positions.items()}
    name, label = values["path"], values["label"]
    split = values.get("split", "").strip().lower()
    if not name.strip() or "\0" in name:
        return Slip("path", number, "has no path", "name the photo, or delete the line")
    if not label.strip():
        return Slip("label", number, f"has no label for {name}", "write one, or delete the line")
    if split and split not in columns.splits:
        what = f"has the unknown split '{values['split']}'"
        return Slip("split", number, what, _split_hint(split))
    if changed := _changed_as_path(name):
        return Slip("address", number, changed, "name the object otherwise")
    paths = finder.find(name)
    if not paths and (address := as_web_address(name.strip())):
        problem = not_a_file(address, "")
        return Slip("address", number, problem.message, problem.hint)
    if len(paths) > 1:
        what = f"names '{name}', which may be {' or '.join(path.name for path in paths[:3])}"
        return Slip("several", number, what, "write the whole name")
    group = values.get("group", "").strip()
    path = paths[0] if paths else finder.folder / name
    return TableRow(str(path), label, columns.splits[split] if split else "", group, number)


def _changed_as_path(name: str) -> str:
    """What is wrong with an address in an object store that a path cannot stand for."""
    try:
        if address := store_address(name.strip()):
            object_stores.as_path(address)
    except ValueError as error:
        return f"names {name.strip()}, which {reason(error)}"
    return ""


def _split_hint(word: str) -> str:
    if is_yes_or_no(word):
        return "for true and false, the column must be called is_valid, is_test or is_train"
    guess = nearest(word, SPLIT_WORDS)
    return f"did you mean '{guess}'?" if guess else "use train, val or test"


def _repetition(before: TableRow, row: TableRow) -> Slip:
    """What is wrong with a second row of a file."""
    if before == row:
        return Slip("twice", row.line, f"repeats line {before.line}", "used once", "warning")
    what = f"contradicts line {before.line} about {row.path.name}"
    return Slip("contradiction", row.line, what, "keep one of the lines")


def _text(table: Path) -> str:
    try:
        if address := store_address(table):
            content = object_stores.read_object(address)
        else:
            content = files.read_bytes(table, files.LIST_BYTES)
        return content.decode("utf-8-sig").lstrip("\ufeff")
    except FileNotFoundError as error:
        missing = Problem(str(table), "no such table", "check the path")
        address = None if store_address(table) else as_web_address(table)
        raise DataError(not_a_file(address) if address else missing) from error
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 text (byte {error.start:,})"
        raise DataError(Problem(str(table), what, "save it as UTF-8 (CSV UTF-8)")) from error
    except (OSError, ValueError) as error:
        what = f"cannot be read: {reason(error)}"
        raise DataError(Problem(str(table), what, "name a CSV or TSV file")) from error


def _lines(table: Path, text: str) -> Iterator[TableLine]:
    """The lines that hold something, without one that says what separates columns."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    declaration = _SEPARATOR_LINE.fullmatch(first.strip(" "))
    likely = max("\t;,", key=first.count) if table.suffix.lower() != ".tsv" else "\t"
    separator = declaration[1] if declaration else likely
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        holding = (cells for cells in reader if any(cell.strip() for cell in cells))
        for cells in islice(holding, 1 if declaration else 0, None):
            yield TableLine(reader.line_num, cells)
    except csv.Error as error:
        where = f"{table}:{reader.line_num}"
        hint = 'close the quotes, and double those inside: "5"" disk.jpg"'
        raise DataError(
            Problem(where, f"is not a line of a table: {reason(error)}", hint)
        ) from error
