"""The exceptions that tlcli raises on purpose, and what they carry.

    TlcliError            anything a user can cause; the command line prints it and exits with 1
    ├── RecipeError       the recipe cannot be read or does not hold together
    ├── DataError         the labelled photos cannot be used as they are
    │   └── ImageError    one image file cannot be decoded
    ├── WeightsError      pretrained weights are missing, or are not the ones asked for
    ├── BoundaryError     a freeze boundary that does not cut the base cleanly
    ├── StoreError        the feature store cannot be read or written
    ├── RunError          a run directory is missing, incomplete or in the way
    └── RequirementError  a run is not as good as a script requires

An exception carries one or more problems, so that users see everything that is wrong at once.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]

#: What is wrong with a file, for code that decides by it, since the words of messages may change.
#: Empty for problems that no code needs to tell apart.
Kind = Literal[
    "", "truncated", "damaged", "unsupported", "no image", "too large", "no access", "no memory",
    "bad name", "changed",
]  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where it is, what is wrong, and what to do about it.

    Attributes:
        where: a place as users name it: a file and line, an option, a path; may be empty.
        message: what is wrong.
        hint: what to do about it, or empty.
        severity: an error stops the command; a warning and a note do not.
        kind: of an image file, the kind of damage.
        detail: the end of `message` that only one file has, if the rest of it is the same for all
            files with this damage.
    """

    where: str
    message: str
    hint: str = ""
    severity: Severity = "error"
    kind: Kind = field(default="", compare=False)
    detail: str = field(default="", compare=False)

    @property
    def general(self) -> str:
        """The message without its `detail`: the same for all files with this damage."""
        return self.message.removesuffix(f": {self.detail}") if self.detail else self.message

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        if self.hint:
            text += f"; {self.hint}"
        # A problem is one line, whatever a file name contains.
        return with_both_slashes(text).replace("\r", "\\r").replace("\n", "\\n")

    def as_dict(self) -> dict[str, str]:
        """The form printed by `--json`: severity, where, message, hint."""
        names = ("severity", "where", "message", "hint")
        return {name: with_both_slashes(getattr(self, name)) for name in names}


class TlcliError(Exception):
    """A failure with its problems, one line each."""

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        several = (problems,) if isinstance(problems, Problem) else problems
        self.problems: tuple[Problem, ...] = tuple(several)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class RecipeError(TlcliError):
    """The recipe cannot be read or does not hold together."""


class DataError(TlcliError):
    """The labelled photos cannot be used as they are."""


class ImageError(DataError):
    """One image file cannot be decoded."""


class WeightsError(TlcliError):
    """Pretrained weights are missing, or are not the ones asked for."""


class BoundaryError(TlcliError):
    """A freeze boundary that does not cut the base cleanly."""


class StoreError(TlcliError):
    """The feature store cannot be read or written."""


class RunError(TlcliError):
    """A run directory is missing, incomplete or in the way."""


class RequirementError(TlcliError):
    """A run is not as good as a script requires."""


# The stores of fsspec, and web addresses, as a `Path` shows them.
_ONE_SLASH = re.compile(
    r"(?<![\w.+-])(s3a?|r2|gc?s|az|abfss?|adl|oss|oci|hf|hdfs|webhdfs|memory|sftp|ssh|ftp|https?)"
    r":/(?=[^/\s])",
    re.IGNORECASE,
)


def with_both_slashes(text: str) -> str:
    """A text for people in which `s3:/bucket`, as a `Path` shows it, is `s3://bucket` again."""
    return _ONE_SLASH.sub(r"\1://", text) if ":/" in text else text


def nearest(name: str, allowed: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The allowed name that is most similar to `name`, or None if none is similar.

    Letter case is ignored: `resnet50` means `ResNet50`. `cutoff` is the least share of letters in
    common, as `difflib` counts them.
    """
    by_lower = {candidate.lower(): candidate for candidate in allowed}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[matches[0]] if matches else None


def suggestion(name: str, allowed: Sequence[str], *, most: int = 12) -> str:
    """A hint for an unknown name: the most similar allowed one, then at most `most` of all."""
    guess = nearest(name, allowed)
    listed = ", ".join(allowed[:most]) + (", ..." if len(allowed) > most else "")
    return f"did you mean '{guess}'? (allowed: {listed})" if guess else f"allowed: {listed}"


def reason(error: BaseException) -> str:
    """The message of another library's exception, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = " ".join(str(error).split())
    return text or type(error).__name__


#: Characters of a value that `brief` shows.
SHOWN = 60


def brief(value: Any) -> str:
    """A value for a message, as JSON or Python would write it, shortened to `SHOWN` characters."""
    # Shortened before it becomes text too, since any value of a recipe can be a megabyte long.
    cut = _cut(value)
    text = repr(cut) if isinstance(cut, str) else json.dumps(cut, default=str)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def _cut(value: Any) -> Any:
    """A part of a value that is at least as long as `SHOWN`, so that what is left out gets dots."""
    if isinstance(value, str):
        return value[:SHOWN]
    if isinstance(value, dict):
        return {key[:SHOWN]: _cut(entry) for key, entry in islice(value.items(), SHOWN)}
    if isinstance(value, list | tuple):
        return [_cut(entry) for entry in value[:SHOWN]]
    return value
