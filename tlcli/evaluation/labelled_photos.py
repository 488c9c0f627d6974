"""The labelled photos of an evaluation: a split of the run, class folders, or a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tlcli.data import findings, folders, tables
from tlcli.data.hashing import digest_all
from tlcli.data.layout import SPLITS
from tlcli.errors import DataError, Problem, RunError, nearest, suggestion
from tlcli.runs import directory
from tlcli.runs.directory import Run
from tlcli.runs.inputs import RecordedPhoto, read_split, recipe_of
from tlcli.system import console
from tlcli.system.console import counted

#: Photos that one problem names.
MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class LabelledPhoto:
    """A photo with its label, which counts into the run's classes.

    `name` is its path as it is shown and kept: relative to the data folder where it lies in it.
    """

    path: Path
    name: str
    label: int
    sha256: str


@dataclass(frozen=True)
class LabelledPhotos:
    """Photos to evaluate on: `name` is the split's, or `data` or `csv`."""

    name: str
    root: Path
    photos: tuple[LabelledPhoto, ...]


def data_folder_of(run: Run) -> Path:
    """The data folder that a run was trained on."""
    return recipe_of(run).data.root


def read_recorded_split(run: Run, split: str) -> tuple[RecordedPhoto, ...]:
    """What a run recorded of a split. Raises `RunError` where it has no photo in it."""
    rows = read_split(run)
    found = tuple(row for row in rows if row.split == split)
    if not found:
        there = [name for name in SPLITS if any(row.split == name for row in rows)]
        hint = suggestion(split, there) if there else "name another run"
        raise RunError(
            Problem(f"--split {split}", f"the run {run.path} has no photo in this split", hint)
        )
    return found


def photo_name(row: RecordedPhoto, root: Path) -> str:
    """The path of a recorded photo, relative to the data folder where it lies in it."""
    path = root / row.path
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def find_split_photos(
    run: Run, split: str, classes: Sequence[str], data: Path | None = None
) -> LabelledPhotos:
    """The photos of a split, which must have the bytes that they had for the run.

    Args:
        data: where the data folder is now, if it has moved.
    """
    rows, root = read_recorded_split(run, split), data_folder_of(run)
    numbers = {name: number for number, name in enumerate(classes)}
    names = [photo_name(row, root) for row in rows]
    home = root if data is None else data
    if strange := sorted({row.label for row in rows} - numbers.keys()):
        message = (
            f"its {directory.SPLIT} and its model have different classes, such as '{strange[0]}'"
        )
        raise RunError(Problem(str(run.path), message, "name another run"))
    paths = [home / name for name in names]
    hint = f"say where they are now with `tlcli evaluate --split {split} --data DIR`"
    _check_there(paths, home, hint if data is None else "check the path")
    digests = _digests(paths)
    changed = [
        path for path, row, found in zip(paths, rows, digests, strict=True) if found != row.sha256
    ]
    if changed:
        message = f"{_named(changed, 'photo')} changed since the run (by SHA-256)"
        hint = "restore them, or evaluate what is there now as new photos with --data DIR"
        raise DataError(Problem(str(home), message, hint))
    photos = (
        LabelledPhoto(path, name, numbers[row.label], row.sha256)
        for path, name, row in zip(paths, names, rows, strict=True)
    )
    return LabelledPhotos(split, home.absolute(), tuple(photos))


def find_folder_photos(folder: Path, classes: Sequence[str]) -> LabelledPhotos:
    """The photos in the class folders of `folder`; a class may be missing, none may be unknown."""
    folders.expect_folder(folder)
    numbers = {name: number for number, name in enumerate(classes)}
    top = folders.look(folder)
    problems = [problem for problem in top.problems if problem.severity == "error"]
    strange = [path.name for path in top.folders if path.name not in numbers]
    if {name.lower() for name in strange} & tables.SPLIT_WORDS.keys() and not problems:
        hint = f"name one of them, such as {folder / strange[-1]}"
        hint += ", or a split of the run with --split and --data"
        raise DataError(Problem(f"--data {folder}", "holds folders of splits", hint))
    for name in strange:
        what = "is not a class of the run"
        problems.append(Problem(str(folder / name), what, suggestion(name, list(classes))))
    found: list[tuple[Path, int]] = []
    for class_folder in top.folders:
        inside = folders.walk(class_folder)
        problems += [problem for problem in inside.problems if problem.severity == "error"]
        if class_folder.name in numbers:
            found += [(path, numbers[class_folder.name]) for path in inside.photos]
    if not problems and not found:
        hint = f"sort photos into folders named {', '.join(classes[:6])}"
        problems.append(Problem(f"--data {folder}", "no photos in class folders", hint))
    if problems:
        raise DataError(problems)
    return _labelled("data", folder, found, lambda path: path.relative_to(folder).as_posix())


def find_table_photos(table: Path, classes: Sequence[str]) -> LabelledPhotos:
    """The photos of a table as recipes have them (`tables`); every line counts, whatever split it
    names."""
    numbers = {name: number for number, name in enumerate(classes)}
    rows, told = tables.read(table)
    problems = [problem for problem in told if problem.severity == "error"]
    for row in rows:
        if row.label not in numbers:
            guess = nearest(row.label, classes)
            hint = f"did you mean '{guess}'?" if guess else suggestion(row.label, list(classes))
            what = f"'{row.label}' is not a class of the run"
            problems.append(Problem(f"{table}:{row.line}", what, hint))
    if not problems and not rows:
        problems.append(Problem(str(table), "has no lines", "write one for each photo: path,label"))
    if problems:
        raise DataError(problems)
    for problem in told:
        if problem.severity == "warning":
            console.warn(str(problem))
    if named := sum(bool(row.split) for row in rows):
        lines = counted(named, "line")
        console.note(f"{table}: the split of {lines} is ignored: all lines are evaluated")
    root = table.parent
    by_path = {row.path: row.line for row in rows}
    if missing := tables.missing(by_path, by_path, skip=False):
        raise DataError(missing.as_problem(root))
    found = [(row.path, numbers[row.label]) for row in rows]
    return _labelled("csv", root, found, lambda path: findings.relative_name(path, root))


def _labelled(
    kind: str, root: Path, found: Sequence[tuple[Path, int]], name: Callable[[Path], str]
) -> LabelledPhotos:
    digests = _digests([path for path, _ in found])
    photos = (
        LabelledPhoto(path, name(path), label, sha256)
        for (path, label), sha256 in zip(found, digests, strict=True)
    )
    return LabelledPhotos(kind, root.absolute(), tuple(photos))


def _check_there(paths: Sequence[Path], root: Path, hint: str) -> None:
    missing = [path for path in paths if not path.is_file()]
    if missing:
        what = f"{_named(missing, 'photo')} of {len(paths):,} missing"
        raise DataError(Problem(str(root), what, hint))


def _digests(paths: Sequence[Path]) -> list[str]:
    """The hash of each file. Raises `DataError` with every file that cannot be read."""
    found, unread = digest_all(paths)
    if unread:
        raise DataError(unread.values())
    return [found[path] for path in paths]


def _named(paths: Sequence[Path], noun: str) -> str:
    shown = ", ".join(str(path) for path in paths[:MOST_NAMED])
    return f"{counted(len(paths), noun)} ({shown}{', ...' if len(paths) > MOST_NAMED else ''})"
