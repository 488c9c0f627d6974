"""Every base in every format and precision: how far its answers are from Keras', size, speed.

    python benchmarks/exports.py --photos PHOTOS [--bases VGG16 ...] [--count 64] [--rounds 1]

Weights are random. A network of such answers all photos alike to many digits, and so would a file
that is wrong; so its batch norm takes the statistics of the photos, as after training, and its last
layer is scaled until their logits have a spread of 1. Each base is a process of its own, in which
Keras and the files, read back by their own runtimes, take turns.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from harness import ROOT, Bench, Measured, child, parser

from tlcli.networks.bases import BASES

FORMATS = ("litert", "onnx", "savedmodel")
WEIGHTS = (None, "float16")

#: Classes of the head, photos in a batch, and turns of each network.
CLASSES, BATCH, TURNS = 5, 32, 5


def main() -> None:
    """Measure and write the table."""
    options = parser(__doc__, rounds=1)
    options.add_argument("--photos", type=Path, required=True)
    options.add_argument("--bases", nargs="+", default=list(BASES))
    options.add_argument("--count", type=int, default=64, help="photos that are answered [64]")
    arguments = options.parse_args()
    photos = arguments.photos.resolve()
    bench = Bench.open("exports", {"count": arguments.count, "classes": CLASSES}, arguments)
    sides: dict[str, Callable[[], Measured]] = {
        name: lambda name=name: measure_apart(name, photos, arguments.count)
        for name in arguments.bases
    }
    bench.run(sides, arguments.rounds)
    rows = [row(bench, name, form) for name in arguments.bases for form in FORMATS]
    headers = [
        "base, side", "format", "largest dp", "float16", "labels", "float16", "MB", "float16",
        "ms alone: Keras", "file", "float16", "ms of 32: Keras", "file", "float16",
    ]  # fmt: skip
    bench.report("Exports beside Keras", headers, rows)


def row(bench: Bench, name: str, form: str) -> list[str]:
    """A line of the table: each figure for float32, then for float16."""

    def pair(measure: str, digits: str) -> list[str]:
        keys = (key(form, weights, measure) for weights in WEIGHTS)
        return [f"{bench.median(name, given):{digits}}" for given in keys]

    return [
        f"{name}, {BASES[name].smallest_size} px", form,
        *pair("largest", ".1e"), *pair("changed", ".0f"), *pair("MB", ".1f"),
        f"{bench.median(name, 'keras 1'):.1f}", *pair("1", ".1f"),
        f"{bench.median(name, 'keras 32'):.1f}", *pair("32", ".1f"),
    ]  # fmt: skip


def key(form: str, weights: str | None, measure: str) -> str:
    """The name of a measurement."""
    return f"{form} {weights or 'float32'} {measure}"


def measure_apart(name: str, photos: Path, count: int) -> Measured:
    """The measurements of one base, in a process of their own."""
    command = [sys.executable, str(Path(__file__)), "--alone", name, str(photos), str(count)]
    lines: list[str] = child(command, cwd=ROOT).stdout.splitlines()
    measured: Measured = json.loads(lines[-1])
    return measured


def measure(name: str, photos: Path, count: int) -> Measured:
    """The same, in this process."""
    from tlcli.export.runtimes import open_exported
    from tlcli.export.writers import write_model
    from tlcli.networks.engine import KerasEngine
    from tlcli.networks.network import build_network
    from tlcli.recipe.settings import Head

    side = BASES[name].smallest_size
    pixels = load_pixels(photos, count, side)
    model = build_network(BASES[name], (side, side), Head(), CLASSES, seed=0).whole
    logits = model.layers[-1].input
    take_statistics(model, pixels)
    spread_logits(model, KerasEngine(model, logits).compute(pixels))
    engines = {"keras": KerasEngine(model, model.outputs[0])}
    expected = engines["keras"].compute(pixels)
    measured: Measured = {}
    with tempfile.TemporaryDirectory() as folder:
        for form in FORMATS:
            for weights in WEIGHTS:
                path = Path(folder) / key(form, weights, "file")
                started = time.perf_counter()
                write_model(form, weights, model, logits, None, path, resize="squash", texts={})
                measured[key(form, weights, "seconds")] = time.perf_counter() - started
                engine = engines[key(form, weights, "")] = open_exported(form, path, (side, side))
                given = engine.compute(pixels)
                measured |= {
                    key(form, weights, "largest"): float(np.abs(given - expected).max()),
                    key(form, weights, "changed"): float(
                        (given.argmax(axis=1) != expected.argmax(axis=1)).sum()
                    ),
                    key(form, weights, "MB"): size(path) / 1e6,
                }
        for side_name, batches in time_by_turns(engines, pixels).items():
            for batch, seconds in batches.items():
                measured[f"{side_name.strip()} {batch}"] = 1000 * statistics.median(seconds)
    return measured


def load_pixels(photos: Path, count: int, side: int) -> Any:
    """Pixels of some photos, float32 (n, side, side, 3), taken evenly from all of a folder."""
    from tlcli.images.decode import load_image

    paths = sorted(photos.rglob("*.jpg"))
    chosen = paths[:: max(1, len(paths) // count)][:count]
    images = [load_image(path, height=side, width=side, resize="squash") for path in chosen]
    return np.stack(images).astype(np.float32)


def take_statistics(model: Any, pixels: Any) -> None:
    """Set the statistics of batch norm to those of some photos."""
    from tlcli.networks.framework import keras

    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momentum = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    model(pixels, training=True)
    for layer, before in zip(norms, momentum, strict=True):
        layer.momentum = before


def spread_logits(model: Any, logits: Any) -> None:
    """Scale the last layer, whose logits for some photos are given, to a spread of 1."""
    last = model.get_layer("head_logits")
    kernel, bias = last.get_weights()
    centred = logits.astype(np.float64) - logits.mean(axis=0)
    scale = 1 / centred.std(axis=0)
    last.set_weights([kernel * scale, (bias - logits.mean(axis=0)) * scale])


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())


def time_by_turns(engines: dict[str, Any], pixels: Any) -> dict[str, dict[int, list[float]]]:
    """Seconds of each call of each network, for a photo alone and for a batch of 32."""
    times: dict[str, dict[int, list[float]]] = {name: {1: [], BATCH: []} for name in engines}
    for turn in range(TURNS + 1):
        for batch in (1, BATCH):
            rows = np.resize(pixels, (batch, *pixels.shape[1:]))
            for name, engine in engines.items():
                engine.compute(rows)  # the first call of a batch size prepares for it
                started = time.perf_counter()
                engine.compute(rows)
                if turn:
                    times[name][batch].append(time.perf_counter() - started)
    return times


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"]:
        print(json.dumps(measure(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))))
    else:
        main()
