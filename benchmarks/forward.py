"""The forward pass of the bases against the matrix product of the same machine.

    python benchmarks/forward.py [--bases VGG16 ResNet50 InceptionV3] [--sizes 150 0]
        [--precisions float32 mixed_bfloat16] [--torch PYTHON] [--rounds 5]

A convolution is a matrix product in disguise, so the speed of a large one is the ceiling of every
forward pass in the same precision. By turns, in one process: TensorFlow's products of two
2,048 x 2,048 matrices, NumPy's, and a batch of images (`network.forward_batch`) through each base
with random weights; with `--torch`, VGG16 of torchvision in channels_last, in a process of its own.
A size of 0 is the base's own. Seconds are those of the clock; beside them stand the processor's,
which other work on the machine changes less.
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
from tlcli.networks.network import build_network, compile_forward, forward_batch
from tlcli.recipe.settings import Head
from tlcli.system.machine import bfloat16_units
from tlcli.training.work import work

SIDE = 2048

#: The numbers that are multiplied, by the precision of a base.
DTYPES = {"float32": "float32", "mixed_bfloat16": "bfloat16"}
#: The measure of arithmetic in a second of the processor.
PROCESSOR = "GFLOP in a second of the processor"

TORCH = """
import json, sys, time, torch, torchvision
net = torchvision.models.vgg16(weights=None).features.eval().to(memory_format=torch.channels_last)
count, side = map(int, sys.argv[1:])
x = torch.rand(count, 3, side, side).to(memory_format=torch.channels_last)
with torch.inference_mode():
    net(x)
    started = time.perf_counter(), time.process_time()
    net(x)
print(json.dumps([time.perf_counter() - started[0], time.process_time() - started[1]]))
"""


def main() -> None:
    """Measure and write the table."""
    options = parser(__doc__, rounds=5)
    options.add_argument("--bases", nargs="+", default=["VGG16", "ResNet50", "InceptionV3"])
    options.add_argument("--sizes", nargs="+", type=int, default=[150, 0])
    options.add_argument("--precisions", nargs="+", default=list(DTYPES), choices=list(DTYPES))
    options.add_argument("--torch", metavar="PYTHON", help="an interpreter that has torchvision")
    arguments = options.parse_args()
    settings = {
        "bases": arguments.bases, "sizes": arguments.sizes, "batch": forward_batch(),
        "precisions": arguments.precisions, "bfloat16 units": " ".join(bfloat16_units()) or "none",
    }  # fmt: skip
    bench = Bench.open("forward", settings, arguments)
    bench.notes.append("the share is that of the matrix product in the same precision")
    numpys = np.ones((SIDE, SIDE), np.float32)
    sides: dict[str, Callable[[], Measured]] = {"NumPy's product": product(numpys, np.matmul)}
    ceilings = {"NumPy's product": matrix_product("float32")}
    for precision in arguments.precisions:
        ceiling = matrix_product(precision)
        x = tf.cast(tf.random.normal((SIDE, SIDE)), DTYPES[precision])
        sides[ceiling], ceilings[ceiling] = product(x, tf.matmul), ceiling
        for name in arguments.bases:
            for size in arguments.sizes:
                size = size or BASES[name].native_size
                side = f"{name} at {size} px, {precision}"
                sides[side], ceilings[side] = base(name, size, precision), ceiling
    if arguments.torch:
        for size in arguments.sizes:
            size = size or BASES["VGG16"].native_size
            side = f"VGG16 at {size} px, PyTorch"
            sides[side] = lambda size=size: pytorch(Path(arguments.torch), size)
            ceilings[side] = matrix_product("float32")
    bench.run(sides, arguments.rounds)
    rows = [
        [side, spread(bench.values(side, "images/s"), 1), spread(bench.values(side, "GFLOP/s"), 0),
         *(share(bench, side, ceiling, measure) for measure in ("GFLOP/s", PROCESSOR))]
        for side, ceiling in ceilings.items()
    ]  # fmt: skip
    headers = ["", "images/s", "GFLOP/s", "of the matrix product", "in seconds of the processor"]
    bench.report("Forward pass against matrix product", headers, rows)


def matrix_product(precision: str) -> str:
    """The name of the side that is the ceiling in this precision."""
    return f"matrix product, {DTYPES[precision]}"


def share(bench: Bench, side: str, ceiling: str, measure: str) -> str:
    """How much of the ceiling a side reaches; a dash where that was not measured."""
    return str(bench.ratio(measure, side, ceiling)) if bench.values(ceiling, measure) else "-"


def timed(act: Callable[[], Any]) -> tuple[float, float]:
    """The seconds of an act: by the clock, and of the processor in all threads."""
    started = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - started[0], time.process_time() - started[1]


def speeds(multiply_adds: float, seconds: tuple[float, float], images: int = 0) -> Measured:
    """Arithmetic in a second of the clock and of the processor, and images in one of the clock."""
    rates = {"GFLOP/s": 2 * multiply_adds / seconds[0] / 1e9}
    rates[PROCESSOR] = 2 * multiply_adds / seconds[1] / 1e9
    return rates | ({"images/s": images / seconds[0]} if images else {})


def product(x: Any, multiply: Callable[[Any, Any], Any]) -> Callable[[], Measured]:
    """The speed of a matrix product, over four of them."""

    def measure() -> Measured:
        np.asarray(multiply(x, x))
        seconds = timed(lambda: [np.asarray(multiply(x, x)) for _ in range(4)])
        return speeds(4 * SIDE**3, seconds)

    return measure


def base(name: str, size: int, precision: str) -> Callable[[], Measured]:
    """The speed of a base's forward pass, compiled as `extract` compiles it."""
    row = BASES[name]
    network = build_network(row, (size, size), Head(), 2, seed=0, precision=precision)
    count = forward_batch()
    forward = compile_forward(network.trunk([row.top.name]), count)
    x = np.random.default_rng(0).uniform(0, 255, (count, size, size, 3)).astype(np.float32)
    forward(x)

    def measure() -> Measured:
        return of_batch(name, size, timed(lambda: forward(x)))

    return measure


def pytorch(python: Path, size: int) -> Measured:
    """The same of torchvision's VGG16."""
    out = child([python, "-c", TORCH, str(forward_batch()), str(size)]).stdout
    return of_batch("VGG16", size, tuple(json.loads(out)))


def of_batch(name: str, size: int, seconds: tuple[float, float]) -> Measured:
    """The speeds of a batch through a base that took so many seconds."""
    row, count = BASES[name], forward_batch()
    multiply_adds, _ = work(row, (size, size), None, row.top)
    return speeds(count * multiply_adds, seconds, count)


if __name__ == "__main__":
    main()
