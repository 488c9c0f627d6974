"""What was measured of this machine, kept in the cache folder, so that it is measured once."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tlcli.system import console, files, locks
from tlcli.system.machine import bfloat16_units, gpu_names, processor_name, usable_processors
from tlcli.system.packages import installed_version

#: What was measured under each key, such as that of a machine, by name.
Speeds = dict[str, dict[str, float]]


def choose_clock() -> Callable[[], float]:
    """The clock, in seconds, by which two ways to compute are compared on this machine.

    It counts time of the processors that this process takes, so that other work on the machine does
    not decide: beside five busy processes the clock on the wall gave 0.8 to 2.4 where this one gave
    1.5 to 1.7. How well threads share the work is not seen. Windows counts the time of a process
    too coarsely, so there it is the clock on the wall.
    """
    return time.perf_counter if sys.platform == "win32" else time.process_time


def machine_key(*more: Any) -> str:
    """A hash of all that measured speeds depend on: processor, devices, TensorFlow, settings.

    `more` is what else the caller's depend on.
    """
    variables = {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(("ONEDNN_", "DNNL_", "TF_ENABLE_ONEDNN", "CUDA_VISIBLE"))
    }
    processors = processor_name(), usable_processors(), bfloat16_units()
    parts = *processors, gpu_names(), installed_version("tensorflow"), variables, *more
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def read_speeds(path: Path, parse: Callable[[Any], Speeds]) -> Speeds:
    """What `parse` makes of the JSON in a file; nothing of it where that is missing or damaged."""
    try:
        return parse(files.read_json(path))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def add_speeds(
    path: Path, parse: Callable[[Any], Speeds], key: str, measured: Mapping[str, float]
) -> dict[str, float]:
    """Add what was measured under a key to a file; returns what counts from now on.

    What another process has measured meanwhile stays and counts, so that all processes choose
    alike. Where the file cannot be written, a warning says so.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locks.lock_folder(path.parent, waiting="it writes down what it has measured"):
            speeds = read_speeds(path, parse)
            speeds[key] = {**measured, **speeds.get(key, {})}
            files.write_json(path, speeds)
            return speeds[key]
    except OSError as error:
        console.warn(f"{path}: cannot be written ({error}); the next command measures again")
        return {**measured}
