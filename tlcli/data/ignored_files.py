"""Files of a data folder that are ignored, with those that may be photos after all."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tlcli.data.archives import is_archive
from tlcli.data.findings import Finding
from tlcli.data.folders import FolderListing, is_photo
from tlcli.errors import ImageError
from tlcli.images import formats
from tlcli.system.console import counted

#: The first line of a list that `check --fix-list` writes.
FIX_LIST_TITLE = "# Photos to leave out: data.exclude in a recipe names this file."

# Files without an image suffix that are opened: there may be a text beside each of 100,000 photos.
_MAX_OPENED = 1_000

# These begin as TIFF files do, but only a small preview can be decoded.
_RAW = frozenset({".arw", ".cr2", ".dng", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw"})


def find_ignored(
    rest: FolderListing, tops: Collection[Path], own: Collection[Path] = ()
) -> Iterator[Finding]:
    """A finding for each kind of thing that is no photo of a class.

    Args:
        rest: what lies in the data folder, except for the photos in class folders.
        tops: the folders in which class folders lie.
        own: lists and tables that the recipe names, which may lie among them.
    """
    if rest.photos:
        hint = "move photos into the folder of their class"
        what = "ignored, outside the class folders"
        yield Finding("outside the classes", "warning", what, hint, tuple(rest.photos))
    lists = {path for path in rest.others if path.parent in tops and _is_fix_list(path)}
    others = [path for path in rest.others if path not in lists and not _is_one_of(path, own)]
    if packed := [path for path in others if is_archive(path)]:
        what, hint = "ignored, a packed archive", "unpack it if it contains photos"
        yield Finding("packed", "warning", what, hint, tuple(packed), noun="file")
        others = [path for path in others if not is_archive(path)]
    if others:
        yield _without_suffix(others)
    yield from _dangling(rest.dangling, tops)
    yield from _hidden(rest)


def find_passed_over(listing: FolderListing) -> Iterator[Finding]:
    """A finding for each kind of thing that is no photo by its name, where there are no classes."""
    if others := [path for path in listing.others if not _is_fix_list(path)]:
        yield _without_suffix(others)
    yield from _dangling(listing.dangling, ())
    yield from _hidden(listing)


def _hidden(listing: FolderListing) -> Iterator[Finding]:
    if listing.junk:
        what = "ignored, hidden or made by the system"
        yield Finding("hidden", "note", what, "", tuple(listing.junk), noun="file")


def _without_suffix(others: Sequence[Path]) -> Finding:
    """Files that are ignored for their names; those that are photos by content come first."""
    opened = others[:_MAX_OPENED]
    photos = [path for path in opened if _is_photo_inside(path)]
    hint = "photos need a file extension such as .jpg"
    if photos:
        every = counted(len(opened), "file")
        which = f"of the first {every}" if len(others) > len(opened) else f"of these {every}"
        hint = f"{len(photos):,} {which} {'is a photo' if len(photos) == 1 else 'are photos'} by "
        hint += "content; give photos a matching extension such as .jpg"
    inside = frozenset(photos)
    paths = (*photos, *(path for path in others if path not in inside))
    what = "ignored, without an image extension"
    return Finding("no image suffix", "warning", what, hint, paths, noun="file")


def _is_photo_inside(path: Path) -> bool:
    if path.suffix.lower() in _RAW:
        return False
    try:
        with formats.open_file(path, path.name) as stream:
            formats.read_header(stream, path.name)
    except ImageError:
        return False
    return True


def _is_fix_list(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as stream:
        first = stream.read(len(FIX_LIST_TITLE) + 3)  # and a byte order mark
        return first.decode("utf-8-sig", "replace").startswith(FIX_LIST_TITLE)
    return False


def _is_one_of(path: Path, others: Iterable[Path]) -> bool:
    with suppress(OSError):
        return any(path.name == other.name and path.samefile(other) for other in others)
    return False


def _dangling(links: Iterable[Path], tops: Collection[Path]) -> Iterator[Finding]:
    """Links to nothing that are no photos by their name; one of a class folder is a warning."""
    others = [path for path in links if not is_photo(path)]
    high = tuple(path for path in others if path.parent in tops)
    deep = tuple(path for path in others if path.parent not in tops)
    what = "ignored, a link to nothing"
    if high:
        hint = "repair it if it pointed to a class folder; otherwise delete it"
        yield Finding("dangling", "warning", what, hint, high, noun="link")
    if deep:
        yield Finding("dangling", "note", what, "", deep, noun="link")
