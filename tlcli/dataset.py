"""From folders of photos to the index: every photo with its class, split and content hash.

Where folders leave the split open, the hash of a photo's bytes decides it: adding photos moves no
old one, and identical files always land in the same split, whatever their names and classes.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tlcli import console
from tlcli.console import counted
from tlcli.errors import DataError, Problem, Severity, reason
from tlcli.folders import EXTENSIONS, find_images
from tlcli.layout import SPLITS, SplitName, Survey, survey
from tlcli.threads import in_order

if TYPE_CHECKING:
    from tlcli.settings import Data

__all__ = [
    "EXTENSIONS",
    "SPLITS",
    "Index",
    "Item",
    "SplitName",
    "digest",
    "find_images",
    "read",
]

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled photo: `label` counts into the index's classes, `digest` is hex SHA-256."""

    path: Path
    label: int
    split: SplitName
    digest: str


@dataclass(frozen=True)
class Index:
    """The labelled photos, sorted by path, with what was noticed while they were read.

    `classes` is sorted by code point; `notes` holds warnings and notes, never errors.
    """

    root: Path
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    notes: tuple[Problem, ...] = ()

    def of(self, split: SplitName) -> tuple[Item, ...]:
        """The photos of one split."""
        return tuple(item for item in self.items if item.split == split)

    def counts(self) -> dict[SplitName, dict[str, int]]:
        """Photos by split and class, zeros included."""
        table = {split: dict.fromkeys(self.classes, 0) for split in SPLITS}
        for item in self.items:
            table[item.split][self.classes[item.label]] += 1
        return table

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 of the photos' bytes, classes and splits; where they lie does not matter."""
        lines = sorted(
            f"{item.digest}\0{self.classes[item.label]}\0{item.split}\0" for item in self.items
        )
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def without(self, paths: Collection[Path]) -> Index:
        """The index less some photos, such as unreadable ones; the classes stay."""
        dropped = frozenset(paths)
        return replace(self, items=tuple(i for i in self.items if i.path not in dropped))


def read(data: Data) -> Index:
    """The index of the photos under `data.dir`.

    Raises DataError with every problem that stands in the way. With `on_bad_image: skip`, a file
    that cannot be read is left out and becomes a warning.
    """
    found = survey(data.dir)
    digests, unread = _digests([path for paths in found.photos.values() for path in paths])
    val, test = _shares(found, data)
    index = Index(data.dir, found.classes, _items(found, digests, val, test))
    found.problems += _unreadable(found, unread, skip=data.on_bad_image == "skip")
    found.problems += _thin_classes(index, found, val, test)
    found.problems += _split_notes(found, val, test)
    found.problems += _duplicates(index)
    if errors := [problem for problem in found.problems if problem.severity == "error"]:
        raise DataError(errors)
    return replace(index, notes=tuple(found.problems))


def unlabelled(folder: Path) -> Index:
    """The photos of a folder, without labels: one class, and the test split, which has no views.

    Raises `DataError` where there are none, or where one cannot be read.
    """
    digests, unread = _digests(sorted(find_images([folder])))
    if unread:
        raise DataError(unread.values())
    items = tuple(Item(path, 0, "test", digest) for path, digest in digests.items())
    return Index(folder, ("unlabelled",), items)


def digest(path: Path) -> str:
    """Hex SHA-256 of a file's bytes. Raises DataError for a file that cannot be read."""
    sha = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                sha.update(chunk)
    except OSError as error:
        raise DataError(_unread(path, reason(error))) from error
    return sha.hexdigest()


def _digests(paths: Sequence[Path]) -> tuple[dict[Path, str], dict[Path, Problem]]:
    """The hash of each file, and what kept the others from being read."""
    digests: dict[Path, str] = {}
    unread: dict[Path, Problem] = {}
    workers = min(16, 2 * (os.cpu_count() or 1))
    with (
        closing(in_order(_outcome, paths, workers=workers)) as outcomes,
        console.progress(len(paths), "reading photos", unit="photos") as progress,
    ):
        for path, outcome in zip(paths, outcomes, strict=True):
            if isinstance(outcome, Problem):
                unread[path] = outcome
            else:
                digests[path] = outcome
            progress.update(1)
    return digests, unread


def _outcome(path: Path) -> str | Problem:
    try:
        return digest(path)
    except DataError as error:
        return error.problems[0]


def _unread(path: Path, what: str) -> Problem:
    return Problem(str(path), f"cannot be read: {what}", "make it readable, or remove it")


def _shares(found: Survey, data: Data) -> tuple[float, float]:
    """The shares of the train part that the hash sends to val and to test."""
    val = 0.0 if "val" in found.parts else data.split.val
    return val, data.split.test if found.plain else 0.0


def _items(found: Survey, digests: dict[Path, str], val: float, test: float) -> tuple[Item, ...]:
    labels = {name: label for label, name in enumerate(found.classes)}
    items = []
    for (part, name), paths in found.photos.items():
        for path in paths:
            if path in digests and name in labels:
                drawn = _split_by_content(digests[path], val, test)
                split = drawn if part == "train" else part
                items.append(Item(path, labels[name], split, digests[path]))
    return tuple(sorted(items, key=lambda item: item.path))


def _split_by_content(digest: str, val: float, test: float) -> SplitName:
    """Where the hash of a photo's bytes puts it: it depends on nothing else."""
    draw = int(digest[:16], 16) / 2**64
    if draw < test:
        return "test"
    return "val" if draw < test + val else "train"


def _unreadable(found: Survey, unread: dict[Path, Problem], *, skip: bool) -> Iterator[Problem]:
    dangling = [_unread(path, "a link to nothing") for path in found.rest.dangling]
    for problem in [*unread.values(), *dangling]:
        yield replace(problem, severity="warning" if skip else "error")
    for (part, name), paths in found.photos.items():
        if paths and unread.keys() >= set(paths):
            where = str(found.parts[part] / name)
            yield Problem(where, "none of its photos can be read", "a class needs photos")


def _thin_classes(index: Index, found: Survey, val: float, test: float) -> Iterator[Problem]:
    """Classes that the hash left without photos in a split that it fills."""
    counts = index.counts()
    filled: tuple[tuple[SplitName, bool, str, Severity], ...] = (
        ("train", True, "add photos, or lower data.split.val and data.split.test", "error"),
        ("val", val > 0, f"add photos, or raise data.split.val (now {val:g})", "warning"),
        ("test", test > 0, f"add photos, or raise data.split.test (now {test:g})", "warning"),
    )
    for name in index.classes:
        total = sum(counts[split][name] for split, used, _, _ in filled if used)
        for split, used, hint, severity in filled:
            if total and used and not counts[split][name]:
                what = f"no {split} photo: of {counted(total, 'photo')}, none fell to {split}"
                where = str(found.parts["train"] / name)
                yield Problem(where, f"{what} by content", hint, severity)


def _split_notes(found: Survey, val: float, test: float) -> Iterator[Problem]:
    if "val" not in found.parts and not val:
        what = "no val photos, so the best epoch cannot be chosen"
        yield Problem("data.split.val", what, "set it above 0", "warning")
    elif "val" not in found.parts and not found.plain:
        what = f"no val folder: {val:.0%} of train is taken as val, by content"
        yield Problem(str(found.root), what, severity="note")
    if "test" not in found.parts and not test:
        what = "no test split" if found.plain else "no test folder, so no test split"
        yield Problem(str(found.root), what, severity="note")


def _duplicates(index: Index) -> Iterator[Problem]:
    """Photos with the same bytes in two splits, or in two classes."""
    same: dict[str, list[Item]] = defaultdict(list)
    for item in index.items:
        same[item.digest].append(item)
    kinds: tuple[tuple[Literal["split", "label"], str], ...]
    kinds = (("split", "in more than one split"), ("label", "in more than one class"))
    for key, what in kinds:
        pairs = [pair for items in same.values() if (pair := _unlike(items, key))]
        if pairs:
            first, second = (item.path.relative_to(index.root).as_posix() for item in pairs[0])
            message = f"{counted(len(pairs), 'photo')} {what}: {first} is the same as {second}"
            yield Problem(str(index.root), message, "keep one of each", "warning")


def _unlike(items: Sequence[Item], key: Literal["split", "label"]) -> tuple[Item, Item] | None:
    """The first of `items` and the first that differs from it in `key`."""
    other = next((item for item in items if getattr(item, key) != getattr(items[0], key)), None)
    return (items[0], other) if other else None
