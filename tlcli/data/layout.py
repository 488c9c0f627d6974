"""How a data folder is laid out: which folders are splits, which are classes, what does not fit.

split folders            class folders
├── train                ├── cats
│   ├── cats             └── dogs
│   └── dogs
├── val                  `val` may be called `valid` or `validation`; `val` and `test` may be
└── test                 missing; see `tables.SPLIT_WORDS`. Photos may lie at any depth inside
                         their class folder.

Or a table says it all; see `tables`.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tlcli.data import tables
from tlcli.data.findings import Finding
from tlcli.data.folders import FolderListing, expect_folder, is_folder, list_folder, list_tree
from tlcli.data.ignored_files import find_ignored
from tlcli.data.tables import SPLIT_WORDS, SplitName
from tlcli.errors import DataError, Problem, nearest
from tlcli.system.console import counted

SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


@dataclass(slots=True)
class Layout:
    """What lies in a data folder or a table, by split and class.

    `parts` maps a split to its folder; plain class folders are all of `train`, which is then the
    data folder itself. A class folder without photos is there, with an empty list. The root of a
    table is its folder; `groups` has those of its photos that belong to one, `lines` the line of
    each.
    """

    root: Path
    parts: dict[SplitName, Path]
    photos: dict[tuple[SplitName, str], list[Path]] = field(default_factory=dict)
    rest: FolderListing = field(default_factory=FolderListing)
    loose: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    table: Path | None = None
    groups: dict[Path, str] = field(default_factory=dict)
    lines: dict[Path, int] = field(default_factory=dict)

    def place(self, split: SplitName, name: str) -> str:
        """Where the photos of a class in a split are, to begin a problem with."""
        return f"{self.table}: {name}" if self.table else str(self.parts[split] / name)

    @property
    def plain(self) -> bool:
        """Whether nothing says which split a photo belongs to."""
        return self.parts["train"] == self.root

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that have a folder to train on, in the order of their labels."""
        return tuple(sorted(name for split, name in self.photos if split == "train"))


def read_folder_layout(root: Path, exclude: Path | None = None) -> Layout:
    """Find the photos under `root`, and every problem that their folders show.

    The list `exclude` may lie among them; what it lists is found all the same.
    Raises DataError where there is nothing to go on: no folder, not even two class folders, or
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
    found = Layout(root, {"train": root})
    twice = _take_split_folders(found, top)
    for split, folder in found.parts.items():
        _read_part(found, split, folder)
    found.problems += [*found.rest.problems, *twice]
    if len(found.classes) < 2:
        errors = [problem for problem in found.problems if problem.severity == "error"]
        raise DataError([*errors, _too_few(found)])
    found.problems += [*_name_problems(found), *_empty_folders(found), *_mismatches(found)]
    found.problems += _unlike_classes(found)
    found.findings += find_ignored(found.loose, found.rest, {root, *found.parts.values()}, exclude)
    return found


def read_table_layout(table: Path) -> Layout:
    """The photos that a table lists, and every problem that it shows; the files are not looked at.

    Raises DataError where there is nothing to go on: no table, or not even two classes.
    """
    if is_folder(table):
        hint = "for a folder, use data.dir instead of data.csv"
        raise DataError(Problem(str(table), "is a folder, not a table", hint))
    rows, problems = tables.read_rows(table)
    named = {row.split for row in rows if row.split}
    root = table.parent
    parts = {split: table for split in SPLITS if split in named} or {"train": root}
    found = Layout(root, parts, problems=problems, table=table)
    undecided = [row for row in rows if not row.split]
    if named and undecided:
        first = undecided[0].path.name
        what = f"{counted(len(undecided), 'line')} without a split, such as that of {first}"
        problems.append(Problem(str(table), what, "write train, val or test on every line"))
    for row in rows:
        found.photos.setdefault((row.split or "train", row.label), []).append(row.path)
        found.lines[row.path] = row.line
        if row.group:
            found.groups[row.path] = row.group
    found.parts.setdefault("train", table)
    if len(found.classes) < 2:
        errors = [problem for problem in problems if problem.severity == "error"]
        what = "no photo to train on"
        if found.classes:
            what = f"only one class to train on, '{found.classes[0]}'"
        raise DataError([*errors, Problem(str(table), what, "a classifier needs two or more")])
    found.problems += [*_name_problems(found), *_mismatches(found)]
    return found


def list_names(paths: Sequence[Path], root: Path) -> str:
    """The first three of `paths` as seen from `root`, with dots for more."""
    shown = [path.relative_to(root).as_posix() for path in paths[:3]]
    return ", ".join(shown) + (", ..." if len(paths) > 3 else "")


def _take_split_folders(found: Layout, top: FolderListing) -> Iterator[Problem]:
    """Set `found.parts` if the folders at the top are those of splits.

    Raises DataError where they are, but without class folders to train on.
    """
    named: dict[SplitName, list[Path]] = defaultdict(list)
    beside: list[Path] = []
    for folder in top.folders:
        split = SPLIT_WORDS.get(folder.name.lower())
        (named[split] if split else beside).append(folder)
    # A class may be called `train`: only then does that folder hold no folders.
    if not any(list_folder(folder).folders for folder in named["train"]):
        _expect_classes(found.root, named, beside)
        return iter(())
    found.parts = {split: named[split][0] for split in SPLITS if named[split]}
    found.loose += top.photos
    _add(found.rest, top)
    return _doubtful_folders(found.root, named, beside)


def _expect_classes(root: Path, named: dict[SplitName, list[Path]], beside: Sequence[Path]) -> None:
    """Raise DataError for folders that are called as splits are and cannot be classes either."""
    there = [folder for split in SPLITS for folder in named[split]]
    if holders := [folder for folder in there if _holds_only_folders(folder)]:
        there, hint = holders, "put the class folders to train on in a folder 'train'"
    elif not beside and sum(bool(folders) for folders in named.values()) > 1:
        hint = "make a folder for each class in each of them"
    else:
        return
    one = len(there) == 1
    what = (
        f"{list_names(there, root)} {'is named like a split' if one else 'are named like splits'}"
    )
    what += ", but there is no folder 'train' with class folders in it"
    raise DataError(Problem(str(root), what, f"{hint}, or rename {'it' if one else 'them'}"))


def _holds_only_folders(folder: Path) -> bool:
    inside = list_folder(folder)
    return bool(inside.folders and not inside.photos)


def _doubtful_folders(
    root: Path, named: dict[SplitName, list[Path]], beside: Sequence[Path]
) -> Iterator[Problem]:
    for split, folders in named.items():
        if len(folders) > 1:
            what = f"more than one folder for the {split} split: {list_names(folders, root)}"
            yield Problem(str(root), what, "merge them into one")
    if beside:
        what = f"ignored {counted(len(beside), 'folder')} beside train: {list_names(beside, root)}"
        hint = "if they are classes, move the class folders out of train"
        yield Problem(str(root), what, hint, "warning")


def _read_part(found: Layout, split: SplitName, folder: Path) -> None:
    """Take the photos of one split folder, or of a data folder of plain class folders."""
    top = list_folder(folder)
    found.loose += top.photos
    _add(found.rest, top)
    for class_folder in top.folders:
        inside = list_tree(class_folder)
        found.photos[split, class_folder.name] = inside.photos
        _add(found.rest, inside)


def _add(rest: FolderListing, more: FolderListing) -> None:
    rest.others += more.others
    rest.junk += more.junk
    rest.dangling += more.dangling
    rest.problems += more.problems


def _too_few(found: Layout) -> Problem:
    where = str(found.parts["train"])
    if found.classes:
        what = f"only one class folder, '{found.classes[0]}'"
        return Problem(where, what, "a classifier needs two or more")
    hint = "make a folder for each class and move its photos there"
    if found.loose:
        return Problem(where, f"{counted(len(found.loose), 'photo')} but no class folders", hint)
    return Problem(where, "no class folders", hint)


def _name_problems(found: Layout) -> Iterator[Problem]:
    twins = defaultdict(list)
    for name in found.classes:
        twins[unicodedata.normalize("NFC", name).strip().casefold()].append(name)
    where = str(found.table or found.parts["train"])
    for names in twins.values():
        if len(names) > 1:
            quoted = " and ".join(f"'{name}'" for name in names)
            noun = "labels" if found.table else "class folders"
            what = f"{noun} {quoted} differ only in letter case, spaces or accent encoding"
            yield Problem(where, what, "merge or rename them")
    numeric = [name for name in found.classes if name.isdecimal()]
    by_value = sorted(numeric, key=_by_value)
    first = next((pair for pair in zip(numeric, by_value, strict=True) if pair[0] != pair[1]), None)
    if first:
        what = f"numeric class names are sorted as text: '{first[0]}' comes before '{first[1]}'"
        yield Problem(where, what, "pad them with zeros to sort them by value", "note")


def _by_value(name: str) -> tuple[int, str]:
    """Sorts digits of any script by value, as `int` would, which Python limits to 4,300 of them."""
    digits = "".join(str(unicodedata.decimal(digit)) for digit in name).lstrip("0")
    return len(digits), digits


def _empty_folders(found: Layout) -> Iterator[Problem]:
    for (split, name), photos in sorted(found.photos.items()):
        if not photos:
            folder = found.parts[split] / name
            hint = "add photos to it, or delete it if it is not a class"
            yield Problem(str(folder), "class folder without a photo", hint)


def _unlike_classes(found: Layout) -> Iterator[Problem]:
    """Class folders whose photos lie deeper, in folders of the same names: are those classes?"""
    where = found.parts["train"]
    depth = len(where.parts) + 1
    inside: dict[str, set[str]] = {}
    for name in found.classes:
        photos = found.photos["train", name]
        if photos and all(len(path.parts) > depth + 1 for path in photos):
            inside[name] = {path.parts[depth] for path in photos}
    holders = Counter(folder for folders in inside.values() for folder in folders)
    shared = sorted(folder for folder, number in holders.items() if number > 1)
    if len(shared) > 1:
        outer = [name for name, folders in inside.items() if not folders.isdisjoint(shared)]
        what = f"the class folders {_quoted(outer)} directly contain no photos, but they share "
        what += f"the subfolders {_quoted(shared)}"
        hint = f"if {_quoted(shared)} are the classes, merge those of the same name"
        yield Problem(str(where), what, hint, "warning")


def _quoted(names: Sequence[str]) -> str:
    """The first three of `names` in quotes, with dots for more."""
    shown = [f"'{name}'" for name in names[:3]]
    return ", ".join(shown) + (", ..." if len(names) > 3 else "")


def _mismatches(found: Layout) -> Iterator[Problem]:
    """Classes of the val and test folders that are not those of train."""
    trained = set(found.classes)
    for split, folder in found.parts.items():
        names = {name for part, name in found.photos if part == split}
        if not names:
            hint = "sort its photos into class folders, or move the folder elsewhere"
            yield Problem(str(folder), "no class folders", hint)
            continue
        for name in sorted(names - trained):
            guess = nearest(name, found.classes)
            hint = f"did you mean '{guess}'?" if guess else "add it to train, or delete it here"
            yield Problem(found.place(split, name), f"class '{name}' is not in train", hint)
        for name in sorted(trained - names):
            hint = f"add photos of it, or delete the {folder.name} folder"
            what = f"class '{name}' is missing, but is in train"
            if found.table:
                hint = f"add photos of it to {split}, or leave that split to tlcli"
                what = f"class '{name}' is missing from {split}, but is in train"
            yield Problem(str(folder), what, hint)
