"""When something is killed: after some seconds, or once so many rows are in the store."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from stored_rows import count_rows

#: The most seconds that a command may take: what takes longer hangs.
PATIENCE = 240

#: Seconds between two looks at the store.
LOOK_SECONDS = 0.01

#: The share of the rows that are there at the first moment, and at the last one.
FIRST_SHARE, LAST_SHARE = 0.05, 0.95


@dataclass(frozen=True)
class Moment:
    """When something is killed.

    Attributes:
        seconds: from the beginning of the wait; None where rows decide.
        rows: that are in the store at least.
    """

    seconds: float | None = None
    rows: int | None = None

    def wait(self, store: Path, process: subprocess.Popen[str]) -> None:
        """Wait until the moment has come, or the process has ended.

        A process for which it does not come in time is killed, and the benchmark ends.
        """
        started = time.monotonic()
        while process.poll() is None and not self._has_come(store, time.monotonic() - started):
            if time.monotonic() - started > PATIENCE:
                process.kill()
                raise SystemExit(f"{self} has not come after {PATIENCE} s")
            time.sleep(LOOK_SECONDS)

    def _has_come(self, store: Path, seconds: float) -> bool:
        if self.seconds is not None:
            return seconds >= self.seconds
        return self.rows is not None and count_rows(store) >= self.rows


def row_moment(number: int, moments: int, rows: int) -> Moment:
    """One of several moments amid the rows, the first of which has the number 0."""
    share = number / (moments - 1) if moments > 1 else 0.5
    return Moment(rows=max(1, round(rows * (FIRST_SHARE + (LAST_SHARE - FIRST_SHARE) * share))))


def time_moment(number: int, moments: int, seconds: float) -> Moment:
    """The same of moments that divide the seconds which the whole work takes."""
    return Moment(seconds=seconds * (number + 0.5) / moments)
