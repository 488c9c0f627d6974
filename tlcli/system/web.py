"""Web addresses that stand where a file belongs: the same words for them everywhere."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tlcli.errors import Problem

# `pathlib` makes one slash of two. A scheme has two letters at least, unlike a drive of Windows.
_ADDRESS = re.compile(r"(?:^|/)([A-Za-z][A-Za-z0-9+.-]+):/+(?=[^/])")


def as_web_address(text: str | Path) -> str | None:
    """The web address that a text is, with both slashes; None for a path.

    So it is where it was taken for a path in a folder: `/home/me/https:/example.org`. A file that
    has such a name is a file.
    """
    begin = _ADDRESS.search(str(text))
    if begin is None or os.path.lexists(text):
        return None
    return f"{begin[1]}://{str(text)[begin.end() :]}"


def not_a_file(address: str, where: str | None = None) -> Problem:
    """The problem with a web address in the place of a file; `where` is by default the address."""
    message = "is a web address" if where is None else f"{address} is a web address"
    if address.lower().startswith("file:"):
        hint = "name the file by its path, without file://"
    else:
        hint = "tlcli reads files: download it and name the file"
    return Problem(address if where is None else where, message, hint)
