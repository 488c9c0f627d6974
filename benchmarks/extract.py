"""`extract` on JPEG files against the bare forward pass on tensors in memory, side by side.

    python benchmarks/extract.py --photos PHOTOS --weights FILE [--images 320] [--rounds 5]

Both run VGG16 up to its top at 150 px with the same batch size in one process, by turns, after a
warm-up. `extract` reads, decodes and resizes every file, runs the network and commits rows of two
boundaries to an empty store. Prints images/s and the ratio of each pair of rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tlcli import dataset, features, images, split, weights
from tlcli.bases import BASES
from tlcli.framework import tf
from tlcli.photos import View
from tlcli.recipe import Recipe, load

BOUNDARIES = ("block4_pool", "block5_pool")


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(arguments, Path(folder)), indent=2))


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run both by turns; rates in images/s."""
    recipe = _recipe(arguments, folder)
    paths = list(dataset.find_images([arguments.photos]))[: arguments.images]
    views = [View(path, dataset.digest(path)) for path in paths]
    row = BASES[recipe.base.name]
    network = split.build(row, recipe.base.image_size, recipe.head, 2, seed=0)
    weights.load(network.base, network.row, weights.find(recipe))
    pixels = _pixels(recipe, paths)
    bare = features.forward(network.trunk(list(BOUNDARIES)))
    rates: dict[str, list[float]] = {"bare": [], "extract": []}
    for turn in range(arguments.rounds + 1):
        timed = {
            "bare": _timed(lambda: _run_bare(bare, pixels, features.BATCH_SIZE)),
            "extract": _timed(lambda t=turn: _run_extract(network, recipe, views, folder / str(t))),
        }
        if turn:  # the first is the warm-up
            for name, seconds in timed.items():
                rates[name].append(len(views) / seconds)
    ratios = [b / e for b, e in zip(rates["bare"], rates["extract"], strict=True)]
    return {
        "images": len(views),
        "images_per_second": {name: _spread(values) for name, values in rates.items()},
        "bare_over_extract": _spread(ratios),
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "processors": os.cpu_count(),
            "tensorflow": tf.__version__,
        },
    }


def _recipe(arguments: argparse.Namespace, folder: Path) -> Recipe:
    path = folder / "bench.yaml"
    path.write_text("data: {dir: .}\nbase: {name: VGG16, image_size: 150}\n", encoding="utf-8")
    return load(path, [f"base.weights={arguments.weights.absolute()}"])


def _pixels(recipe: Recipe, paths: list[Path]) -> Any:
    height, width = recipe.base.image_size
    loaded = [images.load(path, height=height, width=width, resize="squash") for path in paths]
    return np.stack(loaded).astype(np.float32)


def _run_bare(forward: Any, pixels: Any, size: int) -> None:
    for start in range(0, len(pixels), size):
        forward(pixels[start : start + size])


def _run_extract(network: Any, recipe: Recipe, views: list[View], folder: Path) -> None:
    folder.mkdir()
    rows = {
        name: features.open_rows(network, recipe, name, folder, weights=checksum)
        for name, checksum in network.checksums(BOUNDARIES).items()
    }
    features.extract(network, recipe, views, rows)
    for opened in rows.values():
        opened.close()


def _timed(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }


if __name__ == "__main__":
    main()
