"""What was measured of this machine, kept in the cache folder, so that it is measured once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tlcli.system import console, files

Speeds = TypeVar("Speeds")


def read_speeds(path: Path, parse: Callable[[Any], dict[str, Speeds]]) -> dict[str, Speeds]:
    """What `parse` makes of the JSON in a file; nothing of it where that is missing or damaged."""
    try:
        return parse(files.read_json(path))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def keep_speeds(path: Path, value: Any) -> None:
    """Write what was measured as JSON; where that cannot be, a warning says what follows."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(path, value)
    except OSError as error:
        console.warn(f"{path}: cannot be written ({error}); the next command measures again")
