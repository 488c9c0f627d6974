"""The labelled photos of an evaluation: a split of the run, class folders, or a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from tlcli.data import findings, folders, tables
from tlcli.data.findings import Finding, relative_name
from tlcli.data.folder_descent import descend
from tlcli.data.folder_words import split_of_folder
from tlcli.data.hashing import hash_files
from tlcli.data.ignored_files import find_ignored
from tlcli.data.layout import SPLITS
from tlcli.data.table_columns import ColumnNames
from tlcli.data.table_paths import find_missing
from tlcli.errors import DataError, Problem, RunError, nearest, suggestion
from tlcli.recipe.settings import Columns
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.inputs import RecordedPhoto, read_recipe, read_split
from tlcli.system import console
from tlcli.system.console import counted
from tlcli.system.object_stores import may_be_file
from tlcli.system.path_list import PathList

#: Photos that one problem names.
MOST_NAMED = 3

Photo = TypeVar("Photo")


@dataclass(frozen=True, slots=True)
class LabelledPhoto:
    """A photo with its label, the number of one of the run's classes.

    `name` is its path as it is shown and written: relative to the data folder if it lies in there.
    """

    path: Path
    name: str
    label: int
    sha256: str


@dataclass(frozen=True)
class LabelledPhotos:
    """Photos to evaluate on: `name` is the split's, or `dir` or `csv`."""

    name: str
    root: Path
    photos: tuple[LabelledPhoto, ...]


def data_folder_of(run: Run) -> Path:
    """The data folder that a run was trained on."""
    return read_recipe(run).data.root


def default_split(*runs: Run) -> str:
    """The split to score runs on: test, or val where one of them has no test photos."""
    splits = [{row.split for row in read_split(run)} for run in runs]
    without_test = any("test" not in of_run for of_run in splits)
    return "val" if without_test and all("val" in of_run for of_run in splits) else "test"


def read_recorded_split(run: Run, split: str) -> tuple[RecordedPhoto, ...]:
    """The photos that a run recorded for a split. Raises `RunError` where there is none."""
    rows = read_split(run)
    in_split = tuple(row for row in rows if row.split == split)
    if not in_split:
        others = [name for name in SPLITS if any(row.split == name for row in rows)]
        hint = suggestion(split, others) if others else "name another run"
        message = f"the run {run.path} has no photo in this split"
        raise RunError(Problem(f"--split {split}", message, hint))
    return in_split


def photo_name(row: RecordedPhoto, root: Path) -> str:
    """The path of a recorded photo, relative to the data folder `root` if it lies in there."""
    path = row.path_below(root)
    return relative_name(path, root)


def spread_evenly(photos: Sequence[Photo], most: int) -> Sequence[Photo]:
    """At most `most` of some photos, from the first to the last at the same distances."""
    return photos[:: max(1, -(-len(photos) // most))]


def find_split_photos(
    run: Run, split: str, classes: Sequence[str], data: Path | None = None
) -> LabelledPhotos:
    """The photos of a split, whose bytes must be those that the run recorded.

    Args:
        data: where the data folder is now, if it has moved.
    """
    rows, recorded_root = read_recorded_split(run, split), data_folder_of(run)
    numbers = _class_numbers(classes)
    if unknown := sorted({row.label for row in rows} - numbers.keys()):
        message = (
            f"its {directory.SPLIT} and its model have different classes, such as '{unknown[0]}'"
        )
        raise RunError(Problem(str(run.path), message, "name another run"))
    names = [photo_name(row, recorded_root) for row in rows]
    root = recorded_root if data is None else data
    paths = [root / name for name in names]
    hint = f"say where they are now with `tlcli evaluate --split {split} --data DIR`"
    _check_existence(paths, root, hint if data is None else "check the path")
    _check_unchanged(paths, rows, root)
    photos = (
        LabelledPhoto(path, name, numbers[row.label], row.sha256)
        for path, name, row in zip(paths, names, rows, strict=True)
    )
    return LabelledPhotos(split, root.absolute(), tuple(photos))


def find_folder_photos(folder: Path, classes: Sequence[str]) -> LabelledPhotos:
    """The photos in the class folders of `folder`; a class may be missing, none may be unknown.

    A single folder in which class folders lie is entered, as in training (`folder_descent`).
    Raises `DataError` with every problem of the folders.
    """
    folders.expect_folder(folder)
    numbers = _class_numbers(classes)
    top = descend(folder, split_of_folder(folder.name), classes).listing
    problems = [problem for problem in top.problems if problem.severity == "error"]
    unknown = tuple(path for path in top.folders if path.name not in numbers)
    if not problems:
        _check_no_splits(folder, unknown)
    if unknown:
        hint = suggestion(unknown[0].name, list(classes))
        what = "is not a class of the run"
        finding = Finding("unknown class", "error", what, hint, unknown, noun="folder")
        problems.append(finding.as_problem(folder))
    labelled: list[tuple[Path, int]] = []
    lost: list[Problem] = []
    rest = [top]
    for class_folder in top.folders:
        listing = folders.list_tree(class_folder)
        lost += [problem for problem in listing.problems if problem.severity == "error"]
        if class_folder.name in numbers:
            labelled += [(path, numbers[class_folder.name]) for path in listing.photos]
            rest.append(replace(listing, photos=PathList()))
    problems += [finding.as_problem(folder) for finding in findings.group_alike(lost)]
    if not problems and not labelled:
        hint = f"sort photos into folders named {', '.join(classes[:6])}"
        problems.append(Problem(f"--dir {folder}", "no photos in class folders", hint))
    if problems:
        raise DataError(problems)
    for finding in find_ignored(folders.join_listings(rest), {folder}):
        say = console.warn if finding.severity == "warning" else console.note
        say(str(finding.as_problem(folder)))
    return _hashed("dir", folder, labelled, lambda path: path.relative_to(folder).as_posix())


def _check_no_splits(folder: Path, unknown: Sequence[Path]) -> None:
    """Raise `DataError` where folders that are no classes are named as splits are."""
    if splits := [path for path in unknown if split_of_folder(path.name)]:
        hint = f"name one of them, such as {splits[-1]}"
        hint += ", or a split of the run with --split"
        raise DataError(Problem(f"--dir {folder}", "holds folders of splits", hint))


def find_table_photos(
    table: Path, classes: Sequence[str], columns: Columns | None = None
) -> LabelledPhotos:
    """The photos of a table in the form that recipes take (`tables`), whatever split a line names.

    `columns` are the names of the run's recipe, which the table may use. Raises `DataError` with
    every line that is wrong, and for photos that are missing.
    """
    names = ColumnNames(columns or Columns(), is_fixed=True)
    rows, problems = tables.read_rows(table, names)
    errors = [problem for problem in problems if problem.severity == "error"]
    errors += _label_problems(table, rows, classes)
    if not errors and not rows:
        errors.append(Problem(str(table), "has no lines", "write one for each photo: path,label"))
    if errors:
        raise DataError(errors)
    for problem in problems:
        show = console.warn if problem.severity == "warning" else console.note
        show(str(problem))
    if count := sum(bool(row.split) for row in rows):
        ignored = counted(count, "line")
        console.note(f"{table}: the split of {ignored} is ignored: all lines are evaluated")
    root = table.parent
    lines = {row.file: row.line for row in rows}
    if missing := find_missing([row.path for row in rows], lines, root, skip=False):
        raise DataError(missing.as_problem(root))
    numbers = _class_numbers(classes)
    labelled = [(row.path, numbers[row.label]) for row in rows]
    return _hashed("csv", root, labelled, lambda path: findings.relative_name(path, root))


def _label_problems(
    table: Path, rows: Sequence[tables.TableRow], classes: Sequence[str]
) -> Iterator[Problem]:
    """A problem for each label that is not a class, with its first line."""
    lines: dict[str, list[int]] = {}
    for row in rows:
        if row.label not in classes:
            lines.setdefault(row.label, []).append(row.line)
    if len(lines) > findings.MAX_NAMED:
        yield Finding(
            "unknown class", "error", "is not a class of the run", suggestion("", list(classes)),
            noun="label", names=tuple(f"'{label}'" for label in lines), where=str(table),
            details=tuple(counted(len(numbers), "line") for numbers in lines.values()),
        ).as_problem(table)  # fmt: skip
        return
    for label, numbers in lines.items():
        guess = nearest(label, classes)
        hint = f"did you mean '{guess}'?" if guess else suggestion(label, list(classes))
        more = f" (and {counted(len(numbers) - 1, 'more line')} like that)" * (len(numbers) > 1)
        message = f"'{label}' is not a class of the run{more}"
        yield Problem(f"{table}:{numbers[0]}", message, hint)


def _class_numbers(classes: Sequence[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(classes)}


def _hashed(
    kind: str, root: Path, labelled: Sequence[tuple[Path, int]], name: Callable[[Path], str]
) -> LabelledPhotos:
    """Photos with the hashes of their bytes; `name` gives the name of a path."""
    digests = _digests([path for path, _ in labelled], root)
    photos = (
        LabelledPhoto(path, name(path), label, sha256)
        for (path, label), sha256 in zip(labelled, digests, strict=True)
    )
    return LabelledPhotos(kind, root.absolute(), tuple(photos))


def _check_existence(paths: Sequence[Path], root: Path, hint: str) -> None:
    missing = [path for path in paths if not may_be_file(path)]
    if missing:
        message = f"{_named(missing, 'photo')} of {len(paths):,} missing"
        raise DataError(Problem(str(root), message, hint))


def _check_unchanged(paths: Sequence[Path], rows: Sequence[RecordedPhoto], root: Path) -> None:
    """Raise `DataError` where a file has other bytes than the run recorded."""
    digests = _digests(paths, root)
    changed = [
        path for path, row, digest in zip(paths, rows, digests, strict=True) if digest != row.sha256
    ]
    if changed:
        message = f"{_named(changed, 'photo')} changed since the run (by SHA-256)"
        hint = "restore them, or evaluate what is there now as new photos with --dir DIR"
        raise DataError(Problem(str(root), message, hint))


def _digests(paths: Sequence[Path], root: Path) -> list[str]:
    """The hash of each file. Raises `DataError` with every file that cannot be read."""
    digests, unreadable = hash_files(paths)
    if unreadable:
        raise DataError(findings.unreadable_lines(unreadable, root))
    return digests


def _named(paths: Sequence[Path], noun: str) -> str:
    shown = ", ".join(str(path) for path in paths[:MOST_NAMED])
    return f"{counted(len(paths), noun)} ({shown}{', ...' if len(paths) > MOST_NAMED else ''})"
