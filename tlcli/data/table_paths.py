"""Paths of photos in tables: what they mean, and those that mean no file.

A path that is not that of a file is completed if exactly one file fits: `img/c0` means
`img/c0.jpg`, `img/c0.jpg` means `img/c0.JPG`, and `img\\c0.jpg` means `img/c0.jpg`.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from tlcli.data.findings import Finding
from tlcli.data.folders import EXTENSIONS
from tlcli.errors import Problem, Severity
from tlcli.system.console import counted
from tlcli.system.object_stores import store_address

# Folders beside a missing photo that are looked into for it.
_LOOKED_INTO = 100


class PhotoFinder:
    """Finds the files that paths in a table mean. Each folder is listed once, and only if needed.

    Args:
        folder: what paths are relative to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listings: dict[str, dict[str, list[str]]] = {}
        self._completed: dict[str, list[str]] = defaultdict(list)

    def exists(self, name: str) -> bool:
        """Whether there is a file that a path means, or several."""
        return bool(name) and bool(self._readings(name))

    def find(self, name: str) -> list[Path]:
        """The file that a path means, or those that it may mean; none if there is none.

        A path that is completed counts among the `completions`.
        """
        readings = self._readings(name)
        if len(readings) == 1 and readings[0][1]:
            path, how = readings[0]
            self._completed[how].append(f"{name} to {path.name}")
        return [path for path, _ in readings]

    def completions(self, table: Path) -> Iterator[Problem]:
        """How many paths were completed, a note for each way."""
        for how, examples in self._completed.items():
            what = f"{counted(len(examples), 'path')} completed {how}, such as {examples[0]}"
            yield Problem(str(table), what, severity="note")

    def _readings(self, name: str) -> list[tuple[Path, str]]:
        """Each file that a path may mean, with how the path was changed for it."""
        path = self.folder / name
        # Whether it is there shows when it is read. A table in a store can name one in another.
        if address := store_address(name.strip()) or store_address(path):
            return [(Path(address), "")]
        if os.path.lexists(path):
            return [(path, "")]
        alike = self._alike(path)
        if not alike and "\\" in name:
            path = self.folder / name.replace("\\", "/")
            alike = [(path, "")] if os.path.lexists(path) else self._alike(path)
            alike = [(path, "with / in place of \\") for path, _ in alike]
        return alike

    def _alike(self, path: Path) -> list[tuple[Path, str]]:
        """Files of that name with a suffix added, or with the suffix in other letter case."""
        folder, whole = os.path.split(path)
        listing = self._list(folder)
        if longer := listing.get(whole):
            return [(path.with_name(name), "by a suffix") for name in longer]
        stem, suffix = os.path.splitext(whole)  # noqa: PTH122
        return [
            (path.with_name(name), "in other letter case")
            for name in listing.get(stem, ())
            if name[len(stem) :].lower() == suffix.lower()
        ]

    def _list(self, folder: str) -> dict[str, list[str]]:
        """The photos of a folder, by their names without suffix."""
        if folder not in self._listings:
            by_stem: dict[str, list[str]] = defaultdict(list)
            with suppress(OSError, ValueError):
                for name in sorted(os.listdir(folder)):  # noqa: PTH208 - names are all we need
                    stem, suffix = os.path.splitext(name)  # noqa: PTH122
                    if suffix.lower() in EXTENSIONS:
                        by_stem[stem].append(name)
            self._listings[folder] = dict(by_stem)
        return self._listings[folder]


def find_missing(
    paths: Collection[Path], lines: Mapping[str, int], folder: Path, *, skip: bool
) -> Finding | None:
    """Rows whose photos are not there, if any of `paths` is not, by their lines in the table.

    `folder` is that of the table. With `skip` they are left out of a run, and are no more than a
    warning.
    """
    lost = tuple(path for path in paths if not (store_address(path) or os.path.lexists(path)))
    if not lost:
        return None
    hint = "left out of the run" if skip else _missing_hint(lost, folder)
    severity: Severity = "warning" if skip else "error"
    details = tuple(f"line {lines[str(path)]}" for path in lost)
    return Finding("unreadable", severity, "no such file", hint, lost, details)


def _missing_hint(lost: Collection[Path], folder: Path) -> str:
    first = next(iter(lost))
    with suppress(OSError, ValueError):
        for other in first.parent.iterdir():
            if other.name.casefold() == first.name.casefold():
                return f"did you mean '{other.name}', in different letter case?"
        if len(inside := _in_folders(first)) == 1:
            above = inside[0].parent.name
            hint = f"did you mean '{above}/{inside[0].name}'? move the table into '{above}', "
            return f"{hint}or write '{above}/' before the paths"
    if shorter := _find_end(first, folder):
        return f"did you mean '{shorter}'? paths are relative to the table"
    if any("\\" in path.name for path in lost):
        return "write / instead of \\ between folders"
    return "check the path; it is relative to the table"


def _find_end(path: Path, folder: Path) -> str:
    """The end of a path under which its file is in the folder of the table, as after a move."""
    name = path.relative_to(folder) if path.is_relative_to(folder) else path
    parts = str(name).replace("\\", "/").strip("/").split("/")
    finder = PhotoFinder(folder)
    ends = ("/".join(parts[begin:]) for begin in range(1, len(parts)))
    return next((end for end in ends if finder.exists(end)), "")


def _in_folders(path: Path) -> list[Path]:
    """Files of that name, with or without suffix, in the folders beside it."""
    folders = sorted(entry.path for entry in os.scandir(path.parent) if entry.is_dir())
    matches = []
    for folder in folders[:_LOOKED_INTO]:
        matches += PhotoFinder(Path(folder)).find(path.name)
    return matches
