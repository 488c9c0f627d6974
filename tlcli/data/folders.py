"""Listing folders of photos: the photos, the links that are followed, and other files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tlcli.data.archives import how_to_unpack, is_archive
from tlcli.errors import DataError, Kind, Problem, nearest, reason
from tlcli.system import object_stores, web
from tlcli.system.object_stores import store_address
from tlcli.system.path_list import PathList, path_order

#: Lower-case suffixes of photos; whether a file is one shows only when it is decoded.
EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".bmp", ".dib"}
    | {".tif", ".tiff", ".webp", ".avif", ".heic", ".heif"}
)

#: Files of file managers, archivers and network drives, in lower case.
SYSTEM = frozenset(
    {"__macosx", "icon\r", "desktop.ini", "thumbs.db", "ehthumbs.db", "$recycle.bin"}
    | {"system volume information", "@eadir", "#recycle", "lost+found", "__pycache__"}
)


@dataclass(slots=True)
class FolderListing:
    """What a folder holds: folders, files by whether their suffix is that of an image, and the rest
    by what is wrong with it."""

    folders: list[Path] = field(default_factory=list)
    photos: PathList = field(default_factory=PathList)
    others: list[Path] = field(default_factory=list)
    junk: list[Path] = field(default_factory=list)
    dangling: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def join_listings(listings: Iterable[FolderListing]) -> FolderListing:
    """What several folders hold together, in their order; `folders` stays empty."""
    joined = FolderListing()
    for listing in listings:
        joined.photos.extend(listing.photos)
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
    return name.startswith(".") or name.lower() in SYSTEM


def list_folder(folder: Path) -> FolderListing:
    """What lies directly in `folder`, sorted by name.

    A folder that cannot be listed and a name that is not UTF-8 are among the problems.
    """
    if address := store_address(folder):
        return _list_in_store(folder, address)
    listing = FolderListing()
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        listing.problems.append(Problem(str(folder), f"cannot be listed: {reason(error)}"))
        entries = []
    kinds: dict[str, list[Path] | PathList] = {
        "folder": listing.folders,
        "photo": listing.photos,
        "other": listing.others,
        "junk": listing.junk,
        "dangling": listing.dangling,
    }
    for entry in entries:
        path = folder / entry.name
        if is_junk(entry.name):
            listing.junk.append(path)
        elif not _is_text(entry.name):
            listing.problems.append(_bad_name(path))
        else:
            kinds[_kind(entry, path)].append(path)
    return listing


def _list_in_store(folder: Path, address: str) -> FolderListing:
    """What lies directly below an address in an object store."""
    listing = FolderListing()
    try:
        entries = object_stores.list_folder(address)
    except OSError as error:
        listing.problems.append(Problem(address, f"cannot be listed: {reason(error)}"))
        return listing
    for entry in entries:
        path = folder / entry.name
        if is_junk(entry.name):
            listing.junk.append(path)
        elif entry.is_folder:
            listing.folders.append(path)
        else:
            (listing.photos if _names_photo(entry.name) else listing.others).append(path)
    return listing


def _bad_name(path: Path) -> Problem:
    where = str(path).encode("utf-8", "backslashreplace").decode()
    # A folder is no single file to skip: everything in it would be lost.
    kind: Kind = "" if is_folder(path) else "bad name"
    return Problem(where, "its name is not valid UTF-8", "rename it", kind=kind)


def holds_folders(folder: Path) -> bool:
    """Whether there is a folder in `folder`; much faster than a listing. Raises nothing."""
    if store_address(folder):
        return bool(list_folder(folder).folders)
    try:
        with os.scandir(folder) as scan:
            return any(entry.is_dir() for entry in scan)
    except OSError:
        return False


def list_tree(folder: Path) -> FolderListing:
    """All files under `folder`, at any depth, sorted by path; `folders` stays empty.

    Links are followed, but no folder is read twice and none that holds `folder`, so that a link
    in a circle ends. Each such link is a note among the problems.
    """
    real = folder.resolve()
    seen = set(real.parents)
    if folder.is_symlink():
        above = folder.absolute().parent.resolve()
        seen |= {above, *above.parents}
    if real in seen:
        return FolderListing(problems=[_already_read(folder)])
    seen.add(real)
    listings: list[FolderListing] = []
    pending = [folder]
    while pending:
        listing = list_folder(pending.pop())
        deeper = []
        for path in listing.folders:
            if is_photo(path):
                what = "is a folder with the name of a photo"
                listing.problems.append(Problem(str(path), what, severity="note"))
            if (real := path.resolve()) not in seen:
                seen.add(real)
                deeper.append(path)
            else:
                listing.problems.append(_already_read(path))
        pending += reversed(deeper)
        listings.append(listing)
    tree = join_listings(listings)
    tree.photos.sort()
    tree.others.sort(key=path_order)
    return tree


def expect_folder(folder: Path) -> None:
    """Raise DataError unless `folder` is a folder; a missing one names its near miss."""
    if address := store_address(folder):
        return _expect_in_store(address)
    try:
        if stat.S_ISDIR(folder.stat().st_mode):
            return
        problem = Problem(str(folder), "is a file, not a folder", "name the folder that holds it")
        if is_archive(folder):
            hint = f"{how_to_unpack(folder)}, and name the folder of the photos"
            problem = Problem(str(folder), "is a packed archive, not a folder", hint)
    except FileNotFoundError:
        hint = "check the path"
        if not is_folder(folder.parent):
            hint = f"{folder.parent} does not exist either"
        elif guess := nearest(folder.name, _folder_names(folder.parent)):
            hint = f"did you mean '{folder.parent / guess}'?"
        problem = Problem(str(folder), "no such folder", hint)
        if address := web.as_web_address(folder):
            problem = web.not_a_file(address)
    except OSError as error:
        problem = Problem(str(folder), f"cannot be read: {reason(error)}", "check the path")
    raise DataError(problem)


def _expect_in_store(address: str) -> None:
    try:
        if object_stores.is_folder(address):
            return
        problem = Problem(address, "no such folder in the store", "check the address")
    except OSError as error:
        hint = "check the address, and that this machine may read it"
        problem = Problem(address, f"cannot be read: {reason(error)}", hint)
    raise DataError(problem)


def _folder_names(folder: Path) -> list[str]:
    return [path.name for path in list_folder(folder).folders]


def _already_read(path: Path) -> Problem:
    what = "leads to a folder that has already been read, and is not followed"
    return Problem(str(path), what, severity="note")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _mode(path: Path) -> int | None:
    """The kind of thing at the end of `path`, links followed; None where it is unknown."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return None


def exists(path: Path) -> bool:
    """Whether there is something at the end of `path`, links followed; raises nothing."""
    if address := store_address(path):
        with suppress(OSError):
            return object_stores.exists(address)
        return False
    return _mode(path) is not None


def is_folder(path: Path) -> bool:
    """Whether there is a folder at the end of `path`, links followed; raises nothing."""
    if address := store_address(path):
        with suppress(OSError):
            return object_stores.is_folder(address)
        return False
    return stat.S_ISDIR(_mode(path) or 0)


def _kind(
    entry: os.DirEntry[str], path: Path
) -> Literal["folder", "photo", "other", "junk", "dangling"]:
    """Which list of a `FolderListing` an entry belongs to.

    The listing itself gives the kind of what is no link, without another call of the system.
    """
    file: Literal["photo", "other"] = "photo" if _names_photo(entry.name) else "other"
    try:
        if entry.is_file():
            return file
        if entry.is_dir():
            return "folder"
        if entry.is_symlink() and _mode(path) is None:
            return "dangling"
        return "junk"  # such as a pipe: opening it would wait for ever
    except OSError:  # a file that is there but cannot be reached: reading it will say why
        return "dangling" if entry.is_symlink() else file
