"""Which of the folders beside each other are those of splits, and which are classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tlcli.data.folder_descent import (
    Descent,
    descend,
    holds_only_folders,
    list_names,
    photos_with_annotations,
)
from tlcli.data.folder_words import (
    holds_annotations,
    is_split_word,
    split_of_folder,
    splits_of_siblings,
)
from tlcli.data.folders import list_folder
from tlcli.data.labels_in_names import how_to_label
from tlcli.data.layout import SPLITS
from tlcli.data.splits import SplitName
from tlcli.errors import DataError, Problem
from tlcli.system.console import counted


@dataclass(frozen=True)
class SplitFolders:
    """The folders beside each other that are named like splits, and the others.

    Attributes:
        words: folders named by a word for a split alone, such as `train`.
        loose: folders whose names say more than that, such as `train_images`.
        beside: the others.
        chosen: the folders that are used as splits; none where all are classes.
    """

    words: Mapping[SplitName, Sequence[Path]]
    loose: Mapping[SplitName, Sequence[Path]]
    beside: Sequence[Path]
    chosen: Mapping[SplitName, Sequence[Path]]

    @property
    def named(self) -> dict[SplitName, list[Path]]:
        """All folders that are named like splits."""
        every = {split: [*self.words[split], *self.loose[split]] for split in SPLITS}
        return {split: folders for split, folders in every.items() if folders}


def choose_splits(folders: Sequence[Path]) -> SplitFolders:
    """Which of the folders are those of splits."""
    words: dict[SplitName, list[Path]] = defaultdict(list)
    loose: dict[SplitName, list[Path]] = defaultdict(list)
    beside: list[Path] = []
    siblings = splits_of_siblings([folder.name for folder in folders])
    for folder in folders:
        split = siblings.get(folder.name)
        named = words if is_split_word(folder.name) else loose
        (named[split] if split else beside).append(folder)
    splits = SplitFolders(words, loose, beside, {})
    # A class may be called `train`: only then does that folder hold no folders.
    train = words["train"] if any(list_folder(path).folders for path in words["train"]) else []
    if not train and (len(splits.named) > 1 or not beside):
        train = [folder for folder in loose["train"] if list_folder(folder).folders]
    if not train:
        return splits
    classes = {path.name for path in descend(train[0], "train").listing.folders}
    chosen: dict[SplitName, Sequence[Path]] = {"train": train}
    for split in SPLITS[1:]:
        fitting = [folder for folder in loose[split] if _holds_classes(folder, split, classes)]
        if for_split := words[split] or fitting:
            chosen[split] = for_split
    return replace(splits, chosen=chosen)


def _holds_classes(folder: Path, split: SplitName, classes: Collection[str]) -> bool:
    """Whether a folder holds class folders, and no others than those that are trained on."""
    inside = {path.name for path in descend(folder, split, classes).listing.folders}
    return bool(inside) and inside <= set(classes)


def expect_classes(root: Path, top: Descent, splits: SplitFolders) -> None:
    """Raise DataError for folders that are called as splits are and cannot be classes either.

    Args:
        root: the data folder, in which a table of labels may lie.
        top: the folder of the folders.
        splits: the folders.
    """
    annotations = [path for path in splits.beside if holds_annotations(path.name)]
    words = [path for split in SPLITS for path in splits.words[split]]
    named = [path for folders in splits.named.values() for path in folders]
    if holders := [path for path in words if holds_only_folders(path)]:
        hint = "put the class folders to train on in a folder 'train'"
        raise DataError(_without_train(top.folder, holders, hint))
    if len(annotations) < len(splits.beside) or len(splits.named) + bool(annotations) < 2:
        return
    if annotations and "train" in splits.named:
        raise DataError(photos_with_annotations(top.folder, named, annotations))
    if "train" in splits.named or len(words) == len(named):
        first = splits.named.get("train", named)[0]
        hint = how_to_label(top.folder, first, [root, top.folder, first])
        hint = hint or "make a folder for each class in each of them"
        raise DataError(_without_train(top.folder, named, hint))


def _without_train(root: Path, there: Sequence[Path], hint: str) -> Problem:
    like, them = ("is named like a split", "it")
    if len(there) > 1:
        like, them = ("are named like splits", "the folders")
    what = f"{list_names(there, root)} {like}, "
    what += "but there is no folder 'train' with class folders in it"
    return Problem(str(root), what, f"{hint}, or rename {them}")


def doubtful_splits(root: Path, splits: SplitFolders) -> Iterator[Problem]:
    """Several folders for one split, and folders that are ignored beside those of splits."""
    for split, folders in splits.chosen.items():
        if len(folders) > 1:
            what = f"more than one folder for the {split} split: {list_names(folders, root)}"
            yield Problem(str(root), what, "merge them into one")
    used = {path for folders in splits.chosen.values() for path in folders}
    named = [path for folders in splits.named.values() for path in folders]
    if beside := [path for path in (*splits.beside, *named) if path not in used]:
        what = f"ignored {counted(len(beside), 'folder')} beside train: {list_names(beside, root)}"
        hint = "if they are classes, move the class folders out of train"
        yield Problem(str(root), what, hint, "warning")


def splits_used_as_classes(root: Path, splits: SplitFolders) -> Iterator[Problem]:
    """A warning about folders that are named like splits, beside others that are not."""
    named = [
        path
        for folders in splits.named.values()
        for path in folders
        if split_of_folder(path.name)  # not only in the words that siblings share
    ]
    if {"train", "test"} <= {split_of_folder(path.name) for path in named}:
        what = f"{list_names(named, root)} are named like splits, but are used as classes"
        hint = "to use them as splits, put the class folders into each of them"
        yield Problem(str(root), what, hint, "warning")
