"""All that tlcli prints: results on stdout, notes, errors and progress on stderr."""

from __future__ import annotations

import errno
import io
import json
import os
import shlex
import sys
import time
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from tlcli.errors import Problem
from tlcli.system import streams

_quiet = False

# The bars on the screen, innermost last. tqdm is imported where a bar begins: it takes a tenth of a
# second, and most commands show none.
_bars: list[Any] = []

#: Seconds between two progress lines where stderr is not a terminal.
PLAIN_INTERVAL = 15.0

# Categories of characters that could steer a terminal: control, format and surrogate characters,
# line and paragraph separators.
_STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")


def configure(*, quiet: bool) -> None:
    """Turn notes and progress off (`--quiet`); warnings, errors and results stay."""
    global _quiet
    _quiet = quiet
    # A character that the terminal's encoding lacks is shown as an escape, and is no error.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """`text` with everything that could steer a terminal written as an escape.

    Control characters, exotic line ends and the marks that reorder bidirectional text come out as
    `\\x1b` or `\\u202e`; plain line ends stay, since callers compose lines.
    """
    return "".join(
        character
        if character == "\n" or unicodedata.category(character) not in _STEERING
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def one_line(text: str) -> str:
    """`printable` for what has to stay on one line: line ends are escaped, too."""
    return printable(text).replace("\n", "\\n")


def result(text: str = "") -> None:
    """Print a result on stdout; once nobody reads it, nothing happens."""
    _write_result(printable(text))


def result_json(value: Any, *, lines: bool = False) -> None:
    """Print a result as JSON: indented, or on one line for `jsonl`."""
    _write_result(json.dumps(value, indent=None if lines else 2, allow_nan=False))


def _write_result(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        streams.discard(sys.stdout)
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error


def note(text: str = "") -> None:
    """Tell the user something on stderr, unless `--quiet`."""
    if not _quiet:
        _write_line(text)


def next_step(*words: object) -> None:
    """Name the command that a user would give next, ready to be copied; on stderr."""
    note(f"next: {shlex.join(map(str, words))}")


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
            print(f"\r{' ' * _width(text)}\r", end="", file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Tell the user something on stderr that `--quiet` does not silence."""
    _write_line(f"warning: {text}")


def error(text: str) -> None:
    """Print an error on stderr, one line for each problem."""
    for line in text.split("\n"):
        _write_line(f"error: {line}")


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


def _write_line(text: str) -> None:
    """Write a line on stderr, above a bar if there is one."""
    try:
        if _bars:
            _bars[-1].write(printable(text), file=sys.stderr)
        else:
            print(printable(text), file=sys.stderr, flush=True)
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


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows under headers, columns aligned: numbers to the right, text to the left."""
    cells = [[one_line(str(value)) for value in row] for row in rows]
    widths = [
        max([_width(header)] + [_width(row[column]) for row in cells])
        for column, header in enumerate(headers)
    ]
    right = [
        bool(rows)
        and all(
            isinstance(row[column], int | float) or _numeric(cells_row[column])
            for row, cells_row in zip(rows, cells, strict=True)
        )
        for column in range(len(headers))
    ]

    def line(values: Sequence[str]) -> str:
        padded = [
            " " * (width - _width(value)) + value
            if to_right
            else value + " " * (width - _width(value))
            for value, width, to_right in zip(values, widths, right, strict=True)
        ]
        return "  ".join(padded).rstrip()

    return "\n".join([line(headers), line(["-" * width for width in widths]), *map(line, cells)])


def _numeric(cell: str) -> bool:
    return bool(cell) and cell.replace(",", "").replace(".", "").lstrip("-+").isdigit()


def _width(text: str) -> int:
    """Terminal columns that `text` takes: wide East Asian characters take two."""
    return sum(
        0
        if unicodedata.combining(character)
        else 2
        if unicodedata.east_asian_width(character) in "WF"
        else 1
        for character in text
    )


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
