"""The file that keeps the split: written once beside the recipe, extended when photos are added.

It is a table with the columns path, label, split and sha256, which `split.csv` of a run has too. A
photo is known by the hash of its bytes, wherever it lies; path and label are for people. No line is
changed or removed by tlcli, and what people change in it counts.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tlcli.data.slips import Slip, slip_problems
from tlcli.data.splits import SPLIT_WORDS, SplitName
from tlcli.errors import DataError, Problem, nearest, reason
from tlcli.system import files
from tlcli.system.console import counted


class SplitLine(NamedTuple):
    """A photo in a split file: its path as seen from the data folder, and the hash of its bytes."""

    path: str
    label: str
    split: SplitName
    sha256: str


COLUMNS = SplitLine._fields


class KnownSplits:
    """The splits that photos have already, by the hash of their bytes.

    Copies may be in several splits: then the name decides, which is the path as seen from the data
    folder.
    """

    def __init__(self, rows: Iterable[tuple[str, str, SplitName]] = ()) -> None:
        self._by_name: dict[tuple[str, str], SplitName] = {}
        self._by_digest: dict[str, SplitName] = {}
        for digest, name, split in rows:
            self._by_name.setdefault((digest, name), split)
            self._by_digest.setdefault(digest, split)

    def find(self, digest: str, name: str) -> SplitName | None:
        """The split of a photo; None where it is new."""
        return self._by_name.get((digest, name)) or self._by_digest.get(digest)

    def then(self, others: KnownSplits) -> KnownSplits:
        """These splits, and those of other photos."""
        joined = KnownSplits()
        joined._by_name = {**others._by_name, **self._by_name}
        joined._by_digest = {**others._by_digest, **self._by_digest}
        return joined

    def __bool__(self) -> bool:
        return bool(self._by_digest)


@dataclass(frozen=True)
class SplitFile:
    """The lines of a split file, and what is wrong with others.

    Attributes:
        columns: the names in the first line, as they are.
        lines: the cells of every other line that is not empty, as they are.
        known: the splits that the right ones say.
    """

    columns: tuple[str, ...] = COLUMNS
    separator: str = ","
    lines: tuple[tuple[str, ...], ...] = ()
    known: KnownSplits = field(default_factory=KnownSplits)
    problems: tuple[Problem, ...] = ()


def read_split_file(path: Path) -> SplitFile:
    """Read a split file; one that is not there yet is empty.

    Raises `DataError` for anything that is no such file; what is wrong with single lines is among
    the problems of the result.
    """
    try:
        with files.open_text(path) as file:
            text = file.read().removeprefix("\ufeff")
        first = text.partition("\n")[0]
        separator = max(",;\t", key=first.count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        lines = [(reader.line_num, tuple(cells)) for cells in reader if any(map(str.strip, cells))]
    except FileNotFoundError:
        return SplitFile(problems=tuple(_check_folder(path)))
    except (OSError, ValueError, csv.Error) as error:
        hint = "name another file with data.split.file"
        raise DataError(Problem(str(path), f"cannot be read: {reason(error)}", hint)) from error
    columns = lines[0][1] if lines else COLUMNS
    names = tuple(map(_plain, columns))
    if missing := [name for name in COLUMNS if name not in names and name != "label"]:
        what = f"is not a split file: it has no column {', '.join(missing)}"
        raise DataError(Problem(str(path), what, "name another file with data.split.file"))
    rows, slips = _parse_lines(names, lines[1:])
    known = KnownSplits((digest, name, split) for (digest, name), (split, _) in rows.items())
    cells = tuple(cells for _, cells in lines[1:])
    problems = (*_check_folder(path), *slip_problems(path, slips))
    return SplitFile(columns, separator, cells, known, problems)


def _plain(column: str) -> str:
    return column.strip().lower()


def _check_folder(path: Path) -> Iterator[Problem]:
    if not path.parent.is_dir():
        hint = "make it, or name another file with data.split.file"
        yield Problem(str(path.parent), "no such folder", hint)


_Rows = dict[tuple[str, str], tuple[SplitName, int]]


def _parse_lines(
    columns: tuple[str, ...], lines: Iterable[tuple[int, tuple[str, ...]]]
) -> tuple[_Rows, list[Slip]]:
    """The split and line of each hash and name; and slips, those with the same hint of one kind."""
    rows: _Rows = {}
    slips: list[Slip] = []
    for number, cells in lines:
        values = dict(zip(columns, map(str.strip, cells), strict=False))
        digest, name = values.get("sha256", "").lower(), values.get("path", "")
        word = values.get("split", "").lower()
        if len(cells) != len(columns):
            what, hint = f"has {counted(len(cells), 'column')}, not {len(columns)}", "complete it"
        elif not re.fullmatch("[0-9a-f]{64}", digest):
            what, hint = (
                f"'{digest[:70]}' is no SHA-256",
                "delete the line, to have it written anew",
            )
        elif word not in SPLIT_WORDS:
            guess = nearest(word, SPLIT_WORDS)
            what = f"has the unknown split '{word}'" if word else "has no split"
            hint = f"did you mean '{guess}'?" if guess else "write train, val or test"
        elif rows.setdefault((digest, name), (SPLIT_WORDS[word], number))[0] != SPLIT_WORDS[word]:
            what = f"contradicts line {rows[digest, name][1]} about {name}"
            hint = "keep one of the lines"
        else:
            continue
        slips.append(Slip(hint, number, what, hint))
    return rows, slips


def keep_split(path: Path | None, photos: Iterable[SplitLine]) -> None:
    """Have the split file at `path`, if there is to be one, list these photos: it gets new ones.

    Raises `DataError` where the file cannot be written, or has another split for one of them.
    """
    if path is None:
        return
    there = read_split_file(path)
    if there.problems:
        raise DataError(there.problems)
    new = []
    for photo in photos:
        known = there.known.find(photo.sha256, photo.path)
        if known is None:
            new.append(photo)
        elif known != photo.split:
            what = f"was changed: {photo.path} is in {known} now, not in {photo.split}"
            raise DataError(Problem(str(path), what, "give the command again, or undo the change"))
    if not new:
        return
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=there.separator, lineterminator="\n")
    writer.writerow(there.columns)
    writer.writerows(there.lines)
    rows = [photo._asdict() for photo in new]
    writer.writerows([row.get(_plain(column), "") for column in there.columns] for row in rows)
    try:
        files.write_text(path, text.getvalue())
    except OSError as error:
        hint = "name another file with data.split.file"
        raise DataError(Problem(str(path), f"cannot be written: {reason(error)}", hint)) from error
