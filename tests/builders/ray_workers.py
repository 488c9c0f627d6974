"""A worker of Ray that needs no TensorFlow: it adds numbers instead of computing features."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np

from tlcli.cluster.ray_worker import ComputedRows
from tlcli.errors import Problem
from tlcli.images.loader import View


class AddingWorker:
    """Has the interface of `RayWorker`; the row of a view is its number plus the weight.

    It is as slow as a worker that computes, so that it can be killed meanwhile.
    """

    def __init__(self) -> None:
        self._weight: float | None = None
        self._computing = threading.Lock()

    def prepare(self, weights: list[float]) -> list[Problem]:
        time.sleep(0.3)
        (self._weight,) = weights
        return []

    def compute(self, views: Sequence[View]) -> ComputedRows:
        assert self._weight is not None
        with self._computing:
            time.sleep(0.1)
        return ComputedRows(views, [np.array([view.number + self._weight for view in views])], {})


class WorkerThatEnds(AddingWorker):
    """Ends its process while it gets ready, as one without memory does."""

    def prepare(self, weights: list[float]) -> list[Problem]:
        import os

        os._exit(1)


class WorkerThatCannot(AddingWorker):
    """Is on a node that would compute other rows."""

    def prepare(self, weights: list[float]) -> list[Problem]:
        return [Problem("node", "its rows would differ")]


class WorkerThatEndsOnABatch(AddingWorker):
    """Ends its process in one of the batches, whoever computes it."""

    def compute(self, views: Sequence[View]) -> ComputedRows:
        import os

        if views[0].number == 10:
            os._exit(1)
        return super().compute(views)
