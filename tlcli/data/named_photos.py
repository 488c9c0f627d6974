"""The photos that a user names, without labels: files, folders, patterns, and lines of a list."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

from tlcli.data import folders
from tlcli.data.folders import EXTENSIONS, FolderListing, is_folder, is_photo
from tlcli.data.ignored_files import find_passed_over
from tlcli.errors import Problem
from tlcli.system import web

_BOM, _UTF16 = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")


def find_named_photos(sources: Iterable[str | Path]) -> Iterator[Path | Problem]:
    """The photos that a user names: files, folders and patterns, in the order given.

    A file is handed on as it is, whether it exists or not and whatever its suffix. A folder gives
    every file with an image suffix under it, sorted; so does a pattern (`*.jpg`, `photos/**`)
    where no file has that very name. Hidden files and system leftovers are left out.

    What gives no photo, or cannot be read, is an error in its place. Warnings and notes say, before
    the photos of a folder or pattern, which of its files are passed over by their names.
    """
    for source in sources:
        path, pattern = Path(source), str(source)
        if address := web.as_web_address(source):
            yield web.not_a_file(address)
        elif is_folder(path):
            hint = f"looked for {', '.join(sorted(EXTENSIONS))}"
            nothing = Problem(str(path), "no photos in this folder", hint)
            yield from _photos_of(folders.list_tree(path), path, nothing)
        elif any(sign in pattern for sign in "*?[") and not folders.exists(path):
            nothing = Problem(pattern, "no photo matches this pattern", "check its spelling")
            yield from _photos_of(_list_matches(pattern), Path(), nothing)
        else:
            yield path


def _photos_of(listing: FolderListing, root: Path, nothing: Problem) -> Iterator[Path | Problem]:
    """The photos of a folder or pattern after its problems; `nothing` if it gives neither.

    Messages name files as seen from `root`, and the source as `nothing` does.
    """
    yield from listing.problems
    for finding in find_passed_over(listing):
        yield replace(finding, where=nothing.where).as_problem(root)
    # A dangling link is handed on: it is the decoder that says what is wrong with an image.
    photos = sorted({*listing.photos, *filter(is_photo, listing.dangling)})
    if not photos and all(problem.severity != "error" for problem in listing.problems):
        yield nothing
    yield from photos


def _list_matches(pattern: str) -> FolderListing:
    """What a pattern matches, the folders among it with all that they hold."""
    matches = FolderListing()
    listings = [matches]
    system = folders.SYSTEM - set(Path(pattern.lower()).parts)
    # Not Path.glob, which takes no absolute pattern.
    for path in map(Path, sorted(glob.glob(pattern, recursive=True))):  # noqa: PTH207
        if not system.isdisjoint(Path(str(path).lower()).parts):
            continue
        if is_folder(path):
            listings.append(folders.list_tree(path))
        elif not folders.exists(path):
            matches.dangling.append(path)
        else:
            (matches.photos if is_photo(path) else matches.others).append(path)
    joined = folders.join_listings(listings)
    # `**` matches a file by its own name as well as in each folder above it.
    joined.others = sorted(set(joined.others))
    joined.dangling = sorted(set(joined.dangling))
    joined.junk = sorted(set(joined.junk))
    joined.problems = list(dict.fromkeys(joined.problems))
    return joined


def read_list(stream: IO[bytes]) -> Iterator[Path | Problem]:
    """The photos of a list, a path a line, as they are read; a web address is an error.

    Lines are paths as they are, in any encoding. A byte order mark, which editors and shells of
    Windows write, says that they are UTF-8 or UTF-16.
    """
    for line in _lines(stream):
        if name := os.fsdecode(line.rstrip(b"\r\n")):
            address = web.as_web_address(name)
            yield web.not_a_file(address) if address else Path(name)


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """The lines of a stream without the byte order mark, as they come, unless they are UTF-16."""
    first = stream.readline()
    if first.startswith(_UTF16):
        text = (first + stream.read()).decode("utf-16", "replace")
        yield from map(os.fsencode, text.splitlines())
    else:
        yield first.removeprefix(_BOM)
        yield from stream
