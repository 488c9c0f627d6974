"""The nearest training photos of one photo and of 64, beside a plain product with all rows.

    python benchmarks/neighbours.py --photos cats_dogs --weights FILE [--rows 16384 100000]

Rows are the means at the top of VGG16 of the training photos of cats_dogs, and of pairs of them in
a random proportion, as many as are asked for; the photos to compare are those of val and test.

`open` is what a process does once with the float16 rows of a run's file. The plain side converts
them as NumPy does. Milliseconds of the processor, of one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from harness import Bench, Measured, parser, spread
from threadpoolctl import threadpool_limits

from tlcli.networks.nearest import Nearest, NearestRows, normalise

Array = npt.NDArray[Any]

#: Neighbours that are asked for, and photos that are compared one by one in a turn.
COUNT, PHOTOS = 5, 40


def main() -> None:
    """Measure and write the table."""
    options = parser(__doc__, rounds=5)
    options.add_argument("--photos", type=Path, required=True)
    options.add_argument("--weights", default="random")
    options.add_argument("--size", type=int, default=64)
    options.add_argument("--rows", nargs="+", type=int, default=[16_384, 100_000])
    options.add_argument("--cache", type=Path, default=Path("neighbours-cache"))
    arguments = options.parse_args()
    settings = {"rows": arguments.rows, "size": arguments.size}
    bench = Bench.open("neighbours", settings, arguments)
    features, photos = load(arguments)
    sides: dict[str, Callable[[], Measured]] = {}
    for number in arguments.rows:
        rows = normalise(mixed(features, number)).astype(np.float16)
        sides[f"{number:,} rows"] = lambda rows=rows: measure(NearestRows, rows, photos)
        sides[f"{number:,} rows, plain"] = lambda rows=rows: measure(PlainRows, rows, photos)
    with threadpool_limits(1):
        bench.run(sides, arguments.rounds)
    measures = ("open", "one", "most", "each of 64")
    lines = [[side, *(spread(bench.values(side, m), 1) for m in measures)] for side in sides]
    bench.notes.append(
        f"milliseconds of processor time; {COUNT} neighbours, {features.shape[1]} numbers in a row"
    )
    bench.report("Nearest rows", ["side", *measures], lines)


class PlainRows:
    """All rows in float32, each compared with."""

    def __init__(self, rows: Array) -> None:
        rows = rows.astype(np.float32)
        self._rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def search(self, features: Array, count: int) -> Nearest:
        """As `NearestRows.search`."""
        normalised = normalise(features)
        similar = normalised @ self._rows.T
        best = np.argpartition(-similar, count - 1, axis=1)[:, :count]
        far = np.linalg.norm(normalised[:, None] - self._rows[best], axis=2)
        order = np.argsort(far, axis=1)
        return Nearest(*(np.take_along_axis(each, order, axis=1) for each in (far, best)))


def measure(kind: Callable[[Array], Any], rows: Array, photos: Array) -> Measured:
    """Milliseconds to open rows, of one photo by itself (median and most), and of each of 64."""
    started = time.thread_time()
    opened = kind(rows)
    took = time.thread_time() - started
    opened.search(photos[:1], COUNT)
    single = []
    for position in range(PHOTOS):
        started = time.thread_time()
        opened.search(photos[position : position + 1], COUNT)
        single.append(time.thread_time() - started)
    started = time.thread_time()
    opened.search(photos[:64], COUNT)
    together = (time.thread_time() - started) / 64
    parts = {"open": took, "one": float(np.median(single)), "most": max(single)}
    parts["each of 64"] = together
    return {name: 1000 * seconds for name, seconds in parts.items()}


def mixed(features: Array, number: int) -> Array:
    """So many rows: the features, then pairs of them, (number, channels)."""
    random = np.random.default_rng(0)
    first, second = random.integers(0, len(features), (2, max(number - len(features), 0)))
    share = random.uniform(0.7, 1, (len(first), 1)).astype(np.float32)
    pairs = share * features[first] + (1 - share) * features[second]
    return np.concatenate([features, pairs])[:number]


def load(arguments: Any) -> tuple[Array, Array]:
    """Features of photos to be found, and of those to compare."""
    from suggest import load_features

    arrays = load_features(
        arguments.photos, arguments.size, arguments.weights, arguments.cache, ("val", "test")
    )
    return arrays[0], arrays[2]


if __name__ == "__main__":
    main()
