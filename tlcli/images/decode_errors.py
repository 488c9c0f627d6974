"""What can be wrong with an image file.

Every error has a kind, which the code decides by, and a message, which is for people alone.
"""

from __future__ import annotations

from tlcli.errors import ImageError, Kind, Problem

#: Temporary: the same file may be readable later.
PASSING: frozenset[Kind] = frozenset({"no access", "no memory", "changed"})

#: Files that seem undamaged, but are not of a format that is read.
FOREIGN: frozenset[Kind] = frozenset({"no image", "unsupported"})

_HINTS: dict[Kind, str] = {
    "truncated": "copy or download the file again",
    "no access": "check the path",
    "no memory": "scale it down",
}


class DecodeError(Exception):
    """What keeps a file from being decoded, raised where its name is not known.

    `what` is the same for every file with that error; `detail` belongs to this file.
    """

    def __init__(self, kind: Kind, what: str, hint: str = "", *, detail: str = "") -> None:
        super().__init__(what)
        self.kind, self.what, self.detail = kind, what, detail
        self.hint = hint or _HINTS.get(kind, "replace or remove the file")

    def for_file(self, where: str) -> ImageError:
        """The error that names the file."""
        message = f"cannot be decoded: {self.what}"
        if self.detail:
            message += f": {self.detail}"
        return ImageError(Problem(where, message, self.hint, kind=self.kind, detail=self.detail))
