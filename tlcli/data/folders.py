"""What folders of photos hold: the photos, the links followed, and what is passed over."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tlcli.errors import DataError, Kind, Problem, nearest, reason

#: Lower-case suffixes by which photos are found; what is in a file is only known on decoding it.
EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".bmp", ".dib"}
    | {".tif", ".tiff", ".webp", ".avif", ".heic", ".heif"}
)

# What file managers, archivers and network drives leave behind, in lower case.
_SYSTEM = frozenset(
    {"__macosx", "icon\r", "desktop.ini", "thumbs.db", "ehthumbs.db", "$recycle.bin"}
    | {"system volume information", "@eadir", "#recycle", "lost+found", "__pycache__"}
)


@dataclass(slots=True)
class FolderListing:
    """What a folder holds: folders, files by whether their suffix is that of an image, and the rest
    by what is wrong with it."""

    folders: list[Path] = field(default_factory=list)
    photos: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    junk: list[Path] = field(default_factory=list)
    dangling: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def join_listings(listings: Iterable[FolderListing]) -> FolderListing:
    """What several folders hold together, in their order; `folders` stays empty."""
    joined = FolderListing()
    for listing in listings:
        joined.photos += listing.photos
        joined.others += listing.others
        joined.junk += listing.junk
        joined.dangling += listing.dangling
        joined.problems += listing.problems
    return joined


def is_photo(path: Path) -> bool:
    """Whether the suffix of a path is that of an image, in any letter case."""
    return _names_photo(path.name)


def _names_photo(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS  # noqa: PTH122 - much faster


def is_junk(name: str) -> bool:
    """Whether a file is hidden, or something that an operating system leaves behind."""
    return name.startswith(".") or name.lower() in _SYSTEM


def list_folder(folder: Path) -> FolderListing:
    """What lies directly in `folder`, sorted by name.

    A folder that cannot be listed and a name that is not UTF-8 are among the problems.
    """
    found = FolderListing()
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        found.problems.append(Problem(str(folder), f"cannot be listed: {reason(error)}"))
        entries = []
    for entry in entries:
        path = folder / entry.name
        if is_junk(entry.name):
            found.junk.append(path)
        elif not _encodable(entry.name):
            where = str(path).encode("utf-8", "backslashreplace").decode()
            kind: Kind = "" if is_folder(path) else "bad name"  # of a folder, all in it is lost
            what = "its name is not valid UTF-8"
            found.problems.append(Problem(where, what, "rename it", kind=kind))
        else:
            _place(entry, path, found)
    return found


def list_tree(folder: Path) -> FolderListing:
    """All files under `folder`, at any depth, sorted by path; `folders` stays empty.

    Links are followed, but no folder is read twice and none that holds `folder`, so that a link
    in a circle ends. Each such link is a note among the problems.
    """
    found = FolderListing()
    real = folder.resolve()
    seen = set(real.parents)
    if folder.is_symlink():
        above = folder.absolute().parent.resolve()
        seen |= {above, *above.parents}
    if real in seen:
        found.problems.append(_known(folder))
        return found
    seen.add(real)
    pending = [folder]
    while pending:
        here = list_folder(pending.pop())
        found.photos += here.photos
        found.others += here.others
        found.junk += here.junk
        found.dangling += here.dangling
        found.problems += here.problems
        deeper = []
        for path in here.folders:
            if is_photo(path):
                what = "is a folder with the name of a photo"
                found.problems.append(Problem(str(path), what, severity="note"))
            if (real := path.resolve()) not in seen:
                seen.add(real)
                deeper.append(path)
            else:
                found.problems.append(_known(path))
        pending += reversed(deeper)
    for paths in (found.photos, found.others):
        paths.sort(key=lambda path: path.parts)  # as paths sort, and many times as fast
    return found


def expect_folder(folder: Path) -> None:
    """Raise DataError unless `folder` is a folder; a missing one names its near miss."""
    try:
        if stat.S_ISDIR(folder.stat().st_mode):
            return
        problem = Problem(str(folder), "is a file, not a folder", "name the folder that holds it")
    except FileNotFoundError:
        hint = "check the path"
        if not is_folder(folder.parent):
            hint = f"{folder.parent} does not exist either"
        elif guess := nearest(folder.name, _folder_names(folder.parent)):
            hint = f"did you mean '{folder.parent / guess}'?"
        problem = Problem(str(folder), "no such folder", hint)
    except OSError as error:
        problem = Problem(str(folder), f"cannot be read: {reason(error)}", "check the path")
    raise DataError(problem)


def _folder_names(folder: Path) -> list[str]:
    return [path.name for path in list_folder(folder).folders]


def find_images(sources: Iterable[str | Path], *, strict: bool = True) -> Iterator[Path]:
    """The images that a user names: files, folders and patterns, in the order given.

    A file is handed on as it is, whether it exists or not and whatever its suffix. A folder gives
    every file with an image suffix under it, sorted; so does a pattern (`*.jpg`, `photos/**`)
    where no file has that very name. Hidden files and system leftovers are left out. Raises
    DataError, on reaching it, for a folder or pattern that yields nothing or cannot be read;
    unless `strict`, hands it on as it is, for the decoder to say so in its place.
    """
    for source in sources:
        path = Path(source)
        try:
            if is_folder(path):
                found = _images_under(path)
            elif any(sign in str(source) for sign in "*?[") and _mode(path) is None:
                found = _matches(str(source))
            else:
                found = [path]
        except DataError:
            if strict:
                raise
            found = [path]
        yield from found


def _images_under(folder: Path) -> list[Path]:
    found = list_tree(folder)
    if errors := [problem for problem in found.problems if problem.severity == "error"]:
        raise DataError(errors)
    # A dangling link is handed on: it is the decoder that says what is wrong with an image.
    images = sorted([*found.photos, *filter(is_photo, found.dangling)])
    if not images:
        hint = f"looked for {', '.join(sorted(EXTENSIONS))}"
        raise DataError(Problem(str(folder), "no photos in this folder", hint))
    return images


def _matches(pattern: str) -> list[Path]:
    found: set[Path] = set()
    system = _SYSTEM - set(Path(pattern.lower()).parts)
    # Not Path.glob, which takes no absolute pattern.
    for path in map(Path, glob.glob(pattern, recursive=True)):  # noqa: PTH207
        if not system.isdisjoint(Path(str(path).lower()).parts):
            continue
        if is_folder(path):
            found.update(list_tree(path).photos)
        elif is_photo(path):
            found.add(path)
    if not found:
        raise DataError(Problem(pattern, "no photo matches this pattern", "check its spelling"))
    return sorted(found)


def _known(path: Path) -> Problem:
    what = "leads to a folder that has already been read, and is not followed"
    return Problem(str(path), what, severity="note")


def _encodable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _mode(path: Path) -> int | None:
    """The kind of thing at the end of `path`, links followed; None where that cannot be told."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return None


def is_folder(path: Path) -> bool:
    """Whether there is a folder at the end of `path`, links followed; raises nothing."""
    return stat.S_ISDIR(_mode(path) or 0)


def _place(entry: os.DirEntry[str], path: Path, found: FolderListing) -> None:
    # Of what is no link, listing the folder has told the kind: nothing more is asked of the system.
    files = found.photos if _names_photo(entry.name) else found.others
    try:
        if entry.is_file():
            files.append(path)
        elif entry.is_dir():
            found.folders.append(path)
        elif entry.is_symlink() and _mode(path) is None:
            found.dangling.append(path)
        else:  # opening a pipe would wait for ever
            found.junk.append(path)
    except OSError:  # reading a file that is there but out of reach will tell why
        (found.dangling if entry.is_symlink() else files).append(path)
