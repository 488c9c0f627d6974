"""Whether the disk has room for the rows of the store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from tlcli.errors import Problem, StoreError
from tlcli.system import console, files

_FEWER_BYTES = "use fewer augment.views, features.dtype=float16, augment.views=live"


def check_planned_rows(folder: Path, needed: int) -> Iterator[Problem]:
    """What stands in the way of `needed` bytes of rows in `folder`, if none is stored there yet.

    An error where the whole disk would not hold them, and a warning where its free space would not:
    rows may be stored already, and the extraction checks the missing ones.
    """
    folder = files.nearest_existing(folder)
    usage = shutil.disk_usage(folder)
    hint = f"{_FEWER_BYTES} or --cache-dir"
    if needed > usage.total:
        disk = f"but the whole disk has {console.size(usage.total)}"
        yield Problem(str(folder), f"the store needs {console.size(needed)}, {disk}", hint)
    elif needed > usage.free:
        message = f"the store may need {_more_than_free(needed, usage.free)}"
        yield Problem(str(folder), message, hint, "warning")


def check_missing_rows(folder: Path, needed: int) -> None:
    """Raise `StoreError` unless the disk of `folder` has `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        hint = f"{_FEWER_BYTES}, another disk (--cache-dir), or "
        hint += "make room with `tlcli cache prune`"
        message = f"the store needs {_more_than_free(needed, free)}"
        raise StoreError(Problem(str(folder), message, hint))


def _more_than_free(needed: int, free: int) -> str:
    return f"{console.size(needed)}, but only {console.size(free)} is free"
