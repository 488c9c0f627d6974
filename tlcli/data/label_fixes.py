"""Labels that a person has corrected: the table that `data.labels` names.

`tlcli audit labels --fix-list` writes such a table: path, label, suggested, keep. A person writes
`no` into `keep` where the suggested class is right, or writes the right one into `suggested`; and
`yes` where the label is right. A line whose `keep` is empty changes nothing. The split of a photo
stays as it is.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from tlcli.data.findings import MAX_NAMED, relative_name
from tlcli.data.slips import Slip, slip_problems
from tlcli.data.splits import read_yes_or_no
from tlcli.errors import DataError, Problem, nearest, reason, suggestion
from tlcli.system import files
from tlcli.system.console import counted
from tlcli.system.path_list import files_in

COLUMNS = ("path", "label", "suggested", "keep")

#: Photos that a misspelt path is compared with, and how near one must be.
_COMPARED, _NEAR = 1_000, 0.85


class LabelFix(NamedTuple):
    """A line: a photo with its label in the data, and what a person says of it.

    `keep` is None where nobody has decided.
    """

    path: str
    label: str
    suggested: str
    keep: bool | None
    line: int


@dataclass(frozen=True)
class FixList:
    """The lines of a table of labels.

    Attributes:
        columns: the names in the first line, as they are.
        cells: of every other line that is not empty, as they are.
        fixes: of the lines that can be understood.
        problems: what is wrong with the others.
    """

    columns: tuple[str, ...] = COLUMNS
    separator: str = ","
    cells: tuple[tuple[str, ...], ...] = ()
    fixes: tuple[LabelFix, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class DecidedLabels:
    """What the table of `data.labels` says of the photos.

    Attributes:
        file: the table.
        changed: the photos with another class than in the data, and that class.
        kept: those whose label a person has confirmed.
        undecided: how many lines nobody has decided.
    """

    file: Path
    changed: Mapping[Path, str] = field(default_factory=dict)
    kept: frozenset[Path] = frozenset()
    undecided: int = 0

    @property
    def photos(self) -> frozenset[Path]:
        """The photos that a person has decided about."""
        return self.kept.union(self.changed)

    def text(self) -> str:
        """The decisions, counted: in the plan, and in a note."""
        parts = [f"{len(self.changed):,} changed", f"{len(self.kept):,} confirmed"]
        parts += [f"{self.undecided:,} undecided"] if self.undecided else []
        return f"{', '.join(parts)} by {self.file.name}"

    def as_json(self) -> dict[str, object]:
        """The form of `finetune --dry-run --json`."""
        counts = {"changed": len(self.changed), "kept": len(self.kept)}
        return {"file": str(self.file), **counts, "undecided": self.undecided}


class LabelledItem(Protocol):
    """The part of `dataset.Item` that is looked at."""

    @property
    def file(self) -> str:
        """The path of the photo, as text."""

    @property
    def label(self) -> int:
        """Of the photo, in the data."""


def read_fix_list(path: Path) -> FixList:
    """Read a table of labels.

    Raises `DataError` for a file that is no such table; what is wrong with single lines is among
    the problems of the result.
    """
    where = f"data.labels: {path}"
    try:
        text = files.read_bytes(path, files.LIST_BYTES).decode("utf-8-sig", "surrogateescape")
        separator = max(",;\t", key=text.partition("\n")[0].count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        lines = [(reader.line_num, tuple(cells)) for cells in reader if any(map(str.strip, cells))]
    except (OSError, ValueError, csv.Error) as error:
        hint = "check the path; `tlcli audit labels --fix-list FILE` writes such a table"
        raise DataError(Problem(where, f"cannot be read: {reason(error)}", hint)) from error
    columns = lines[0][1] if lines else ()
    names = [column.strip().lower() for column in columns]
    if missing := [name for name in COLUMNS if name not in names]:
        what = f"is not a table of labels: it has no column {', '.join(missing)}"
        hint = "`tlcli audit labels --fix-list FILE` writes one"
        raise DataError(Problem(where, what, hint))
    fixes, slips = _parse_lines(names, lines[1:])
    cells = tuple(cells for _, cells in lines[1:])
    return FixList(columns, separator, cells, tuple(fixes), tuple(slip_problems(path, slips)))


def _parse_lines(
    names: Sequence[str], lines: Iterable[tuple[int, tuple[str, ...]]]
) -> tuple[list[LabelFix], list[Slip]]:
    fixes: dict[str, LabelFix] = {}
    slips: list[Slip] = []
    for number, cells in lines:
        fix = _parse(names, number, cells)
        if isinstance(fix, LabelFix) and (before := fixes.setdefault(fix.path, fix)) is not fix:
            fix = _repetition(before, fix)
        if isinstance(fix, Slip):
            slips.append(fix)
    return [*fixes.values()], slips


def _parse(names: Sequence[str], number: int, cells: tuple[str, ...]) -> LabelFix | Slip:
    if len(cells) != len(names):
        what = f"has {counted(len(cells), 'column')}, not {len(names)}"
        return Slip("columns", number, what, "put names with a comma in double quotes")
    values = dict(zip(names, cells, strict=True))
    path, label, suggested = values["path"], values["label"], values["suggested"]
    word = values["keep"].strip().lower()
    keep = read_yes_or_no(word) if word else None
    if not path.strip():
        return Slip("path", number, "has no path", "name the photo, or delete the line")
    if word and keep is None:
        what = f"has '{word}' in keep"
        hint = "write no to take the suggested class, yes to keep the label, or nothing"
        return Slip("keep", number, what, hint)
    if keep is False and not suggested.strip():
        what = f"takes the label from {path}, but suggests no other"
        return Slip("suggested", number, what, "write the right class into suggested")
    if keep is False and suggested == label:
        what = f"changes the label of {path} to '{label}', which it has"
        return Slip("same", number, what, "write yes into keep, or another class into suggested")
    return LabelFix(path, label, suggested, keep, number)


def _repetition(before: LabelFix, fix: LabelFix) -> Slip | LabelFix:
    """What is wrong with a second line of a photo."""
    if before[:-1] == fix[:-1]:
        return Slip("twice", fix.line, f"repeats line {before.line}", "used once", "warning")
    what = f"contradicts line {before.line} about {fix.path}"
    if {before.keep, fix.keep} == {True, False}:
        what += ": its label is both kept and changed"
    return Slip("contradiction", fix.line, what, "keep one of the lines")


def decide_labels(
    path: Path,
    items: Collection[LabelledItem],
    classes: Sequence[str],
    root: Path,
    unused: Iterable[str],
) -> tuple[DecidedLabels, list[Problem]]:
    """What a table of labels says of the photos of the data, and every problem with it.

    Args:
        path: the table.
        items: the photos, with their labels in the data.
        classes: the names of these labels.
        root: the folder that paths in the table are relative to.
        unused: the paths of photos of the data that are excluded, or cannot be read; lines may name
            them.

    Raises `DataError` for a file that is no such table.
    """
    table = read_fix_list(path)
    labels = {item.file: classes[item.label] for item in items}
    changed: dict[Path, str] = {}
    kept: set[Path] = set()
    slips: list[Slip] = []
    unknown: list[LabelFix] = []
    for fix in table.fixes:
        photo = root / fix.path
        if (label := labels.get(str(photo))) is None:
            unknown.append(fix)
        elif slip := _mismatch(fix, label, classes):
            slips.append(slip)
        elif fix.keep is False:
            changed[photo] = fix.suggested
        elif fix.keep:
            kept.add(photo)
    problems = [*table.problems, *slip_problems(path, slips)]
    if unknown:
        known = {str(root / fix.path) for fix in unknown}.intersection(unused)
        unknown = [fix for fix in unknown if str(root / fix.path) not in known]
    problems += _unknown_photos(path, table, unknown, labels, root)
    problems += _emptied(path, labels, {str(photo): name for photo, name in changed.items()})
    undecided = sum(fix.keep is None for fix in table.fixes)
    return DecidedLabels(path, changed, frozenset(kept), undecided), problems


def _mismatch(fix: LabelFix, label: str, classes: Sequence[str]) -> Slip | None:
    """What is wrong with a line about a photo that has this label in the data."""
    if fix.label != label and fix.keep:
        what = f"keeps the label of {fix.path}, and changes it from '{label}' to '{fix.label}'"
        hint = "to change it, write the class into suggested and no into keep"
        return Slip("both", fix.line, what, hint)
    if fix.label != label:
        what = f"says that {fix.path} is labelled '{fix.label}'; in the data it is '{label}'"
        guess = nearest(fix.label, classes) if fix.label not in classes else None
        hint = f"was '{fix.label}' renamed to '{guess}'? " if guess else ""
        hint += "the table is of other data, or of other labels: make it again with `tlcli audit "
        return Slip("label", fix.line, what, hint + "labels --fix-list FILE`")
    if fix.keep is False and fix.suggested not in classes:
        what = f"gives {fix.path} the class '{fix.suggested}', which is none of the data"
        return Slip("class", fix.line, what, suggestion(fix.suggested, classes))
    return None


def _unknown_photos(
    path: Path,
    table: FixList,
    unknown: Sequence[LabelFix],
    photos: Collection[str],
    root: Path,
) -> Iterator[Problem]:
    if not unknown:
        return
    if len(unknown) == len(table.fixes):
        what = f"none of its {counted(len(unknown), 'photo')} is in the data, such as "
        what += f"'{unknown[0].path}'"
        hint = f"it is of other data; paths are relative to {root}"
        yield Problem(f"data.labels: {path}", what, hint)
        return
    named = [
        f"'{fix.path}' (line {fix.line}{_guess(fix.path, root, photos)})"
        for fix in unknown[:MAX_NAMED]
    ]
    more = f" and {len(unknown) - MAX_NAMED:,} more" if len(unknown) > MAX_NAMED else ""
    what = f"{counted(len(unknown), 'line')} without a photo in the data: {', '.join(named)}{more}"
    yield Problem(f"data.labels: {path}", what, "correct the paths, or delete the lines")


def _guess(name: str, root: Path, photos: Iterable[str]) -> str:
    beside = files_in((root / name).parent, photos)
    beside.sort()
    guess = nearest(
        name, [relative_name(photo, root) for photo in beside[:_COMPARED]], cutoff=_NEAR
    )
    return f"; did you mean '{guess}'?" if guess else ""


def _emptied(
    path: Path, labels: Mapping[str, str], changed: Mapping[str, str]
) -> Iterator[Problem]:
    """Classes that have photos in the data, and none after the changes."""
    left = {changed.get(photo, label) for photo, label in labels.items()}
    for name in sorted({*labels.values()} - left):
        what = f"takes every photo from the class '{name}'"
        yield Problem(f"data.labels: {path}", what, "leave it some, or remove the class from data")
