"""Large JPEG files to small pixels: tlcli against plain Pillow and TensorFlow, side by side.

    python benchmarks/decode.py --photos PHOTOS [--size 224] [--megapixels 12] [--rounds 5]

Some of the photos are enlarged to the given number of megapixels, with a little noise as of a
camera, and saved at quality 90. Each way then reads every file, decodes it and resizes it to
SIZE x SIZE pixels in one thread, by turns in one process, after a warm-up. Prints images/s, the
ratio of each pair of rounds, and how far the pixels are from plain Pillow's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image

from tlcli.data.folders import list_tree
from tlcli.images import decode

Pixels = np.ndarray[Any, Any]


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(arguments, Path(folder)), indent=2))


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run all ways by turns; rates in images/s."""
    paths = enlarge(arguments, folder)
    ways = {
        "tlcli": _tlcli,
        "pillow": _pillow,
        "tensorflow": _tensorflow(antialias=False),
        "tensorflow, antialiased": _tensorflow(antialias=True),
    }
    others = [name for name in ways if name != "tlcli"]
    rates: dict[str, list[float]] = {name: [] for name in ways}
    pixels: dict[str, list[Pixels]] = {}
    for turn in range(arguments.rounds + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            pixels[name] = [way(path, arguments.size) for path in paths]
            seconds = time.perf_counter() - started
            if turn:  # the first is the warm-up
                rates[name].append(len(paths) / seconds)
    return {
        "images": len(paths),
        "megapixels": arguments.megapixels,
        "size": arguments.size,
        "images_per_second": {name: _spread(values) for name, values in rates.items()},
        "tlcli_over": {
            name: _spread([a / b for a, b in zip(rates["tlcli"], rates[name], strict=True)])
            for name in others
        },
        "levels_from_pillow": {
            name: _differences(pixels[name], pixels["pillow"]) for name in ways if name != "pillow"
        },
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "processors": os.cpu_count(),
            "pillow": PIL.__version__,
        },
    }


def enlarge(arguments: argparse.Namespace, folder: Path) -> list[Path]:
    """Photos of the wanted number of pixels, 4 to 3, made of the largest ones there are."""
    paths = sorted(list_tree(arguments.photos).photos, key=lambda path: path.stat().st_size)
    height = round((arguments.megapixels * 1e6 * 3 / 4) ** 0.5)
    width = height * 4 // 3
    rng = np.random.default_rng(0)
    written = []
    for number, path in enumerate(paths[-arguments.images :]):
        large = decode.decode(path).resize((width, height), Image.Resampling.LANCZOS)
        noisy = np.asarray(large) + rng.normal(0, 6, (height, width, 3)).astype(np.float32)
        written.append(folder / f"{number}.jpg")
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(written[-1], quality=90)
    return written


def _tlcli(path: Path, size: int) -> Pixels:
    return decode.load_image(path, height=size, width=size, resize="squash")


def _pillow(path: Path, size: int) -> Pixels:
    with Image.open(path) as image:
        resized = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
        return np.array(resized)


def _tensorflow(*, antialias: bool) -> Callable[[Path, int], Pixels]:
    from tlcli.networks.framework import tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    def load(path: Path, size: int) -> Pixels:
        pixels = tf.io.decode_jpeg(tf.io.read_file(str(path)), channels=3)
        resized = tf.image.resize(pixels, (size, size), antialias=antialias)
        return np.asarray(tf.round(resized).numpy())

    return load


def _differences(decoded: list[Pixels], expected: list[Pixels]) -> dict[str, float]:
    levels = np.abs(np.stack(decoded).astype(float) - np.stack(expected))
    return {
        "mean": round(float(levels.mean()), 2),
        "999 of 1000": round(float(np.percentile(levels, 99.9)), 2),
        "largest": float(levels.max()),
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 2),
        "min": round(min(values), 2),
        "max": round(max(values), 2),
    }


if __name__ == "__main__":
    main()
