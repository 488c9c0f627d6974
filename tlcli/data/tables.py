"""Tables of labelled photos: `path,label[,split][,group]`, as CSV or TSV.

The text is UTF-8, with or without a byte order mark. Commas, semicolons or tabs separate the
columns, whichever the first line has; quotes work as in spreadsheets. A first line with the word
`path` in it names the columns, in any order; others are ignored, with a note. Without one they are
path, label, split and group. Paths are relative to the table. Labels are kept as they are, to the
last space.
"""

from __future__ import annotations

import csv
import io
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

from tlcli.data.findings import Finding
from tlcli.data.folders import is_photo
from tlcli.errors import DataError, Problem, Severity, nearest, reason
from tlcli.system import files
from tlcli.system.console import counted

SplitName = Literal["train", "val", "test"]

COLUMNS = ("path", "label", "split", "group")

#: Words for the splits, in lower case; folders of splits are called the same.
SPLIT_WORDS: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "eval": "val",
    "test": "test",
    "testing": "test",
}

# Other names of those columns, in lower case and without anything but letters and digits.
_ALIASES = {
    "path": frozenset(
        {"paths", "file", "files", "filename", "filenames", "filepath", "image", "images"}
        | {"imagefile", "imagename", "imagepath", "img", "imgpath", "photo", "photopath"}
    ),
    "label": frozenset(
        {"labels", "labelname", "class", "classes", "classname", "category", "target"}
    ),
    "split": frozenset({"splits", "subset", "set", "partition", "fold", "phase", "usage"}),
    "group": frozenset(
        {"groups", "groupid", "groupname", "patient", "patientid", "subject", "subjectid"}
        | {"person", "personid", "participant", "participantid", "animalid", "caseid"}
        | {"studyid", "series", "seriesid", "session", "sessionid", "burst", "burstid"}
    ),
}

# How to use a column that is ignored.
_USE = {
    "split": "if it contains train, val or test, rename it to split",
    "group": "if photos with the same value must stay in one split, rename it to group",
}

# How near to a column's name a misspelt one is; at less, 'site' would be near to 'split'.
_NEAR = 0.75

#: Lines of one kind of slip that are shown one by one, and ignored columns that are named.
_MAX_SHOWN = 5


@dataclass(frozen=True, slots=True)
class TableRow:
    """One labelled photo, and its line in the table.

    `split` and `group` are empty where the table does not say.
    """

    path: Path
    label: str
    split: SplitName | Literal[""] = ""
    group: str = ""
    line: int = field(default=0, compare=False)


class _Slip(NamedTuple):
    """A line that gives no row. Slips of one `kind` are grouped."""

    kind: str
    line: int
    message: str
    hint: str
    severity: Severity = "error"

    def as_problem(self, table: Path) -> Problem:
        return Problem(f"{table}:{self.line}", self.message, self.hint, self.severity)


def read_rows(table: Path) -> tuple[list[TableRow], list[Problem]]:
    """The rows of a table, each file once, and the problems of the other lines.

    Raises DataError for a file that is no such table.
    """
    lines = _lines(table, _text(table))
    first = next(lines, None)
    if first is None:
        hint = "write a line `path,label` for each photo"
        raise DataError(Problem(str(table), "is empty", hint))
    _, cells = first
    columns = _header(table, cells)
    if columns is None:
        if not 2 <= len(cells) <= len(COLUMNS):
            raise DataError(_no_columns(table, cells))
        columns = list(COLUMNS[: len(cells)])
        lines = chain([first], lines)
    rows: dict[Path, TableRow] = {}
    slips: list[_Slip] = []
    for number, cells in lines:
        parsed = _parse(table.parent, columns, number, cells)
        if isinstance(parsed, _Slip):
            slips.append(parsed)
        elif parsed.path in rows:
            slips.append(_repetition(rows[parsed.path], parsed))
        else:
            rows[parsed.path] = parsed
    return [*rows.values()], [*_slip_problems(table, slips), *_ignored(table, columns)]


def _parse(
    folder: Path, columns: Sequence[str], number: int, cells: Sequence[str]
) -> TableRow | _Slip:
    """The row of line `number`, with its path relative to `folder`; or what is wrong with it."""
    if len(cells) != len(columns):
        what = f"has {counted(len(cells), 'column')}, not {len(columns)}"
        return _Slip("columns", number, what, "put names with a comma in double quotes")
    values = dict(zip(columns, cells, strict=True))
    name, label = values["path"], values["label"]
    split = values.get("split", "").strip().lower()
    if not name.strip() or "\0" in name:
        return _Slip("path", number, "has no path", "name the photo, or delete the line")
    if not label.strip():
        return _Slip("label", number, f"has no label for {name}", "write one, or delete the line")
    if split and split not in SPLIT_WORDS:
        guess = nearest(split, SPLIT_WORDS)
        hint = f"did you mean '{guess}'?" if guess else "use train, val or test"
        return _Slip("split", number, f"has the unknown split '{values['split']}'", hint)
    group = values.get("group", "").strip()
    return TableRow(folder / name, label, SPLIT_WORDS.get(split, ""), group, number)


def _repetition(before: TableRow, row: TableRow) -> _Slip:
    """What is wrong with a second row of a file."""
    if before == row:
        return _Slip("twice", row.line, f"repeats line {before.line}", "used once", "warning")
    what = f"contradicts line {before.line} about {row.path.name}"
    return _Slip("contradiction", row.line, what, "keep one of the lines")


def _slip_problems(table: Path, slips: Iterable[_Slip]) -> Iterator[Problem]:
    """The slips, the first few of each kind, and how many more there are."""
    by_kind: dict[str, list[_Slip]] = defaultdict(list)
    for slip in slips:
        by_kind[slip.kind].append(slip)
    for alike in by_kind.values():
        yield from (slip.as_problem(table) for slip in alike[:_MAX_SHOWN])
        if more := alike[_MAX_SHOWN:]:
            last = more[-1]
            what = f"{counted(len(more), 'more line')} like that, up to line {last.line}"
            yield Problem(str(table), what, last.hint, last.severity)


def find_missing(
    paths: Collection[Path], lines: Mapping[Path, int], *, skip: bool
) -> Finding | None:
    """Rows whose photos are not there, if any of `paths` is not, by their lines in the table.

    With `skip` they are left out of a run, and are no more than a warning.
    """
    lost = tuple(path for path in paths if not os.path.lexists(path))
    if not lost:
        return None
    hint = _other_spelling(lost[0])
    if not hint and any("\\" in path.name for path in lost):
        hint = "write / instead of \\ between folders"
    hint = "left out of the run" if skip else hint or "check the path; it is relative to the table"
    severity: Severity = "warning" if skip else "error"
    details = tuple(f"line {lines[path]}" for path in lost)
    return Finding("unreadable", severity, "no such file", hint, lost, details)


def _other_spelling(path: Path) -> str:
    """A hint where there is a file of that name in other letter case."""
    with suppress(OSError, ValueError):
        for other in path.parent.iterdir():
            if other.name.casefold() == path.name.casefold():
                return f"did you mean '{other.name}', in different letter case?"
    return ""


def _text(table: Path) -> str:
    try:
        return files.read_bytes(table, files.LIST_BYTES).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(Problem(str(table), "no such table", "check the path")) from error
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 text (byte {error.start:,})"
        raise DataError(Problem(str(table), what, "save it as UTF-8 (CSV UTF-8)")) from error
    except (OSError, ValueError) as error:
        what = f"cannot be read: {reason(error)}"
        raise DataError(Problem(str(table), what, "name a CSV or TSV file")) from error


def _lines(table: Path, text: str) -> Iterator[tuple[int, list[str]]]:
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
        words = {"label", *_ALIASES["path"], *_ALIASES["label"]}
        if words & set(map(_letters, names)) and not any(is_photo(Path(name)) for name in names):
            raise DataError(_no_columns(table, cells))
        return None
    twice = [name for name in COLUMNS if names.count(name) > 1]
    if twice or "label" not in names:
        what = f"names the column '{twice[0]}' twice" if twice else "names no column 'label'"
        hint = "begin with `path,label`"
        if guesses := [name for name in names if _likely_column(name, names) == "label"]:
            hint = f"if '{guesses[0]}' contains the labels, rename it to label"
        raise DataError(Problem(f"{table}:1", what, hint))
    return names


def _letters(name: str) -> str:
    """'Group ID', 'group_id' and 'groupId' alike: groupid."""
    return "".join(filter(str.isalnum, name)).lower()


def _likely_column(name: str, names: Sequence[str]) -> str | None:
    """The column that the table does not name and that one of an unknown name might be."""
    missing = [column for column in COLUMNS if column not in names]
    word = _letters(name)
    if name in COLUMNS or not word:
        return None
    alias = next((column for column in missing if word in _ALIASES[column]), None)
    return alias or nearest(word, missing, cutoff=_NEAR)


def _ignored(table: Path, columns: Sequence[str]) -> Iterator[Problem]:
    """Columns of which nothing is read: warnings where a group or split may be lost by it."""
    where, others = f"{table}:1", [name for name in columns if name and name not in COLUMNS]
    plain = []
    for name in others:
        if column := _likely_column(name, columns):
            yield Problem(where, f"the column '{name}' is ignored", _USE[column], "warning")
        else:
            plain.append(f"'{name}'")
    if plain:
        what = f"ignored {counted(len(plain), 'column')}: {', '.join(plain[:_MAX_SHOWN])}"
        yield Problem(where, what + (", ..." if len(plain) > _MAX_SHOWN else ""), severity="note")


def _no_columns(table: Path, cells: list[str]) -> Problem:
    shown = ",".join(cells[:6])
    hint = "begin with a line `path,label`, and `split` or `group` if there are any"
    if renamings := [
        f"'{cell.strip()}' to {name}" for cell in cells if (name := _likely_column(cell, ()))
    ]:
        hint = f"rename the column{'s' if len(renamings) > 1 else ''} {', '.join(renamings)}"
    return Problem(f"{table}:1", f"has no columns path and label (found '{shown}')", hint)
