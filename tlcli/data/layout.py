"""How a data folder is laid out: which folders are splits, which are classes, what does not fit.

split folders            class folders
├── train                ├── cats
│   ├── cats             └── dogs
│   └── dogs
├── val                  `val` and `test` may be missing and have other names; see `folder_words`.
└── test                 Photos may lie at any depth inside their class folder.

`class_folders` finds those of other layouts. A table may take the place of the folders; see
`tables`. `read_layout` reads both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tlcli.data.findings import Finding
from tlcli.data.splits import SplitName
from tlcli.errors import Problem, nearest
from tlcli.system.path_list import PathList

SPLITS: tuple[SplitName, ...] = ("train", "val", "test")

# Unknown classes for which a similar one is looked for, as each takes a while.
_COMPARED = 100


@dataclass(frozen=True, slots=True)
class Layout:
    """The photos of a data folder or of a table, by split and class.

    Attributes:
        root: the data folder; of a table, the folder that it lies in.
        parts: the folder in which the class folders of each split lie, or the table. Plain class
            folders are all of `train`.
        photos: a class folder without photos is there, with an empty list.
        is_unsplit: whether neither folders nor table say which split a photo belongs to.
        folders: the folder of each class in each split; none in a table.
        dangling: links to nothing that are named as photos are.
        problems: of the folders or the table.
        findings: of files that are not photos of a class.
        groups: of the photos in a table that belong to one, by the text of their paths.
        lines: of the photos in a table, by the same.
        excluded: photos that a list leaves out.
    """

    root: Path
    parts: Mapping[SplitName, Path]
    photos: Mapping[tuple[SplitName, str], PathList]
    is_unsplit: bool
    folders: Mapping[tuple[SplitName, str], Path] = field(default_factory=dict)
    dangling: Sequence[Path] = ()
    problems: tuple[Problem, ...] = ()
    findings: tuple[Finding, ...] = ()
    table: Path | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)
    excluded: frozenset[Path] = frozenset()

    def class_finding(self, finding: Finding, classes: Sequence[tuple[SplitName, str]]) -> Finding:
        """The finding with its subject, classes of splits: their folders, or in a table labels."""
        if self.table:
            names = tuple(f"'{name}'" for _, name in classes)
            return replace(finding, names=names, where=str(self.table), noun="label")
        return replace(
            finding,
            paths=tuple(self.folders[key] for key in classes),
            noun="folder",
        )

    @property
    def texts(self) -> Iterator[str]:
        """The paths of all photos that are not excluded, as text."""
        return (text for photos in self.photos.values() for text in photos.texts)

    @property
    def class_counts(self) -> dict[str, int]:
        """The photos of each class, of all splits together."""
        counts = dict.fromkeys(self.classes, 0)
        for (_, name), paths in self.photos.items():
            if name in counts:
                counts[name] += len(paths)
        return counts

    @property
    def is_complete(self) -> bool:
        """Whether folders or table say of every split which photos it has."""
        return all(split in self.parts for split in SPLITS)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that have a folder to train on, in the order of their labels."""
        return tuple(sorted(name for split, name in self.photos if split == "train"))


def find_empty_classes(layout: Layout) -> Iterator[Finding]:
    """Class folders without a photo."""
    if empty := [key for key, photos in sorted(layout.photos.items()) if not photos]:
        hint = "add photos to it, or delete it if it is not a class"
        finding = Finding("empty class", "error", "class folder without a photo", hint)
        yield layout.class_finding(finding, empty)


def nesting_problems(layout: Layout) -> Iterator[Problem]:
    """Class folders whose photos lie deeper, in folders of the same names: are those classes?"""
    where = layout.parts["train"]
    inside: dict[str, set[str]] = {}
    for name in layout.classes:
        photos = layout.photos["train", name]
        depth = len(layout.folders["train", name].parts)
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


def splits_without_classes(layout: Layout) -> Iterator[Problem]:
    """Folders of splits in which there are no class folders."""
    for split, folder in layout.parts.items():
        if not any(part == split for part, _ in layout.photos):
            hint = "sort its photos into class folders, or move the folder elsewhere"
            yield Problem(str(folder), "no class folders", hint)


def find_mismatches(layout: Layout) -> Iterator[Finding]:
    """Classes of the val and test folders that are not those of train."""
    trained = set(layout.classes)
    for split in layout.parts:
        names = {name for part, name in layout.photos if part == split}
        if names and (unknown := sorted(names - trained)):
            yield _unknown_classes(layout, split, unknown)
        if names and (missing := sorted(trained - names)):
            yield _missing_classes(layout, split, missing)


def _unknown_classes(layout: Layout, split: SplitName, names: Sequence[str]) -> Finding:
    guesses = [nearest(name, layout.classes) for name in names[:_COMPARED]]
    details = [f"like '{guess}' there" if guess else "" for guess in guesses]
    details += [""] * (len(names) - len(guesses))
    hint = "rename it, " if any(details) else ""
    hint += "add it to train, or delete it here"
    what = "a class that is not in train"
    finding = Finding("unknown class", "error", what, hint, details=tuple(details))
    return layout.class_finding(finding, [(split, name) for name in names])


def _missing_classes(layout: Layout, split: SplitName, names: Sequence[str]) -> Finding:
    folder = layout.parts[split]
    what = "missing here, but in train"
    hint = f"add photos of it, or delete the {folder.name} folder"
    if layout.parts["train"] == folder:  # a table, or folders of splits in those of classes
        what = f"missing from {split}, but in train"
        hint = f"add photos of it to {split}, or leave that split to tlcli"
    return Finding(
        "missing class", "error", what, hint, noun="class",
        names=tuple(f"'{name}'" for name in names), where=str(folder),
    )  # fmt: skip
