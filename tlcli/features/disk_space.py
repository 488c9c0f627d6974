"""Whether the disk has room for the rows of the store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from tlcli.errors import Problem
from tlcli.system import console, files

#: How a hint begins where the store takes too much.
LESS_SPACE = "use fewer augment.views, features.dtype=float16, augment.views=live"


def check_disk(folder: Path, needed: int) -> Iterator[Problem]:
    """Whether rows fit on the disk: an error where the whole of it would not hold them."""
    folder = files.nearest_existing(folder)
    usage = shutil.disk_usage(folder)
    hint = f"{LESS_SPACE} or --cache-dir"
    if needed > usage.total:
        disk = f"but the whole disk has {console.size(usage.total)}"
        yield Problem(str(folder), f"the store needs {console.size(needed)}, {disk}", hint)
    elif needed > usage.free:
        # A warning, since rows may be stored already; the extraction checks what is missing.
        free = f"but only {console.size(usage.free)} is free"
        message = f"the store may need {console.size(needed)}, {free}"
        yield Problem(str(folder), message, hint, "warning")
