"""All that tlcli prints: results on stdout, notes, errors and progress on stderr.

A command line takes the terminal with `configure`. Until then tlcli is a library in somebody's
program, and writes nothing there: notes, warnings and errors go to the logger `tlcli`.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from tlcli.errors import Problem, with_both_slashes
from tlcli.system import streams, tones
from tlcli.system.plain_text import one_line as one_line
from tlcli.system.plain_text import printable as printable
from tlcli.system.plain_text import table as table
from tlcli.system.plain_text import width_of
from tlcli.system.tones import Tone

#: The name of the logger that gets what a command would print on stderr.
LOGGER = "tlcli"

_speaking = False  # whether the terminal is tlcli's to write to; see `configure`
_quiet = True  # no notes and no progress on it

# The bars on the screen, innermost last. tqdm is imported where a bar begins: it takes a tenth of a
# second, and most commands show none.
_bars: list[Any] = []

#: Seconds between two progress lines where stderr is not a terminal.
PLAIN_INTERVAL = 15.0


def configure(*, quiet: bool) -> None:
    """Take the terminal: errors and warnings are printed, and unless `quiet` notes and progress."""
    global _speaking, _quiet
    _speaking, _quiet = True, quiet
    # A character that the terminal's encoding lacks is shown as an escape, and is no error.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def release() -> None:
    """Leave the terminal alone, as before `configure`: what is said goes to the logger."""
    global _speaking, _quiet
    _speaking, _quiet = False, True


def result(text: str = "", tone: Tone | None = None) -> None:
    """Print a result on stdout; once nobody reads it, nothing happens."""
    _write_result(tones.paint(printable(text), tone, sys.stdout))


def result_json(value: Any, *, lines: bool = False) -> None:
    """Print a result as JSON: indented, or on one line for `jsonl`."""
    text = json.dumps(value, indent=None if lines else 2, allow_nan=False)
    _write_result(with_both_slashes(text))


def _write_result(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        streams.discard(sys.stdout)
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error


def note(text: str = "", tone: Tone | None = None) -> None:
    """Tell the user something on stderr, unless `--quiet`."""
    if not (_speaking and _quiet):
        _write_line(text, tone)


def next_step(*words: object) -> None:
    """Name the command that a user would give next, ready to be copied; on stderr."""
    note(f"next: {shlex.join(map(str, words))}", "next")


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Say on a terminal what the block is waiting for, on a line that goes with its end."""
    shown = not _quiet and not _bars and sys.stderr.isatty()
    if shown:
        print(text, end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if shown:
            print(f"\r{' ' * width_of(text)}\r", end="", file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Tell the user something on stderr that `--quiet` does not silence."""
    _write_line(text, "warning", label="warning:")


def error(text: str) -> None:
    """Print an error on stderr, one line for each problem."""
    for line in text.split("\n"):
        _write_line(line, "error", label="error:")


def print_problem(problem: Problem) -> None:
    """Print a problem on stderr: an error, a warning, or unless `--quiet` a note."""
    if problem.severity == "error":
        error(str(problem))
    elif problem.severity == "warning":
        warn(str(problem))
    else:
        note(f"note: {problem}")


def urgent(text: str) -> None:
    """Print a note from a signal handler, which may have interrupted the printing of another text.

    It is written without Python's buffers, which must not be entered twice.
    """
    if not _quiet:
        with suppress(OSError):
            os.write(2, f"\n{printable(text)}\n".encode())


def _log(text: str, tone: Tone | None) -> None:
    """Hand a text to whoever listens to the logger; one that nobody has set up prints nothing."""
    import logging  # commands do without it

    logger = logging.getLogger(LOGGER)
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    levels = {"warning": logging.WARNING, "error": logging.ERROR}
    if text.strip():
        logger.log(levels.get(tone or "", logging.INFO), "%s", text.strip("\n"))


def _write_line(text: str, tone: Tone | None = None, label: str = "") -> None:
    """Write a line on stderr, above a bar if there is one; of one with a label that is coloured."""
    shown = printable(text)
    if not _speaking:
        _log(shown, tone)
        return
    if label:
        shown = f"{tones.paint(label, tone, sys.stderr)} {shown}"
    else:
        shown = tones.paint(shown, tone, sys.stderr)
    try:
        if _bars:
            _bars[-1].write(shown, file=sys.stderr)
        else:
            print(shown, file=sys.stderr, flush=True)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        # The work goes on; where the terminal was closed (EIO), until its SIGHUP ends it.
        streams.discard(sys.stderr)


class Progress(Protocol):
    """The counter that `progress` yields."""

    def update(self, done: int) -> None:
        """Count `done` more units."""


class _Silent:
    def update(self, done: int) -> None:
        pass


class _Bar:
    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def update(self, done: int) -> None:
        self._bar.update(done)


class _Lines:
    """A plain line every `PLAIN_INTERVAL` seconds, for logs."""

    def __init__(self, total: int, label: str, unit: str) -> None:
        self._total, self._label, self._unit = total, label, unit
        self._done = 0
        self._started = self._last = time.monotonic()

    def update(self, done: int) -> None:
        self._done += done
        now = time.monotonic()
        if now - self._last < PLAIN_INTERVAL:
            return
        self._last = now
        rate = self._done / (now - self._started)
        left = duration((self._total - self._done) / rate) if rate else "?"
        share = 100 * self._done // max(self._total, 1)
        if self._unit == "bytes":
            so_far, speed = f"{size(self._done)} of {size(self._total)}", size(rate)
        else:
            so_far = f"{count(self._done)} of {count(self._total)} {self._unit}"
            speed = f"{rate:.1f} {self._unit}"
        note(f"{self._label}: {so_far} ({share}%), {speed}/s, {left} left")


@contextmanager
def progress(total: int, label: str, unit: str = "photos") -> Iterator[Progress]:
    """Show the progress of `total` units: a bar on a terminal, lines elsewhere, or nothing.

    The unit 'bytes' is shown as kB and MB.
    """
    if _quiet or total <= 0:
        yield _Silent()
    elif sys.stderr.isatty():
        from tqdm import tqdm

        in_bytes = unit == "bytes"
        shown = "B" if in_bytes else f" {unit}"
        with tqdm(
            total=total, desc=label, unit=shown, unit_scale=in_bytes, leave=False, smoothing=0.1
        ) as bar:
            _bars.append(bar)
            try:
                yield _Bar(bar)
            finally:
                _bars.remove(bar)
    else:
        yield _Lines(total, label, unit)


def count(number: int) -> str:
    """1400 -> '1,400'."""
    return f"{number:,}"


def counted(number: int, noun: str) -> str:
    """(1, 'photo') -> '1 photo'; (1400, 'photo') -> '1,400 photos'; class -> classes."""
    plural = noun + ("es" if noun.endswith(("s", "x", "tch", "sh")) else "s")
    return f"{number:,} {noun if number == 1 else plural}"


def size(number_of_bytes: float) -> str:
    """Bytes as people read them: 980 B, 1.4 MB, 2.1 GB (powers of 1,000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if number_of_bytes < 999.95:
            return f"{number_of_bytes:.0f} B" if unit == "B" else f"{number_of_bytes:.1f} {unit}"
        number_of_bytes /= 1000
    return f"{number_of_bytes:.1f} TB"


def duration(seconds: float) -> str:
    """Seconds as people read them: 0.4 s, 48 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
