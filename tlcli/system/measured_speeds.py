"""What was measured of this machine, kept in the cache folder, so that it is measured once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tlcli.system import console, files, locks

#: What was measured under each key, such as that of a machine, by name.
Speeds = dict[str, dict[str, float]]


def read_speeds(path: Path, parse: Callable[[Any], Speeds]) -> Speeds:
    """What `parse` makes of the JSON in a file; nothing of it where that is missing or damaged."""
    try:
        return parse(files.read_json(path))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def add_speeds(
    path: Path, parse: Callable[[Any], Speeds], key: str, measured: Mapping[str, float]
) -> None:
    """Add what was measured under a key to a file; where that cannot be, a warning says so.

    What another process has added meanwhile stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locks.lock_folder(path.parent, waiting="it writes down what it has measured"):
            speeds = read_speeds(path, parse)
            speeds[key] = {**speeds.get(key, {}), **measured}
            files.write_json(path, speeds)
    except OSError as error:
        console.warn(f"{path}: cannot be written ({error}); the next command measures again")
