"""The index of photos that nobody has labelled."""

from __future__ import annotations

from pathlib import Path

from tlcli.data import findings
from tlcli.data.dataset import Index, Item
from tlcli.data.hashing import Look, hash_files
from tlcli.data.named_photos import find_named_photos
from tlcli.errors import DataError, Problem


def index_unlabelled(folder: Path, look: Look | None = None) -> Index:
    """The photos of a folder, without labels: one class, and the test split, which has no views.

    Its notes say which files are passed over by their names; `look` is shown every file. Raises
    `DataError` where there are no photos, or where one cannot be read.
    """
    named = list(find_named_photos([folder]))
    problems = [problem for problem in named if isinstance(problem, Problem)]
    if errors := [problem for problem in problems if problem.severity == "error"]:
        raise DataError(errors)
    paths = sorted(path for path in named if isinstance(path, Path))
    digests, unread = hash_files(paths, look=look)
    if unread:
        raise DataError(findings.unreadable_lines(unread, folder))
    items = tuple(
        Item(str(path), 0, "test", digest) for path, digest in zip(paths, digests, strict=True)
    )
    return Index(folder, ("unlabelled",), items, notes=tuple(problems))
