"""Reading the layout of a data folder or of a table, with every problem that it shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tlcli.data import layout, tables
from tlcli.data.findings import group_alike
from tlcli.data.folders import (
    FolderListing,
    expect_folder,
    is_folder,
    is_photo,
    join_listings,
    list_folder,
    list_tree,
)
from tlcli.data.ignored_files import find_ignored
from tlcli.data.label_findings import find_label_flaws
from tlcli.data.layout import SPLITS, Layout
from tlcli.data.tables import SPLIT_WORDS, SplitName, TableRow
from tlcli.errors import DataError, Problem
from tlcli.system.console import counted


def read_folder_layout(root: Path, exclude: Path | None = None) -> Layout:
    """Find the photos under `root`, and every problem that their folders show.

    The list `exclude` may lie among them; what it lists is found all the same.
    Raises DataError where nothing can be trained on: no folder, not even two class folders, or
    folders of splits without one to train on.
    """
    if root.suffix.lower() in (".csv", ".tsv") and not is_folder(root):
        raise DataError(
            Problem(str(root), "is not a folder", "for a table, use data.csv instead of data.dir")
        )
    expect_folder(root)
    top = list_folder(root)
    if not (top.folders or top.photos or top.others or top.problems):
        hint = "put a folder of photos for each class into it"
        raise DataError(Problem(str(root), "is an empty folder", hint))
    splits = _find_split_folders(root, top)
    parts = splits.parts or {"train": root}
    contents = _read_parts(parts, [top] if splits.parts else [])
    rest = contents.rest
    dangling = [path for path in rest.dangling if is_photo(path)]
    misnamed = [problem for problem in rest.problems if problem.kind == "bad name"]
    of_folders = group_alike(problem for problem in rest.problems if problem.kind != "bad name")
    problems = (*misnamed, *splits.problems)
    folder_layout = Layout(root, parts, contents.photos, dangling, problems)
    if len(folder_layout.classes) < 2:
        lines = (*problems, *(finding.as_problem(root) for finding in of_folders))
        raise DataError([*_errors(lines), _too_few_classes(folder_layout, len(rest.photos))])
    return replace(
        folder_layout,
        problems=(
            *problems,
            *layout.splits_without_classes(folder_layout),
            *layout.nesting_problems(folder_layout),
        ),
        findings=(
            *of_folders,
            *layout.find_empty_classes(folder_layout),
            *layout.find_mismatches(folder_layout),
            *find_label_flaws(folder_layout.class_counts, str(parts["train"]), "class folder"),
            *find_ignored(rest, {root, *parts.values()}, exclude),
        ),
    )


def read_table_layout(table: Path) -> Layout:
    """The photos that a table lists, and every problem that it shows; the files are not opened.

    Raises DataError where nothing can be trained on: no table, or not even two classes.
    """
    if is_folder(table):
        hint = "for a folder, use data.dir instead of data.csv"
        raise DataError(Problem(str(table), "is a folder, not a table", hint))
    rows, slips = tables.read_rows(table)
    named = {row.split for row in rows if row.split}
    parts = {split: table for split in SPLITS if split in named} or {"train": table.parent}
    photos: dict[tuple[SplitName, str], list[Path]] = {}
    for row in rows:
        photos.setdefault((row.split or "train", row.label), []).append(row.path)
    table_layout = Layout(
        table.parent,
        {**parts, "train": parts.get("train", table)},
        photos,
        problems=(*slips, *(_undecided(table, rows) if named else ())),
        table=table,
        groups={row.path: row.group for row in rows if row.group},
        lines={row.path: row.line for row in rows},
    )
    if len(table_layout.classes) < 2:
        what = "no photo to train on"
        if table_layout.classes:
            what = f"only one class to train on, '{table_layout.classes[0]}'"
        too_few = Problem(str(table), what, "a classifier needs two or more")
        raise DataError([*_errors(table_layout.problems), too_few])
    return replace(
        table_layout,
        findings=(
            *layout.find_mismatches(table_layout),
            *find_label_flaws(table_layout.class_counts, str(table), "label"),
        ),
    )


def _undecided(table: Path, rows: Iterable[TableRow]) -> list[Problem]:
    """Lines without a split, in a table where others have one."""
    undecided = [row for row in rows if not row.split]
    if not undecided:
        return []
    first = undecided[0].path.name
    what = f"{counted(len(undecided), 'line')} without a split, such as that of {first}"
    return [Problem(str(table), what, "write train, val or test on every line")]


def _errors(problems: Iterable[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.severity == "error"]


def _list_names(paths: Sequence[Path], root: Path) -> str:
    """The first three of `paths` as seen from `root`, with dots for more."""
    shown = [path.relative_to(root).as_posix() for path in paths[:3]]
    return ", ".join(shown) + (", ..." if len(paths) > 3 else "")


@dataclass(frozen=True)
class _SplitFolders:
    """The folder of each split, none where the data folder holds plain classes."""

    parts: dict[SplitName, Path]
    problems: list[Problem]


def _find_split_folders(root: Path, top: FolderListing) -> _SplitFolders:
    """Which of the folders at the top are those of splits.

    Raises DataError where some are, but without class folders to train on.
    """
    named: dict[SplitName, list[Path]] = defaultdict(list)
    beside: list[Path] = []
    for folder in top.folders:
        split = SPLIT_WORDS.get(folder.name.lower())
        (named[split] if split else beside).append(folder)
    # A class may be called `train`: only then does that folder hold no folders.
    if not any(list_folder(folder).folders for folder in named["train"]):
        _expect_classes(root, named, beside)
        return _SplitFolders({}, [])
    parts = {split: named[split][0] for split in SPLITS if named[split]}
    return _SplitFolders(parts, _doubtful_folders(root, named, beside))


def _expect_classes(root: Path, named: dict[SplitName, list[Path]], beside: Sequence[Path]) -> None:
    """Raise DataError for folders that are called as splits are and cannot be classes either."""
    there = [folder for split in SPLITS for folder in named[split]]
    if holders := [folder for folder in there if _holds_only_folders(folder)]:
        there, hint = holders, "put the class folders to train on in a folder 'train'"
    elif not beside and sum(bool(folders) for folders in named.values()) > 1:
        hint = "make a folder for each class in each of them"
    else:
        return
    like, them = ("is named like a split", "it")
    if len(there) > 1:
        like, them = ("are named like splits", "them")
    what = f"{_list_names(there, root)} {like}, "
    what += "but there is no folder 'train' with class folders in it"
    raise DataError(Problem(str(root), what, f"{hint}, or rename {them}"))


def _holds_only_folders(folder: Path) -> bool:
    inside = list_folder(folder)
    return bool(inside.folders and not inside.photos)


def _doubtful_folders(
    root: Path, named: dict[SplitName, list[Path]], beside: Sequence[Path]
) -> list[Problem]:
    problems = []
    for split, folders in named.items():
        if len(folders) > 1:
            what = f"more than one folder for the {split} split: {_list_names(folders, root)}"
            problems.append(Problem(str(root), what, "merge them into one"))
    if beside:
        what = f"ignored {counted(len(beside), 'folder')} beside train: {_list_names(beside, root)}"
        hint = "if they are classes, move the class folders out of train"
        problems.append(Problem(str(root), what, hint, "warning"))
    return problems


@dataclass(frozen=True)
class _Contents:
    """The photos in class folders, and the rest of the data folder.

    The `photos` of the rest lie outside the class folders.
    """

    photos: dict[tuple[SplitName, str], list[Path]]
    rest: FolderListing


def _read_parts(parts: dict[SplitName, Path], above: list[FolderListing]) -> _Contents:
    """List the folder of every split, and all folders of classes in it.

    `above` are listings of folders above, whose files belong to the rest.
    """
    photos, listings = {}, list(above)
    for split, folder in parts.items():
        part = list_folder(folder)
        listings.append(part)
        for class_folder in part.folders:
            inside = list_tree(class_folder)
            photos[split, class_folder.name] = inside.photos
            listings.append(replace(inside, photos=[]))
    return _Contents(photos, join_listings(listings))


def _too_few_classes(layout: Layout, loose: int) -> Problem:
    """What to say of less than two classes, with `loose` photos outside of class folders."""
    where = str(layout.parts["train"])
    if layout.classes:
        what = f"only one class folder, '{layout.classes[0]}'"
        return Problem(where, what, "a classifier needs two or more")
    hint = "make a folder for each class and move its photos there"
    if loose:
        return Problem(where, f"{counted(loose, 'photo')} but no class folders", hint)
    return Problem(where, "no class folders", hint)
