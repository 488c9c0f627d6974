"""Composed augmentation against Keras' layers and its legacy generator, side by side.

    python benchmarks/augment.py --photos PHOTOS [--images 96] [--rounds 7]

Rotation, shifts, shear, zoom and mirroring at 224 px, from pixels in memory to pixels in memory, by
turns in one process after a warm-up: tlcli's views, a compiled stack of RandomRotation,
RandomTranslation, RandomShear, RandomZoom and RandomFlip in batches of 32, and the generator's
`random_transform` photo by photo. Then the share of augmentation in the time of `extract` with
VGG16 (random weights, which are as fast as others): the views alone, and the whole way from JPEG
files to committed rows. Prints images/s, and the ratios of every round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.data.folders import list_tree
from tlcli.data.hashing import hash_file
from tlcli.features import addresses, extraction
from tlcli.features.store import TrunkRows
from tlcli.images import augment, decode
from tlcli.images.loader import View
from tlcli.networks.bases import BASES
from tlcli.networks.framework import keras, tf
from tlcli.networks.network import build_network
from tlcli.recipe.augment import Augment
from tlcli.recipe.load import load_recipe

SIDE, BATCH, BOUNDARIES = 224, 32, ("block5_pool",)

GEOMETRY: dict[str, Any] = {
    "rotation_range": 20,
    "width_shift_range": 0.1,
    "height_shift_range": 0.1,
    "shear_range": 10,
    "zoom_range": 0.1,
    "horizontal_flip": True,
}
COLOURS = {"brightness_range": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.05}


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    paths = list_tree(arguments.photos).photos[: arguments.images]
    pixels = [decode.load_image(path, height=SIDE, width=SIDE, resize="squash") for path in paths]
    digests = [hash_file(path) for path in paths]
    rates = by_turns(contestants(np.stack(pixels), digests), len(paths), arguments.rounds)
    with tempfile.TemporaryDirectory() as folder:
        share = share_of_extract(paths, digests, np.stack(pixels), Path(folder), arguments.rounds)
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    result = {
        "images": len(paths),
        "images_per_second": {name: spread(values) for name, values in rates.items()},
        "tlcli_over_layers": spread(ratios(rates["tlcli"], rates["layers"])),
        "tlcli_over_legacy": spread(ratios(rates["tlcli"], rates["legacy"])),
        "share_of_extract": share,
        "machine": {**machine, "numpy": np.__version__, "keras": keras.__version__},
    }
    print(json.dumps(result, indent=2))


def contestants(pixels: Any, digests: list[str]) -> dict[str, Callable[[], Any]]:
    """What each has to do: one view of every photo."""
    numbers = [1] * len(pixels)

    def views(settings: Augment) -> Callable[[], Any]:
        def run() -> None:
            for start in range(0, len(pixels), BATCH):
                chosen = slice(start, start + BATCH)
                augment.make_views(settings, pixels[chosen], digests[chosen], numbers[chosen])

        return run

    as_float = pixels.astype(np.float32)
    layers = keras.layers
    stack = keras.Sequential(
        [
            layers.RandomRotation(20 / 360, fill_mode="nearest"),
            layers.RandomTranslation(0.1, 0.1, fill_mode="nearest"),
            layers.RandomShear(0.17, 0.0, fill_mode="nearest"),
            layers.RandomZoom(0.1, 0.1, fill_mode="nearest"),
            layers.RandomFlip("horizontal"),
        ]
    )
    compiled = tf.function(lambda x: stack(x, training=True))
    tensors = [tf.constant(as_float[i : i + BATCH]) for i in range(0, len(as_float), BATCH)]
    generator = keras.src.legacy.preprocessing.image.ImageDataGenerator(**GEOMETRY)
    return {
        "tlcli": views(Augment(**GEOMETRY)),
        "tlcli with colours": views(Augment(**GEOMETRY, **COLOURS)),
        "tlcli, preset strong": views(Augment(preset="strong")),
        "layers": lambda: [compiled(batch).numpy() for batch in tensors],
        "legacy": lambda: [generator.random_transform(photo) for photo in as_float],
    }


def by_turns(work: dict[str, Callable[[], Any]], count: int, rounds: int) -> dict[str, list[float]]:
    """Images/s of each in each round; the first round warms up and does not count."""
    rates: dict[str, list[float]] = {name: [] for name in work}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the generator calls a scipy namespace that is going away
        for turn in range(rounds + 1):
            for name, run in work.items():
                seconds = timed(run)
                if turn:
                    rates[name].append(count / seconds)
    return rates


def share_of_extract(
    paths: list[Path], digests: list[str], pixels: Any, folder: Path, rounds: int
) -> dict[str, float]:
    """Seconds of the views over the seconds of `extract` from files, round by round."""
    text = "data: {dir: .}\nbase: {name: VGG16, weights: random}\naugment: {views: 1, SETTINGS}\n"
    settings = json.dumps(GEOMETRY)[1:-1].replace('"', "")
    (folder / "bench.yaml").write_text(text.replace("SETTINGS", settings), encoding="utf-8")
    chosen = load_recipe(folder / "bench.yaml")
    network = build_network(BASES["VGG16"], (SIDE, SIDE), chosen.head, 2, seed=0)
    wanted = [View(str(path), key, 1) for path, key in zip(paths[:BATCH], digests, strict=False)]
    shares = []
    for turn in range(rounds + 1):
        store = folder / str(turn)
        store.mkdir()
        rows = {
            name: TrunkRows(
                folder / str(turn), addresses.trunk_address(network.row, chosen, name, checksum)
            )
            for name, checksum in network.checksums(BOUNDARIES).items()
        }
        whole = timed(lambda rows=rows: extraction.extract(network, chosen, wanted, rows))
        for opened in rows.values():
            opened.close()
        views = timed(
            lambda: augment.make_views(chosen.augment, pixels[:BATCH], digests[:BATCH], [1] * BATCH)
        )
        if turn:
            shares.append(views / whole)
    return spread(shares)


def timed(work: Callable[[], Any]) -> float:
    """Seconds that `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ratios(rates: list[float], others: list[float]) -> list[float]:
    """The ratio of each round."""
    return [rate / other for rate, other in zip(rates, others, strict=True)]


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }


if __name__ == "__main__":
    main()
