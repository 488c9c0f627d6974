"""A training step above the boundary, beside TensorFlow's own, PyTorch's, and Keras' guide.

    python benchmarks/steps.py [--tails VGG16:block4_pool ResNet50:conv4_block6_out ...]
        [--precisions float32 mixed_bfloat16] [--size 150] [--batch 32] [--rounds 3]
        [--sides tlcli TensorFlow ...] [--torch PYTHON]

Sides take turns, each in a process of its own: the step of tlcli as it comes on this machine
(`tlcli`), with oneDNN turned on (`with oneDNN`), the same step as Keras and TensorFlow compute it
(`TensorFlow`), and the step of the whole Keras model with the same layers trainable, as Keras'
guide fine-tunes (`guide`). `torch` is PyTorch's step of the same layers, channels last, with its
fused Adam and, for mixed_bfloat16, its autocast; `--torch` names an interpreter with torchvision.
Random weights, rows in memory, Adam, frozen batch norm. Milliseconds of the clock and of the
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
PRECISIONS = ["float32", "mixed_bfloat16"]
#: What each side sets.
SIDES: dict[str, dict[str, str]] = {
    "tlcli": {},
    "with oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "1"},
    "TensorFlow": {},
    "guide": {},
    "torch": {},
}
#: Of which bases PyTorch has the same tail.
IN_TORCH = ("VGG16:block4_pool", "ResNet50:conv4_block6_out", "InceptionV3:mixed7")


def main() -> None:
    """Measure and write the table; or one side, in the process that was started for it."""
    options = parser(__doc__, rounds=3)
    options.add_argument("--tails", nargs="+", default=TAILS, metavar="BASE:BOUNDARY")
    options.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=["float32"])
    options.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    options.add_argument("--torch", metavar="PYTHON", help="an interpreter that has torchvision")
    options.add_argument("--size", type=int, default=150)
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--side", help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.side:
        make = {"guide": guide_step, "torch": torch_step, "TensorFlow": plain_step}
        step = make.get(arguments.side, tail_step)
        setting = (arguments.tails[0], arguments.size, arguments.batch, arguments.precisions[0])
        print(json.dumps(measure(step(*setting))))
        return
    settings = {"tails": arguments.tails, "size": arguments.size, "batch": arguments.batch}
    bench = Bench.open("steps", settings, arguments)

    def turn(tail: str, precision: str, side: str) -> Callable[[], Measured]:
        python = arguments.torch if side == "torch" else sys.executable
        command = [python, Path(__file__), "--side", side, "--tails", tail, "--precisions",
                   precision, "--size", str(arguments.size), "--batch",
                   str(arguments.batch)]  # fmt: skip
        return lambda: json.loads(child(command, **SIDES[side]).stdout.strip().split("\n")[-1])

    cases = [
        (tail, precision, side)
        for tail in arguments.tails
        for precision in arguments.precisions
        for side in arguments.sides
        if side != "torch" or (arguments.torch and tail in IN_TORCH)
    ]
    bench.run({", ".join(case): turn(*case) for case in cases}, arguments.rounds)
    rows = [row(bench, *case) for case in cases]
    headers = ["", "precision", "", "ms a step", "ms of the processor", "over tlcli"]
    bench.report("A training step", headers, rows)


def row(bench: Bench, tail: str, precision: str, side: str) -> list[str]:
    """A line of the table."""
    name = f"{tail}, {precision}, {side}"
    ratio = bench.ratio("processor ms", name, f"{tail}, {precision}, tlcli")
    times = [spread(bench.values(name, kind), 0) for kind in ("ms", "processor ms")]
    return [tail, precision, side, *times, str(ratio)]


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


def tail_step(tail: str, size: int, batch: int, precision: str) -> Callable[[], object]:
    """The step of tlcli: a stored row in, weights above the boundary updated."""
    from tlcli.networks.kernel_products import choose_products, fast_gradients
    from tlcli.system import files

    built = network, cut, _ = build(tail, size, precision)
    layers = network.layers_above(cut)
    products = choose_products(layers, batch, files.cache_folder())
    with fast_gradients(layers, products, wide_depthwise=True, pointwise=True):
        return compile_step(*built, batch, precision, fused=True)


def plain_step(tail: str, size: int, batch: int, precision: str) -> Callable[[], object]:
    """The same step as Keras and TensorFlow compute it."""
    return compile_step(*build(tail, size, precision), batch, precision, fused=False)


def compile_step(
    network: Any, cut: str, variables: list[Any], batch: int, precision: str, *, fused: bool
) -> Callable[[], object]:
    """A step that has been traced, on random rows and labels."""
    from tlcli.networks.framework import tf
    from tlcli.networks.logits import cross_entropy
    from tlcli.recipe.stage_settings import Optimizer
    from tlcli.training.optimizers import make_optimizer

    forward, head = network.training_tail(cut), network.head
    optimizer = make_optimizer(Optimizer(name="adam"), 1e-5, precision, fused=fused)
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
    step(x, labels)
    return lambda: step(x, labels).numpy()


def guide_step(tail: str, size: int, batch: int, precision: str) -> Callable[[], object]:
    """The step of the whole model in plain Keras, the layers up to the boundary frozen."""
    from tlcli.networks.framework import keras

    network, _, _ = build(tail, size, precision)
    network.whole.compile(keras.optimizers.Adam(1e-5), "binary_crossentropy")
    numbers = np.random.default_rng(0)
    x = numbers.uniform(0, 255, (batch, size, size, 3)).astype(np.float32)
    labels = numbers.integers(0, 2, (batch, 1)).astype(np.float32)
    return lambda: network.whole.train_on_batch(x, labels)


def torch_step(tail: str, size: int, batch: int, precision: str) -> Callable[[], object]:
    """PyTorch's step of the same layers."""
    import torch
    from torch import nn
    from torch_bases import freeze_batch_norm, row_shape, split_base

    torch.manual_seed(0)
    trunk, above, channels = split_base(tail.split(":")[0])
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 256), nn.ReLU()]
    net = nn.Sequential(*above, *head, nn.Dropout(0.5), nn.Linear(256, 1))
    x = torch.rand(batch, *row_shape(trunk, size)).to(memory_format=torch.channels_last)
    net = net.to(memory_format=torch.channels_last).requires_grad_(False).train()
    trained = freeze_batch_norm(net)
    for parameter in trained:
        parameter.requires_grad = True
    labels = torch.randint(2, (batch, 1)).float()
    optimizer = torch.optim.Adam(trained, 1e-5, fused=True)
    loss_of = nn.BCEWithLogitsLoss()

    def step() -> float:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision != "float32"):
            logits = net(x)
        loss = loss_of(logits.float(), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def build(tail: str, size: int, precision: str) -> tuple[Any, str, list[Any]]:
    """A network frozen up to a boundary, that boundary, and the variables that train."""
    from tlcli.networks.bases import BASES
    from tlcli.networks.network import build_network
    from tlcli.recipe.settings import Head

    name, cut = tail.split(":")
    network = build_network(BASES[name], (size, size), Head(), 2, seed=0, precision=precision)
    return network, cut, network.freeze(cut, batch_norm="frozen", first=None)


if __name__ == "__main__":
    main()
