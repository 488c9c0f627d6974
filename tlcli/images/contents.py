"""The bytes of an image file, read once for all that is done with them.

The hash of a photo's bytes is its identity: rows of the feature store, views and recorded labels go
by it. A file can change between the reading that takes its hash and the one that takes its pixels,
so both come from the same bytes here.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tlcli.errors import ImageError, Problem, reason
from tlcli.images.decode_errors import DecodeError
from tlcli.images.formats import open_file, read_header


class Contents(NamedTuple):
    """The bytes of an image file, and their SHA-256 in hex."""

    content: bytes
    digest: str


def read_contents(path: Path, digest: str = "") -> Contents:
    """The bytes of an image file, which must have the hash `digest` if one is given.

    Raises ImageError with one problem, whose kind is "changed" where the hash is another. Without
    `digest`, a file that is no image by its header is refused before it is read to its end.
    """
    where = str(path)
    with open_file(path, where) as stream:
        if not digest:
            read_header(stream, where)
            stream.seek(0)
        content = _read_all(stream, where)
    actual = hashlib.sha256(content).hexdigest()
    if digest and actual != digest:
        message = "has changed since this command listed it"
        hint = "leave the photos alone while a command runs, and run it again"
        raise ImageError(Problem(where, message, hint, kind="changed"))
    return Contents(content, actual)


def _read_all(stream: BinaryIO, where: str) -> bytes:
    try:
        return stream.read()
    except MemoryError as error:
        raise DecodeError("no memory", "not enough memory for its bytes").for_file(where) from error
    except OSError as error:
        raise DecodeError("no access", "cannot be read", detail=reason(error)).for_file(
            where
        ) from error
