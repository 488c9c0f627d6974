"""How a data folder is laid out: which folders are splits, which are classes, what does not fit.

split folders            class folders
├── train                ├── cats
│   ├── cats             └── dogs
│   └── dogs
├── val                  `val` may be called `valid` or `validation`; `val` and `test` may be
└── test                 missing; see `tables.SPLIT_WORDS`. Photos may lie at any depth inside
                         their class folder.

A table may take the place of the folders; see `tables`. `read_layout` reads both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tlcli.data.findings import Finding
from tlcli.data.tables import SplitName
from tlcli.errors import Problem, nearest

SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Layout:
    """The photos of a data folder or of a table, by split and class.

    Attributes:
        root: the data folder; of a table, the folder that it lies in.
        parts: the folder of each split, or the table. Plain class folders are all of `train`, whose
            folder is then the data folder itself.
        photos: a class folder without photos is there, with an empty list.
        dangling: links to nothing that are named as photos are.
        problems: of the folders or the table.
        findings: of files that are not photos of a class.
        groups: of the photos in a table that belong to one.
        lines: of the photos in a table.
    """

    root: Path
    parts: Mapping[SplitName, Path]
    photos: Mapping[tuple[SplitName, str], Sequence[Path]]
    dangling: Sequence[Path] = ()
    problems: tuple[Problem, ...] = ()
    findings: tuple[Finding, ...] = ()
    table: Path | None = None
    groups: Mapping[Path, str] = field(default_factory=dict)
    lines: Mapping[Path, int] = field(default_factory=dict)

    def location(self, split: SplitName, name: str) -> str:
        """Where the photos of a class in a split are, as a problem names it."""
        return f"{self.table}: {name}" if self.table else str(self.parts[split] / name)

    @property
    def class_counts(self) -> dict[str, int]:
        """The photos of each class, of all splits together."""
        counts = dict.fromkeys(self.classes, 0)
        for (_, name), paths in self.photos.items():
            if name in counts:
                counts[name] += len(paths)
        return counts

    @property
    def is_unsplit(self) -> bool:
        """Whether neither folders nor table say which split a photo belongs to."""
        return self.parts["train"] == self.root

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that have a folder to train on, in the order of their labels."""
        return tuple(sorted(name for split, name in self.photos if split == "train"))


def empty_class_problems(layout: Layout) -> Iterator[Problem]:
    """Class folders without a photo."""
    for (split, name), photos in sorted(layout.photos.items()):
        if not photos:
            folder = layout.parts[split] / name
            hint = "add photos to it, or delete it if it is not a class"
            yield Problem(str(folder), "class folder without a photo", hint)


def nesting_problems(layout: Layout) -> Iterator[Problem]:
    """Class folders whose photos lie deeper, in folders of the same names: are those classes?"""
    where = layout.parts["train"]
    depth = len(where.parts) + 1
    inside: dict[str, set[str]] = {}
    for name in layout.classes:
        photos = layout.photos["train", name]
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


def mismatch_problems(layout: Layout) -> Iterator[Problem]:
    """Classes of the val and test folders that are not those of train."""
    trained = set(layout.classes)
    for split, folder in layout.parts.items():
        names = {name for part, name in layout.photos if part == split}
        if not names:
            hint = "sort its photos into class folders, or move the folder elsewhere"
            yield Problem(str(folder), "no class folders", hint)
            continue
        for name in sorted(names - trained):
            guess = nearest(name, layout.classes)
            hint = f"did you mean '{guess}'?" if guess else "add it to train, or delete it here"
            yield Problem(layout.location(split, name), f"class '{name}' is not in train", hint)
        for name in sorted(trained - names):
            hint = f"add photos of it, or delete the {folder.name} folder"
            what = f"class '{name}' is missing, but is in train"
            if layout.table:
                hint = f"add photos of it to {split}, or leave that split to tlcli"
                what = f"class '{name}' is missing from {split}, but is in train"
            yield Problem(str(folder), what, hint)
