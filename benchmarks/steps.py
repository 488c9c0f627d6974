"""A training step above the boundary, with and without oneDNN, beside a step of Keras' guide.

    python benchmarks/steps.py [--tails VGG16:block4_pool ResNet50:conv4_block6_out ...]
        [--size 150] [--batch 32] [--rounds 3]

Sides take turns, each in a process of its own: the step of tlcli as it comes on this machine
(`tlcli`), with oneDNN turned on (`with oneDNN`), and the step of the whole Keras model with the
same layers trainable, as Keras' guide fine-tunes, on TensorFlow as it comes (`guide`). Random
weights, rows in memory, Adam, frozen batch norm, float32. Milliseconds of the clock and of the
processor; the fastest of four steps.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from harness import Bench, Measured, child, parser, spread

TAILS = [
    "VGG16:block4_pool", "ResNet50:conv4_block6_out", "InceptionV3:mixed7",
    "MobileNetV2:block_12_add", "EfficientNetV2B0:block5e_add", "SmallConvNet:pixels",
]  # fmt: skip
#: What each side sets.
SIDES: dict[str, dict[str, str]] = {
    "tlcli": {},
    "with oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "1"},
    "guide": {},
}


def main() -> None:
    """Measure and write the table; or one side, in the process that was started for it."""
    options = parser(__doc__, rounds=3)
    options.add_argument("--tails", nargs="+", default=TAILS, metavar="BASE:BOUNDARY")
    options.add_argument("--size", type=int, default=150)
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--side", help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.side:
        step = guide_step if arguments.side == "guide" else tail_step
        print(json.dumps(measure(step(arguments.tails[0], arguments.size, arguments.batch))))
        return
    settings = {"tails": arguments.tails, "size": arguments.size, "batch": arguments.batch}
    bench = Bench.open("steps", settings, arguments)

    def turn(tail: str, side: str) -> Callable[[], Measured]:
        command = [sys.executable, Path(__file__), "--side", side, "--tails", tail, "--size",
                   str(arguments.size), "--batch", str(arguments.batch)]  # fmt: skip
        return lambda: json.loads(child(command, **SIDES[side]).stdout)

    sides = {f"{tail}, {side}": turn(tail, side) for tail in arguments.tails for side in SIDES}
    bench.run(sides, arguments.rounds)
    rows = [
        [name, spread(bench.values(name, "ms"), 0), spread(bench.values(name, "processor ms"), 0),
         str(bench.ratio("processor ms", name, f"{name.split(',')[0]}, tlcli"))]
        for name in sides
    ]  # fmt: skip
    headers = ["", "ms a step", "ms of the processor", "over tlcli"]
    bench.report("A training step", headers, rows)


def measure(step: Callable[[], object]) -> Measured:
    """The fastest of four steps, after one that compiles."""
    step()
    clock, processor = [], []
    for _ in range(4):
        started = time.perf_counter(), time.process_time()
        step()
        clock.append(time.perf_counter() - started[0])
        processor.append(time.process_time() - started[1])
    return {"ms": 1e3 * min(clock), "processor ms": 1e3 * min(processor)}


def tail_step(tail: str, size: int, batch: int) -> Callable[[], object]:
    """The step of tlcli: a stored row in, weights above the boundary updated."""
    from tlcli.networks.conv_gradients import forward_convolutions
    from tlcli.networks.framework import keras, tf
    from tlcli.networks.logits import cross_entropy

    network, cut, variables = build(tail, size)
    forward, head = network.training_tail(cut), network.head
    optimizer = keras.optimizers.Adam(1e-5)
    optimizer.build(variables)

    @tf.function(autograph=False)
    def step(x: object, labels: object) -> object:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(cross_entropy(labels, head(forward(x), training=True), 0.0))
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    source = network.tail(cut).inputs[0]
    numbers = np.random.default_rng(0)
    x = tf.cast(numbers.random((batch, *source.shape[1:]), np.float32), source.dtype)
    labels = tf.constant(numbers.integers(0, 2, batch), tf.int32)
    with forward_convolutions(network.layers_above(cut)):
        step(x, labels)
    return lambda: step(x, labels).numpy()


def guide_step(tail: str, size: int, batch: int) -> Callable[[], object]:
    """The step of the whole model in plain Keras, the layers up to the boundary frozen."""
    from tlcli.networks.framework import keras

    network, _, _ = build(tail, size)
    network.whole.compile(keras.optimizers.Adam(1e-5), "binary_crossentropy")
    numbers = np.random.default_rng(0)
    x = numbers.uniform(0, 255, (batch, size, size, 3)).astype(np.float32)
    labels = numbers.integers(0, 2, (batch, 1)).astype(np.float32)
    return lambda: network.whole.train_on_batch(x, labels)


def build(tail: str, size: int) -> tuple[Any, str, list[Any]]:
    """A network frozen up to a boundary, that boundary, and the variables that train."""
    from tlcli.networks.bases import BASES
    from tlcli.networks.network import build_network
    from tlcli.recipe.settings import Head

    name, cut = tail.split(":")
    network = build_network(BASES[name], (size, size), Head(), 2, seed=0)
    return network, cut, network.freeze(cut, batch_norm="frozen", first=None)


if __name__ == "__main__":
    main()
