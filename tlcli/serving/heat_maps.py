"""Heat maps on request, made by a process of its own.

They need TensorFlow, whose import holds up every other thread for seconds and takes hundreds of
megabytes. The process starts with the first request, and ends when nobody has asked for a while.
"""

from __future__ import annotations

import io
import multiprocessing
import signal
import sys
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from tlcli.errors import Problem, TlcliError
from tlcli.serving.refusals import Refusal, busy, photo_status
from tlcli.system import console

#: Seconds for a heat map, the import of TensorFlow included, and without requests until the end.
PATIENCE, IDLE = 120.0, 600.0

#: The longer side of a picture, in pixels.
SIDE = 640


class HeatRequest(NamedTuple):
    """A photo whose heat map is asked for.

    Attributes:
        model: the file.
        stamp: changes with the contents of that file.
        label: the class to explain; None for the likeliest.
    """

    model: Path
    stamp: int
    name: str
    content: bytes
    label: str | None


class HeatMaps:
    """The process that makes heat maps, one at a time; its methods are called in one thread."""

    def __init__(self) -> None:
        self._process: Any = None
        self._connection: Connection | None = None
        self._lock = Lock()

    def draw(self, request: HeatRequest) -> bytes:
        """A PNG of the photo under its heat.

        Raises `Refusal` where the photo or the model cannot be used, or it takes too long.
        """
        with self._lock:
            connection = self._started()
            try:
                connection.send(request)
                if not connection.poll(PATIENCE):
                    raise busy(f"the heat map took more than {PATIENCE:g} s", 10)
                answer = connection.recv()
            except (OSError, EOFError):
                self.close()
                raise busy("the process that makes heat maps has ended", 1) from None
            except Refusal:
                self.close()
                raise
        if isinstance(answer, Problem):
            raise Refusal(photo_status(answer), str(answer))
        return bytes(answer)

    def _started(self) -> Connection:
        if self._connection is None or not self._process.is_alive():
            # Not forked: locks of the threads here would stay locked there for ever.
            context = multiprocessing.get_context("spawn")
            self._connection, other = context.Pipe()
            self._process = context.Process(target=_draw_all, args=(other,), daemon=True)
            self._process.start()
            other.close()
        return self._connection

    def close(self) -> None:
        """End the process."""
        if self._connection is not None:
            self._connection.close()
            self._process.kill()
            self._process.join()
            self._connection = None


def can_explain() -> bool:
    """Whether TensorFlow is installed."""
    return find_spec("tensorflow") is not None


def _draw_all(connection: Connection) -> None:
    """What the process does: a picture, or a problem, for each request."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the server
    console.configure(quiet=True)  # on the terminal of the server
    explainers: dict[tuple[Path, int], Any] = {}
    while connection.poll(IDLE):
        try:
            request = connection.recv()
        except EOFError:
            break
        try:
            connection.send(_draw(request, explainers))
        except TlcliError as error:
            connection.send(error.problems[0])
    sys.exit()


def _draw(request: HeatRequest, explainers: dict[tuple[Path, int], Any]) -> bytes:
    from tlcli.explain.explain import Explainer, content_with_heat
    from tlcli.explain.explained_model import open_run

    key = (request.model, request.stamp)
    if key not in explainers:
        explainers.clear()  # one model at a time, since each takes as much as in training
        explainers[key] = Explainer(open_run(request.model))
    picture = content_with_heat(explainers[key], request.content, request.name, request.label, SIDE)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
