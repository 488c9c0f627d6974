"""What can be wrong with an image file: each fault has a kind, which decides, and words, which do
not."""

from __future__ import annotations

from tlcli.errors import ImageError, Kind, Problem

#: Troubles of the moment: another look may not find them again.
PASSING: frozenset[Kind] = frozenset({"no access", "no memory"})

#: Of files that are whole, for all one can tell, but of no kind that is read.
FOREIGN: frozenset[Kind] = frozenset({"no image", "unsupported"})

_HINTS: dict[Kind, str] = {
    "truncated": "copy or download the file again",
    "no access": "check the path",
    "no memory": "scale it down",
}


class DecodeError(Exception):
    """What keeps a file from being decoded, raised where its name is not known.

    `what` is the same for every file with that fault; `detail` is what is found in this one.
    """

    def __init__(self, kind: Kind, what: str, hint: str = "", *, detail: str = "") -> None:
        super().__init__(what)
        self.kind, self.what, self.detail = kind, what, detail
        self.hint = hint or _HINTS.get(kind, "replace or remove the file")

    def of(self, where: str) -> ImageError:
        """The error that names the file."""
        message = f"cannot be decoded: {self.what}"
        if self.detail:
            message += f": {self.detail}"
        return ImageError(Problem(where, message, self.hint, kind=self.kind, detail=self.detail))
