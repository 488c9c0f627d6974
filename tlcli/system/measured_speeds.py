"""What was measured of this machine, kept in the cache folder, so that it is measured once."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tlcli.system import console, files, locks

#: What was measured under each key, such as that of a machine, by name.
Speeds = dict[str, dict[str, float]]


def choose_clock(*, on_gpu: bool) -> Callable[[], float]:
    """The clock, in seconds, by which two ways to compute are compared on this machine.

    It counts time of the processor that this process takes, so that other work on the machine does
    not decide: beside five busy processes the clock on the wall gave 0.8 to 2.4 where this one gave
    1.5 to 1.7. Time of a GPU is on the wall, and so is that of Windows, whose time of a process is
    too coarse.
    """
    return time.perf_counter if on_gpu or sys.platform == "win32" else time.process_time


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
