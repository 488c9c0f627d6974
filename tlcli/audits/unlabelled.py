"""The photos of a folder that could be labelled: those that are no labelled photo already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tlcli.data.audit_cache import AuditCache
from tlcli.data.dataset import Index, Item
from tlcli.data.folders import expect_folder
from tlcli.data.hashing import hash_files
from tlcli.data.inspections import inspect_photos
from tlcli.data.named_photos import find_named_photos
from tlcli.data.photo_groups import distinct_photos, group_photos
from tlcli.errors import DataError, Problem
from tlcli.images.bit_depth import Depth
from tlcli.system import console
from tlcli.system.console import counted


@dataclass(frozen=True)
class UnlabelledPhotos:
    """Photos to choose from.

    Attributes:
        items: without labels that mean anything, sorted by path.
        found: photos in the folder.
        unreadable: those of them that cannot be decoded.
        labelled: those that are photos of the run, or nearly so.
        alike: those that are copies of another one of the folder, or nearly so.
        labelled_groups: the group of each labelled photo, by its hash.
    """

    items: tuple[Item, ...]
    found: int
    unreadable: int
    labelled: int
    alike: int
    labelled_groups: dict[str, str]

    def text(self) -> str:
        """What was found, in a sentence."""
        parts = [
            f"{number:,} {what}"
            for number, what in (
                (self.labelled, "labelled already, or nearly the same as a labelled one"),
                (self.alike, "the same as another one, or nearly"),
                (self.unreadable, "unreadable"),
            )
            if number
        ]
        text = f"{counted(self.found, 'photo')}, {len(self.items):,} to choose from"
        return text + (f"; left out: {', '.join(parts)}" if parts else "")


def find_candidates(
    folder: Path, index: Index, cache: Path, depth: Depth | None
) -> UnlabelledPhotos:
    """The photos of a folder that are none of an index, each once.

    Every photo is decoded once, as `tlcli check` does. What cannot be read is left out with a
    warning. Raises `DataError` where nothing is left.
    """
    expect_folder(folder)
    paths = sorted(_paths(folder))
    digests, unread = hash_files(paths)
    for problem in unread.values():
        console.warn(f"{problem}; left out")
    given = [
        Item(str(path), -1, "test", digest)
        for path, digest in zip(paths, digests, strict=True)
        if digest
    ]
    indexed = distinct_photos(index.items)
    with AuditCache(cache, depth) as known:
        inspections = inspect_photos([*indexed, *given], known, depth)
    damaged = [item for item in given if inspections[item.digest].message]
    for item in damaged:
        console.warn(f"{inspections[item.digest].problem(item.path)}; left out")
    readable = [item for item in given if not inspections[item.digest].message]
    names = group_photos(
        [*indexed, *readable], {digest: each.thumbnail for digest, each in inspections.items()}
    )
    taken = set(names[: len(indexed)])
    chosen: dict[str, Item] = {}
    labelled = 0
    for item, name in zip(readable, names[len(indexed) :], strict=True):
        if name in taken:
            labelled += 1
        else:
            chosen.setdefault(name, item)
    candidates = UnlabelledPhotos(
        items=tuple(chosen.values()),
        found=len(paths),
        unreadable=len(unread) + len(damaged),
        labelled=labelled,
        alike=len(readable) - labelled - len(chosen),
        labelled_groups={item.digest: name for item, name in zip(indexed, names, strict=False)},
    )
    if not candidates.items:
        _refuse(folder, candidates)
    return candidates


def _paths(folder: Path) -> Iterator[Path]:
    """The photos in a folder; what is passed over by its name is printed."""
    errors: list[Problem] = []
    for entry in find_named_photos([folder]):
        if isinstance(entry, Path):
            yield entry
        elif entry.severity == "error":
            errors.append(entry)
        else:
            console.print_problem(entry)
    if errors:
        raise DataError(errors)


def _refuse(folder: Path, candidates: UnlabelledPhotos) -> None:
    if candidates.labelled:
        message = f"holds no photo that is not labelled yet: {candidates.text()}"
        hint = "name a folder with other photos"
    else:
        message, hint = f"holds no photo that can be read: {candidates.text()}", "repair some"
    raise DataError(Problem(str(folder), message, hint))


def thin_out(items: Sequence[Item], most: int) -> tuple[Item, ...]:
    """At most so many of the photos, the same ones whatever their names and order."""
    if len(items) <= most:
        return tuple(items)
    kept = sorted(items, key=lambda item: item.digest)[:most]
    return tuple(sorted(kept, key=lambda item: item.path.parts))
