"""Extraction by one process, by two and four shards, and by two workers of Ray, side by side.

    python benchmarks/shards.py --photos PHOTOS [--weights FILE] [--views 1] [--size 150]
        [--sides one "2 shards" ray]

All have the same processors, divided among their processes with `taskset`; `half` is one process
on half of them. A turn fills an empty store with the rows of VGG16 up to `block4_pool`; shards fill
one store side by side. `views/s` counts the time of the slowest process without its start, which
for Ray includes that of its workers; `wall s` is that of everything.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import Bench, Measured, child, parser, scratch, spread

SIDES = ("one", "half", "2 shards", "4 shards", "ray")

RECIPE = """
data: {{dir: '{photos}'}}
base: {{name: VGG16, weights: '{weights}', image_size: {size}}}
precision: float32
augment: {{views: {views}, rotation_range: 20}}
stages: [{{name: top, freeze_until: block4_pool, epochs: 1}}]
"""


def main() -> None:
    """Measure and write the table."""
    options = parser(__doc__, rounds=3)
    options.add_argument("--photos", type=Path, required=True)
    options.add_argument("--weights", default="random")
    options.add_argument("--views", type=int, default=1)
    options.add_argument("--size", type=int, default=150)
    options.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    arguments = options.parse_args()
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) < 2:
        raise SystemExit("one processor cannot be divided")
    settings = {"views": arguments.views, "pixels": arguments.size, "processors": len(processors)}
    with scratch() as folder:
        bench = Bench.open("shards", settings, arguments)
        make = sides(arguments, folder, processors)
        bench.run({side: make[side] for side in arguments.sides}, arguments.rounds)
    rows = []
    for side in arguments.sides:
        cells = [
            side,
            spread(bench.values(side, "views/s"), 1),
            spread(bench.values(side, "wall s")),
        ]
        is_compared = side != "one" and "one" in arguments.sides
        ratio = str(bench.ratio("views/s", side, "one")) if is_compared else ""
        rows.append([*cells, ratio])
    bench.report("Extraction in several processes", ["", "views/s", "wall s", "of one"], rows)
    if {"2 shards", "half"} <= {*arguments.sides}:
        ratio = bench.ratio("views/s", "2 shards", "half")
        print(f"two shards on all processors to one process on half of them: {ratio}")


def sides(
    arguments: argparse.Namespace, folder: Path, processors: Sequence[int]
) -> dict[str, Callable[[], Measured]]:
    """The ways to extract, each a function that measures one turn."""
    config = folder / "recipe.yaml"
    values = {"photos": arguments.photos.resolve(), "weights": arguments.weights}
    text = RECIPE.format(**values, size=arguments.size, views=arguments.views)
    config.write_text(text, encoding="utf-8")

    def measure(*processes: tuple[Sequence[int], Sequence[str]]) -> Measured:
        store = folder / "store"
        shutil.rmtree(store, ignore_errors=True)
        started = time.perf_counter()
        with ThreadPoolExecutor(len(processes)) as pool:
            done = [*pool.map(lambda each: extract(config, store, *each), processes)]
        seconds = time.perf_counter() - started
        views = sum(each["pixels"] for each in done)
        return {"views/s": views / max(each["seconds"] for each in done), "wall s": seconds}

    def shards(count: int) -> Measured:
        parts = [list(processors[number % len(processors) :: count]) for number in range(count)]
        return measure(
            *((part, ["--shard", f"{number}/{count}"]) for number, part in enumerate(parts, 1))
        )

    half = len(processors) // 2
    return {
        "one": lambda: measure((processors, [])),
        "half": lambda: measure((processors[:half], [])),
        "2 shards": lambda: shards(2),
        "4 shards": lambda: shards(4),
        "ray": lambda: measure((processors, ["--on", "ray", "--ray-workers", "2"])),
    }


def extract(config: Path, store: Path, processors: Sequence[int], words: Sequence[str]) -> dict:
    """One command on some processors; what it says with --json."""
    on = ["taskset", "-c", ",".join(map(str, processors))]
    command = [sys.executable, "-m", "tlcli", "extract", "--config", config, "--json"]
    threads = max(1, len(processors) // 2) if "ray" in words else len(processors)
    ran = child([*on, *command, "--cache-dir", store, *words], TF_NUM_INTRAOP_THREADS=str(threads))
    return dict(json.loads(ran.stdout))


if __name__ == "__main__":
    main()
