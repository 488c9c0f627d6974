"""The forward pass of the bases against the matrix product of the same machine.

    python benchmarks/forward.py [--bases VGG16 ResNet50 InceptionV3] [--sizes 150 0]
        [--torch PYTHON] [--rounds 5]

A convolution is a matrix product in disguise, so the speed of a large one is the ceiling of every
forward pass. By turns, in one process: TensorFlow's and NumPy's product of two 2,048 x 2,048
matrices, and batches of 32 images through each base with random weights; with `--torch`, VGG16 of
torchvision in channels_last, in a process of its own. A size of 0 is the base's own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from harness import Bench, Measured, child, parser, spread

from tlcli.networks.bases import BASES
from tlcli.networks.framework import tf
from tlcli.networks.network import build_network, compile_forward
from tlcli.recipe.settings import Head
from tlcli.training import estimate

BATCH, SIDE = 32, 2048

TORCH = """
import json, sys, time, torch, torchvision
net = torchvision.models.vgg16(weights=None).features.eval().to(memory_format=torch.channels_last)
x = torch.rand(32, 3, int(sys.argv[1]), int(sys.argv[1])).to(memory_format=torch.channels_last)
with torch.inference_mode():
    net(x)
    started = time.perf_counter()
    net(x)
print(json.dumps(time.perf_counter() - started))
"""


def main() -> None:
    """Measure and write the table."""
    options = parser(__doc__, rounds=5)
    options.add_argument("--bases", nargs="+", default=["VGG16", "ResNet50", "InceptionV3"])
    options.add_argument("--sizes", nargs="+", type=int, default=[150, 0])
    options.add_argument("--torch", metavar="PYTHON", help="an interpreter that has torchvision")
    arguments = options.parse_args()
    settings = {"bases": arguments.bases, "sizes": arguments.sizes, "batch": BATCH}
    bench = Bench.open("forward", settings, arguments)
    sides: dict[str, Callable[[], Measured]] = {
        "matrix product": product(tf.random.normal((SIDE, SIDE)), tf.matmul),
        "NumPy's product": product(np.ones((SIDE, SIDE), np.float32), np.matmul),
    }
    for name in arguments.bases:
        for size in arguments.sizes:
            size = size or BASES[name].native_size
            sides[f"{name} at {size} px"] = base(name, size)
            if name == "VGG16" and arguments.torch:
                side = f"VGG16 at {size} px, PyTorch"
                sides[side] = lambda size=size: pytorch(Path(arguments.torch), size)
    bench.run(sides, arguments.rounds)
    rows = [
        [side, spread(bench.values(side, "images/s"), 1), spread(bench.values(side, "GFLOP/s"), 0),
         str(bench.ratio("GFLOP/s", side, "matrix product"))]
        for side in sides
    ]  # fmt: skip
    headers = ["", "images/s", "GFLOP/s", "of the matrix product"]
    bench.report("Forward pass against matrix product", headers, rows)


def product(x: Any, multiply: Callable[[Any, Any], Any]) -> Callable[[], Measured]:
    """The speed of a matrix product, over four of them."""

    def measure() -> Measured:
        np.asarray(multiply(x, x))
        started = time.perf_counter()
        for _ in range(4):
            np.asarray(multiply(x, x))
        seconds = time.perf_counter() - started
        return {"GFLOP/s": 4 * 2 * SIDE**3 / seconds / 1e9}

    return measure


def base(name: str, size: int) -> Callable[[], Measured]:
    """The speed of a base's forward pass, compiled as `extract` compiles it."""
    row = BASES[name]
    network = build_network(row, (size, size), Head(), 2, seed=0)
    forward = compile_forward(network.trunk([row.top.name]), BATCH)
    x = np.random.default_rng(0).uniform(0, 255, (BATCH, size, size, 3)).astype(np.float32)
    forward(x)

    def measure() -> Measured:
        started = time.perf_counter()
        forward(x)
        return speeds(name, size, time.perf_counter() - started)

    return measure


def pytorch(python: Path, size: int) -> Measured:
    """The same of torchvision's VGG16."""
    return speeds("VGG16", size, json.loads(child([python, "-c", TORCH, str(size)]).stdout))


def speeds(name: str, size: int, seconds: float) -> Measured:
    """Images and arithmetic in a second, of a batch that took `seconds`."""
    row = BASES[name]
    multiply_adds, _ = estimate.work(row, (size, size), None, row.top)
    return {"images/s": BATCH / seconds, "GFLOP/s": 2 * multiply_adds * BATCH / seconds / 1e9}


if __name__ == "__main__":
    main()
