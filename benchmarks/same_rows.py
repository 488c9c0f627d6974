"""Rows that several processes compute, compared with those of one, bit for bit.

    python benchmarks/same_rows.py --photos PHOTOS [--weights FILE] [--train 980] [--size 150]

One process fills a store with the rows of VGG16 at `block4_pool` and at its end. Then two shards
fill one store side by side, two shards fill a store each and `cache merge` joins them, four shards
fill one store, two workers of Ray do, and two workers on two nodes of a cluster on this machine.
`same` are the rows that have the bits of one process. Nothing is timed: sides share the processors.
The precision is named, since `auto` may be measured, and then each store decides by itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import Bench, Measured, absolute_weights, parser, scratch, some_photos, tlcli
from processes import two_nodes
from stored_rows import Rows, digests

SIDES = ("2 shards", "2 stores merged", "4 shards", "ray", "two nodes", "one thread")

RECIPE = """
data: {{dir: photos}}
base: {{name: VGG16, weights: '{weights}', image_size: {size}}}
precision: {precision}
augment: {{views: {views}, rotation_range: 20, zoom_range: 0.1, horizontal_flip: true}}
stages:
  - {{name: head}}
  - {{name: top, freeze_until: block4_pool}}
"""


def main() -> None:
    """Compare and write the table; ends with 1 where a row is missing or has other bits."""
    options = parser(__doc__, rounds=1)
    options.add_argument("--photos", type=Path, required=True)
    options.add_argument("--weights", default="random")
    options.add_argument("--train", type=int, default=980, help="training photos [980]")
    options.add_argument("--views", type=int, default=1)
    options.add_argument("--size", type=int, default=150)
    options.add_argument("--precision", default="mixed_bfloat16")
    options.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES[:-1])
    arguments = options.parse_args()
    settings = {name: getattr(arguments, name) for name in ("train", "views", "size", "precision")}
    with scratch() as folder:
        photos = some_photos(arguments.photos, folder / "photos", arguments.train)
        settings["photos"] = sum(photos.values())
        weights = absolute_weights(arguments.weights)
        text = RECIPE.format(**{**vars(arguments), "weights": weights})
        (folder / "recipe.yaml").write_text(text, encoding="utf-8")
        bench = Bench.open("same_rows", settings, arguments)
        sides = Comparison(folder).sides()
        bench.run({name: sides[name] for name in arguments.sides}, arguments.rounds)
    report(bench, arguments.sides)
    if any(done["same"] < done["rows"] for turn in bench.rounds for done in turn.values()):
        raise SystemExit("some rows are missing or differ")


def report(bench: Bench, sides: list[str]) -> None:
    """The table of all sides."""
    table = [
        [side, *(f"{bench.median(side, name):,.0f}" for name in ("rows", "same"))] for side in sides
    ]
    bench.report("Rows of several processes", ["", "rows of one process", "same bits"], table)


class Comparison:
    """The stores that are compared, in a folder with the photos and the recipe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._truth: Rows | None = None

    def sides(self) -> dict[str, Callable[[], Measured]]:
        """The ways to fill a store, each a function that compares it with that of one process."""
        on_ray = ["--on", "ray", "--ray-workers", "2"]
        fillers: dict[str, Callable[[], None]] = {
            "2 shards": lambda: self._shards("two", "two"),
            "2 stores merged": self._merge,
            "4 shards": lambda: self._shards(*["two"] * 4),
            "ray": lambda: self._extract("two", *on_ray),
            "two nodes": lambda: self._extract_on_nodes(on_ray),
            "one thread": lambda: self._extract("two", TF_NUM_INTRAOP_THREADS="1"),
        }
        return {name: lambda fill=fill: self._compare(fill) for name, fill in fillers.items()}

    def _compare(self, fill: Callable[[], None]) -> Measured:
        if self._truth is None:
            self._extract("one")
            self._truth = digests(self._folder / "one")
        for name in ("two", "part-1", "part-2"):
            shutil.rmtree(self._folder / name, ignore_errors=True)
        fill()
        stored, truth = digests(self._folder / "two"), self._truth
        if extra := stored.keys() - truth.keys():
            raise SystemExit(f"{len(extra)} rows that one process has not, such as {min(extra)}")
        same = sum(stored.get(key) == digest for key, digest in truth.items())
        return {"rows": len(truth), "same": same}

    def _shards(self, *caches: str) -> None:
        """As many shards as stores are named, side by side."""
        count = len(caches)
        with ThreadPoolExecutor(count) as pool:
            numbered = enumerate(caches, 1)
            [
                *pool.map(
                    lambda pair: self._extract(pair[1], "--shard", f"{pair[0]}/{count}"), numbered
                )
            ]

    def _merge(self) -> None:
        self._shards("part-1", "part-2")
        parts = [self._folder / "part-1", self._folder / "part-2"]
        tlcli("cache", "--cache-dir", self._folder / "two", "merge", *parts)

    def _extract_on_nodes(self, words: list[str]) -> None:
        with two_nodes() as cluster:
            self._extract("two", *words, "--ray-address", cluster.address)

    def _extract(self, cache: str, *words: str, **environ: str) -> None:
        recipe, store = self._folder / "recipe.yaml", self._folder / cache
        tlcli("extract", "--config", recipe, "--cache-dir", store, *words, **environ)


if __name__ == "__main__":
    main()
