"""A file that cannot be opened for a while, as on a network drive that does not answer."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def blocking(path: Path) -> Iterator[None]:
    """Have every process that opens the file wait in the system until the block ends.

    A lease does that; the system breaks it after 45 seconds. Only Linux has leases.
    """
    fcntl = pytest.importorskip("fcntl")
    if not hasattr(fcntl, "F_SETLEASE"):
        pytest.skip("this system has no leases")
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # it says that somebody wants the file
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        yield
    except OSError as error:
        pytest.skip(f"this file system has no leases: {error}")
    finally:
        os.close(handle)
        signal.signal(signal.SIGIO, before)
