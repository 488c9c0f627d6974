"""Packed archives in the place of photos: recognised by name, never opened."""

from __future__ import annotations

import shlex
from pathlib import Path

_TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
_OTHERS = (".7z", ".rar", ".gz", ".bz2", ".xz", ".zst")


def is_archive(path: Path) -> bool:
    """Whether the name of a file is that of a packed archive."""
    return path.name.lower().endswith((".zip", *_TAR, *_OTHERS))


def how_to_unpack(path: Path) -> str:
    """The command that unpacks an archive beside itself."""
    name, folder = shlex.quote(str(path)), shlex.quote(str(path.parent))
    if path.name.lower().endswith(".zip"):
        return f"unpack it: `unzip {name} -d {folder}`"
    if path.name.lower().endswith(_TAR):
        return f"unpack it: `tar -xf {name} -C {folder}`"
    return "unpack it"
