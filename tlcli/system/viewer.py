"""Shows a file that was written for looking at, in the program that the system has for it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tlcli.system import console


def open_file(path: Path) -> None:
    """Open a file as a double click would; where that is impossible, a note says where it is."""
    if not has_display():
        console.note(f"--open: there is no display here; look at {path.absolute()}")
        return
    import click

    if click.launch(str(path.absolute())) != 0:
        console.note(f"--open: no program here opens it; look at {path.absolute()}")


def has_display() -> bool:
    """Whether a window can appear: always assumed on Windows and macOS, which do not tell."""
    if sys.platform in ("win32", "darwin", "cygwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
