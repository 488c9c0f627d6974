"""Where in a data folder the class folders lie, and which split they belong to.

Downloads come in many layouts. What is certain is used, with a note: a single folder in a folder
(`data/PetImages/Cat`), splits by any name (`training_set/training_set/cats`), splits below classes
(`cats/train`), class folders beside annotations (`images/cat`, `annotations`). Folders that are
clearly no classes are refused with what to do: flat splits, photos beside their masks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tlcli.data.findings import relative_name
from tlcli.data.folder_descent import Descent, descend, list_names
from tlcli.data.folder_words import is_portion, is_split_word, names_annotations, split_of_folder
from tlcli.data.folders import FolderListing, holds_folders, list_folder
from tlcli.data.labels_in_names import how_to_label
from tlcli.data.layout import SPLITS
from tlcli.data.split_folders import (
    SplitFolders,
    choose_splits,
    doubtful_splits,
    expect_classes,
    splits_used_as_classes,
)
from tlcli.data.splits import SplitName
from tlcli.errors import DataError, Problem


@dataclass(frozen=True)
class ClassFolders:
    """The class folders of a data folder.

    Attributes:
        folders: the folder of each class in each split; without splits, all are of train.
        parts: the folder in which the class folders of each split lie.
        is_split: whether folders say which split a photo belongs to.
        above: what the folders above the class folders hold.
        problems: notes on what was recognised, and doubts.
    """

    folders: Mapping[tuple[SplitName, str], Path]
    parts: Mapping[SplitName, Path]
    is_split: bool
    above: Sequence[FolderListing]
    problems: Sequence[Problem]


def find_class_folders(root: Path) -> ClassFolders:
    """The class folders under `root`, at the depth where a known layout has them.

    Raises DataError for folders that are clearly no classes.
    """
    top = descend(root)
    splits = choose_splits(top.listing.folders)
    if splits.chosen:
        return _in_splits(root, top, splits)
    expect_classes(root, top, splits)
    if divided := _divided_classes(top):
        return _with_splits_inside(root, top, divided)
    folders = top.listing.folders
    return ClassFolders(
        {("train", folder.name): folder for folder in folders},
        {"train": top.folder},
        False,
        [*top.passed, top.listing],
        [
            *_note_way(root, top),
            *splits_used_as_classes(top.folder, splits),
            *_doubtful_names(top.folder, folders),
        ],
    )


def _in_splits(root: Path, top: Descent, splits: SplitFolders) -> ClassFolders:
    """The class folders in the folders of splits."""
    ways: dict[SplitName, Descent] = {}
    for split, several in splits.chosen.items():
        trained = {path.name for path in ways["train"].listing.folders} if ways else ()
        ways[split] = descend(several[0], split, trained)
    parts = {split: way.folder for split, way in ways.items()}
    problems = [*top.problems, *(problem for way in ways.values() for problem in way.problems)]
    if any(path.parent != root or not is_split_word(path.name) for path in parts.values()):
        uses = ", ".join(f"{relative_name(path, root)} as {split}" for split, path in parts.items())
        problems.append(Problem(str(root), f"uses {uses}", severity="note"))
    return ClassFolders(
        {(split, path.name): path for split, way in ways.items() for path in way.listing.folders},
        parts,
        True,
        [
            *top.passed,
            top.listing,
            *(listing for way in ways.values() for listing in (*way.passed, way.listing)),
        ],
        [*problems, *doubtful_splits(top.folder, splits)],
    )


def _note_way(root: Path, top: Descent) -> Iterator[Problem]:
    yield from top.problems
    if top.folder != root:
        what = f"uses the class folders in {relative_name(top.folder, root)}"
        yield Problem(str(root), what, severity="note")


def _doubtful_names(root: Path, folders: Sequence[Path]) -> Iterator[Problem]:
    """Warnings where class folders are named as annotations, or all as portions of a data set."""
    if annotations := [path for path in folders if names_annotations(path.name)]:
        like = "is named like annotations, but is used as a class"
        if len(annotations) > 1:
            like = "are named like annotations, but are used as classes"
        hint = "if not all folders are classes, name that of the classes, or move the others away"
        what = f"{list_names(annotations, root)} {like}"
        yield Problem(str(root), what, hint, "warning")
    if len(folders) > 1 and all(is_portion(path.name) for path in folders):
        what = f"the class folders {list_names(folders, root)} are named like portions of a whole"
        hint = how_to_label(root, root, [root])
        hint = hint or "if they are, sort their photos into a folder for each class"
        yield Problem(str(root), what, hint, "warning")


def _divided_classes(top: Descent) -> dict[str, dict[SplitName, Path]]:
    """The folders of splits in each class folder; none if the classes are not divided so.

    Raises DataError where only some are.
    """
    divided: dict[str, dict[SplitName, Path]] = {}
    for folder in filter(holds_folders, top.listing.folders):
        inside = list_folder(folder)
        splits = {split: path for path in inside.folders if (split := split_of_folder(path.name))}
        if len(splits) == len(inside.folders) and "train" in splits and not inside.photos:
            divided[folder.name] = splits
    if all(len(splits) == 1 for splits in divided.values()):
        return {}
    if others := [path for path in top.listing.folders if path.name not in divided]:
        name, splits = max(divided.items(), key=lambda entry: len(entry[1]))
        what = (
            f"{name} holds folders of splits ({', '.join(path.name for path in splits.values())})"
        )
        what += f", but {list_names(others, top.folder)} {'do' if len(others) > 1 else 'does'} not"
        hint = "divide every class into the same splits, or none"
        raise DataError(Problem(str(top.folder), what, hint))
    return divided


def _with_splits_inside(
    root: Path, top: Descent, divided: Mapping[str, Mapping[SplitName, Path]]
) -> ClassFolders:
    """The classes whose folders are divided into splits themselves."""
    there = [split for split in SPLITS if any(split in splits for splits in divided.values())]
    what = f"uses the folders for {', '.join(there)} in each class folder as splits"
    return ClassFolders(
        {
            (split, name): splits[split]
            for split in there
            for name, splits in divided.items()
            if split in splits
        },
        dict.fromkeys(there, top.folder),
        True,
        [*top.passed, top.listing, *(list_folder(folder) for folder in top.listing.folders)],
        [*top.problems, Problem(str(root), what, severity="note")],
    )
