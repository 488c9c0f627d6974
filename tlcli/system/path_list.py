"""Paths of very many files, in little memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload


class PathList(Sequence[Path]):
    """Paths kept as text; a `Path` is made of one when it is asked for.

    A `Path` keeps its parts beside its text, and takes several times as much memory.

    Attributes:
        texts: the paths, as `str` gives them.
    """

    __slots__ = ("texts",)

    def __init__(self, paths: Iterable[Path | str] = ()) -> None:
        self.texts: list[str] = [str(path) for path in paths]

    def append(self, path: Path | str) -> None:
        """Add a path at the end."""
        self.texts.append(str(path))

    def extend(self, paths: PathList) -> None:
        """Add all paths of another list at the end."""
        self.texts += paths.texts

    def sort(self) -> None:
        """Sort them as paths sort; see `path_order`."""
        self.texts.sort(key=path_order)

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[Path]:
        return map(Path, self.texts)

    @overload
    def __getitem__(self, place: int) -> Path: ...

    @overload
    def __getitem__(self, place: slice) -> PathList: ...

    def __getitem__(self, place: int | slice) -> Path | PathList:
        if isinstance(place, slice):
            return PathList(self.texts[place])
        return Path(self.texts[place])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and [*self] == [*other]

    def __repr__(self) -> str:
        return f"PathList({self.texts!r})"


def files_in(folder: Path, files: Iterable[str]) -> PathList:
    """Those of some paths, as text, that lie right in a folder."""
    name = str(folder)
    # Many times as fast as to ask a path for its parent.
    return PathList(file for file in files if os.path.dirname(file) == name)  # noqa: PTH120


def path_order(path: Path | str) -> str:
    """The key that sorts paths as they sort by themselves, part by part, and many times as fast.

    A path keeps its `parts` once they were asked for, which is a hundred bytes for every photo.
    """
    return str(path).replace(os.sep, "\0")
