"""Reading the layout of a data folder or of a table, with every problem that it shows."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.data import layout, tables
from tlcli.data.archives import how_to_unpack, is_archive
from tlcli.data.class_folders import find_class_folders
from tlcli.data.exclude_list import exclude_listed
from tlcli.data.findings import group_alike
from tlcli.data.folder_descent import list_names
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
from tlcli.data.labels_in_names import how_to_label
from tlcli.data.layout import SPLITS, Layout
from tlcli.data.splits import SplitName
from tlcli.data.table_columns import ColumnNames
from tlcli.data.tables import TableRow
from tlcli.errors import DataError, Problem
from tlcli.system.console import counted
from tlcli.system.path_list import PathList

if TYPE_CHECKING:
    from tlcli.recipe.settings import Data

# Folders beside the data folder that are looked into.
_COMPARED = 20


def read_layout(data: Data) -> Layout:
    """The layout of the data of a recipe, without excluded photos. Raises as the two below."""
    if data.dir is not None:
        own = [path for path in (data.exclude, data.labels) if path is not None]
        whole = read_folder_layout(data.dir, own)
    else:
        whole = read_table_layout(data.source, ColumnNames(data.columns))
    return whole if data.exclude is None else exclude_listed(whole, data.exclude)


def read_folder_layout(root: Path, own: Collection[Path] = ()) -> Layout:
    """Find the photos under `root`, and every problem that their folders show.

    Lists and tables that the recipe names, `own`, may lie among them.
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
    there = find_class_folders(root)
    trees = {key: list_tree(folder) for key, folder in there.folders.items()}
    photos = {key: tree.photos for key, tree in trees.items()}
    rest = join_listings(
        [*there.above, *(replace(tree, photos=PathList()) for tree in trees.values())]
    )
    dangling = [path for path in rest.dangling if is_photo(path)]
    misnamed = [problem for problem in rest.problems if problem.kind == "bad name"]
    of_folders = group_alike(problem for problem in rest.problems if problem.kind != "bad name")
    problems = (*misnamed, *there.problems)
    folder_layout = Layout(
        root, there.parts, photos, not there.is_split, there.folders, dangling, problems
    )
    if len(folder_layout.classes) < 2:
        lines = (*problems, *(finding.as_problem(root) for finding in of_folders))
        raise DataError([*_errors(lines), _too_few_classes(folder_layout, rest)])
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
            *find_label_flaws(
                folder_layout.class_counts, str(there.parts["train"]), "class folder"
            ),
            *find_ignored(rest, {root, *there.parts.values()}, own),
        ),
    )


def read_table_layout(table: Path, names: ColumnNames | None = None) -> Layout:
    """The photos that a table lists, and every problem that it shows; the files are not opened.

    `names` is what its columns are called, if not path, label, split and group.
    Raises DataError where nothing can be trained on: no table, or not even two classes.
    """
    if is_folder(table):
        hint = "for a folder, use data.dir instead of data.csv"
        raise DataError(Problem(str(table), "is a folder, not a table", hint))
    rows, slips = tables.read_rows(table, names)
    named = {row.split for row in rows if row.split}
    parts = {split: table for split in SPLITS if split in named} or {"train": table.parent}
    photos: dict[tuple[SplitName, str], PathList] = {}
    for row in rows:
        photos.setdefault((row.split or "train", row.label), PathList()).append(row.file)
    table_layout = Layout(
        table.parent,
        {**parts, "train": parts.get("train", table)},
        photos,
        is_unsplit=not named,
        problems=(*slips, *(_undecided(table, rows) if named else ())),
        table=table,
        groups={row.file: row.group for row in rows if row.group},
        lines={row.file: row.line for row in rows},
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


def _too_few_classes(layout: Layout, rest: FolderListing) -> Problem:
    """What to say of less than two classes, with `rest` outside of class folders."""
    where = layout.parts["train"]
    tables_in = [layout.root, where]
    is_empty = not rest.photos and not any(layout.photos.values())
    if is_empty and (packed := [path for path in rest.others if is_archive(path)]):
        what = f"no photos, but {counted(len(packed), 'packed archive')}: "
        return Problem(str(where), what + list_names(packed, layout.root), how_to_unpack(packed[0]))
    if layout.classes:
        name = layout.classes[0]
        what = f"only one class folder, '{name}'" + ", without a photo" * is_empty
        hint = how_to_label(layout.root, layout.folders["train", name], tables_in)
        return Problem(str(where), what, hint or "a classifier needs two or more")
    hint = "make a folder for each class and move its photos there"
    if not rest.photos:
        return Problem(str(where), "no class folders", hint)
    what = f"{counted(len(rest.photos), 'photo')} but no class folders"
    hint = how_to_label(layout.root, layout.root, tables_in) or _folder_above(layout.root) or hint
    return Problem(str(where), what, hint)


def _folder_above(root: Path) -> str:
    """A hint to name the folder above, if `root` is one of several folders of photos in it."""
    above = root.absolute().parent
    beside = [path for path in list_folder(above).folders if path.name != root.absolute().name]
    if others := [path for path in beside[:_COMPARED] if list_folder(path).photos]:
        names = list_names([root.absolute(), *others], above)
        return f"if the classes are {names}, name the folder above: {above}"
    return ""
