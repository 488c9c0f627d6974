"""stdout and stderr where nobody reads them any more.

A reader that has enough, as in `tlcli runs | head -1`, is no error: what is written from then on is
discarded, and the command ends as it would have. Work that is done for its output alone asks
`reader_left` and stops.
"""

from __future__ import annotations

import os
import select
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

_reader_left = False


def reader_left() -> bool:
    """Whether nobody reads stdout any more."""
    return _reader_left


def discard(stream: TextIO) -> None:
    """Discard all further output of stdout or stderr, and of the other one if both are the same.

    The text in its buffer would fail again otherwise, at the latest when Python ends.
    """
    global _reader_left
    number = stream.fileno()
    both = [other for other in (1, 2) if _same_file(other, number)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for closed in both:
        os.dup2(nowhere, closed)
    os.close(nowhere)
    _reader_left = _reader_left or 1 in both


def discard_closed() -> bool:
    """Discard the output of every stream that is a pipe without a reader; whether there is one."""
    closed = [stream for stream in (sys.stdout, sys.stderr) if _has_no_reader(stream)]
    for stream in closed:
        discard(stream)
    return bool(closed)


def _has_no_reader(stream: TextIO | None) -> bool:
    if stream is None:
        return False
    poll = select.poll()
    poll.register(stream.fileno(), 0)  # these two events are always reported
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _same_file(first: int, second: int) -> bool:
    with suppress(OSError):  # one of them is not open at all
        return os.path.sameopenfile(first, second)
    return False


@contextmanager
def native_stderr_held_back() -> Iterator[None]:
    """Hold back what C++ code writes to file descriptor 2, and show it only after a failure.

    A signal is none: whoever stops a command needs no lines of a log.
    TensorFlow and LiteRT log whatever log level is set: TensorFlow before it is in force.
    """
    try:
        saved = os.dup(2)
    except OSError:  # started without a stderr
        yield
        return
    with tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            os.dup2(saved, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
