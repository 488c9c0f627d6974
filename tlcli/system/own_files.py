"""Which files may be replaced: those that tlcli wrote itself and can write again.

Pictures (PNG, SVG) and pages (HTML) say in themselves that they are tlcli's. Tables and arrays
cannot say it, and a recipe belongs to whoever edits it: like all other files they are kept, unless
the user adds --force.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from tlcli.errors import Problem
from tlcli.system import files

#: The program that a file names as its maker: `Software` of a PNG, `Creator` of an SVG, and the
#: beginning of `generator` of a page.
GENERATOR = "tlcli"

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_MARK = b"Software\0" + GENERATOR.encode()

# In the head of the file: matplotlib writes the creator of an SVG as the title of an agent.
_MARKS = (
    f'<meta name="generator" content="{GENERATOR} '.encode(),
    f"<dc:title>{GENERATOR}</dc:title>".encode(),
)
_HEAD_BYTES = 4096


def is_own(path: Path) -> bool:
    """Whether a file says that tlcli wrote it; False for what cannot be read."""
    try:
        with files.open_regular(path) as file:
            head = file.read(_HEAD_BYTES)
            if head.startswith(_PNG):
                return any(chunk == (b"tEXt", _PNG_MARK) for chunk in _chunks_before_pixels(file))
            return any(mark in head for mark in _MARKS)
    except OSError:
        return False


def _chunks_before_pixels(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Kind and contents, as far as a mark is long, of the chunks of a PNG before its pixels."""
    at = len(_PNG)
    while True:
        file.seek(at)
        header = file.read(8)
        if len(header) < 8 or header[4:] == b"IDAT":
            return
        (length,) = struct.unpack(">I", header[:4])
        yield header[4:], file.read(min(length, len(_PNG_MARK) + 1))
        at += 12 + length


def check_file(path: Path, *, named: bool, force: bool, option: str = "--out") -> list[Problem]:
    """The problem, if any, with writing a picture or page to `path`.

    `named` tells whether the user named it with `option`.
    """
    if force or not _is_kept(path):
        return []
    hint = f"name another{'' if named else f' with {option}'}, or replace it with --force"
    return [Problem(f"{option} {path}" if named else str(path), "exists already", hint)]


def check_folder(folder: Path, names: Iterable[str], *, force: bool) -> list[Problem]:
    """The problem, if any, with writing files of these names into the folder of --out."""
    kept = [name for name in names if _is_kept(folder / name)]
    if force or not kept:
        return []
    it = "it" if len(kept) == 1 else "them"
    hint = f"name another folder, or replace {it} with --force"
    return [Problem(f"--out {folder}", f"has {', '.join(kept)} already", hint)]


def _is_kept(path: Path) -> bool:
    """Whether there is something that tlcli may not replace on its own, be it a link to nothing."""
    return os.path.lexists(path) and not is_own(path)
