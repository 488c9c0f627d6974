"""Counters and histograms of a server, in the text format of Prometheus (version 0.0.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from threading import Lock

#: The media type of the text.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Upper bounds of seconds, and of photos in a batch.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCHES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


class Counter:
    """A number that only grows, for every combination of labels."""

    kind = "counter"

    def __init__(self, name: str, text: str, *labels: str) -> None:
        self.name, self.text, self._labels = name, text, labels
        self._values: dict[tuple[str, ...], float] = {}
        self._lock = Lock()

    def add(self, *labels: str, amount: float = 1) -> None:
        """Count `amount` more."""
        with self._lock:
            self._values[labels] = self._values.get(labels, 0) + amount

    def lines(self) -> Iterator[str]:
        """The samples."""
        with self._lock:
            values = list(self._values.items())
        for labels, value in values:
            yield f"{self.name}{_label_text(zip(self._labels, labels, strict=True))} {value:g}"


class Gauge:
    """Numbers that are asked for when the text is made: pairs of label values and value."""

    kind = "gauge"

    def __init__(
        self, name: str, text: str, labels: tuple[str, ...],
        read: Callable[[], Iterable[tuple[tuple[str, ...], float]]],
    ) -> None:  # fmt: skip
        self.name, self.text, self._labels, self._read = name, text, labels, read

    def lines(self) -> Iterator[str]:
        """The samples."""
        for labels, value in self._read():
            yield f"{self.name}{_label_text(zip(self._labels, labels, strict=True))} {value:.10g}"


class Histogram:
    """How often values were at most so large, for every combination of labels."""

    kind = "histogram"

    def __init__(self, name: str, text: str, bounds: tuple[float, ...], *labels: str) -> None:
        self.name, self.text, self._bounds, self._labels = name, text, bounds, labels
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}
        self._lock = Lock()

    def observe(self, value: float, *labels: str) -> None:
        """Count one value."""
        with self._lock:
            counts = self._counts.setdefault(labels, [0] * (len(self._bounds) + 1))
            counts[bisect_left(self._bounds, value)] += 1
            self._sums[labels] = self._sums.get(labels, 0) + value

    def lines(self) -> Iterator[str]:
        """The samples: cumulative counts, then the sum and the count."""
        with self._lock:
            values = [(labels, list(counts), self._sums[labels])
                      for labels, counts in self._counts.items()]  # fmt: skip
        for labels, counts, total in values:
            pairs = list(zip(self._labels, labels, strict=True))
            below = 0
            for bound, count in zip((*self._bounds, float("inf")), counts, strict=True):
                below += count
                edge = "+Inf" if bound == float("inf") else f"{bound:g}"
                yield f"{self.name}_bucket{_label_text([*pairs, ('le', edge)])} {below}"
            yield f"{self.name}_sum{_label_text(pairs)} {total:.9g}"
            yield f"{self.name}_count{_label_text(pairs)} {below}"


class ServerMetrics:
    """All that a server counts."""

    def __init__(self) -> None:
        self.requests = Counter("tlcli_requests_total", "Requests answered.", "route", "status")
        self.request_seconds = Histogram(
            "tlcli_request_seconds", "Seconds from a request's head to its answer.", SECONDS,
            "route",
        )  # fmt: skip
        self.answers = Counter(
            "tlcli_answers_total", "Photos answered, by label.", "model", "label", "unsure"
        )
        self.unknown = Counter(
            "tlcli_unknown_total", "Photos that are like no training photo.", "model"
        )
        self.unreadable = Counter("tlcli_unreadable_total", "Photos that cannot be read.", "model")
        self.batches = Histogram(
            "tlcli_batch_photos", "Photos computed in one go.", BATCHES, "model"
        )
        self.compute_seconds = Histogram(
            "tlcli_compute_seconds", "Seconds of computing a batch.", SECONDS, "model"
        )
        self.swaps = Counter("tlcli_model_swaps_total", "Models put in another's place.", "model")
        self.failures = Counter(
            "tlcli_model_failures_total", "New models that could not be loaded.", "model"
        )
        self.gauges: list[Gauge] = []

    def text(self) -> str:
        """All samples, as Prometheus reads them."""
        everything: list[Counter | Gauge | Histogram] = [
            self.requests, self.request_seconds, self.answers, self.unknown, self.unreadable,
            self.batches,
            self.compute_seconds, self.swaps, self.failures, *self.gauges,
        ]  # fmt: skip
        lines = []
        for metric in everything:
            lines += [f"# HELP {metric.name} {metric.text}", f"# TYPE {metric.name} {metric.kind}"]
            lines += metric.lines()
        return "\n".join(lines) + "\n"


def _label_text(pairs: Iterable[tuple[str, str]]) -> str:
    text = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)
    return f"{{{text}}}" if text else ""


def _escaped(value: str) -> str:
    text = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return text.encode("utf-8", "backslashreplace").decode()
