"""Count the arithmetic of the bases of the installed Keras and rewrite `tlcli/training/work.json`.

    python scripts/work.py            # all bases, two minutes
    python scripts/work.py VGG16      # print one, change nothing

For each base the file has one entry for each clean boundary, bottom to top, the pixels first: what
lies between it and the boundary before it, for one image of the base's native size, as
`[multiply_adds, depthwise_multiply_adds, values]`:

- `multiply_adds` of convolutions and dense layers, which run as matrix products;
- `depthwise_multiply_adds` of depthwise convolutions, which do not;
- `values`: activations that operations read and write. What TensorFlow fuses into the convolution
  before it (batch norm and activation functions) is not counted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from tlcli.networks.bases import BASES, PretrainedBase
from tlcli.networks.boundaries import PIXELS
from tlcli.networks.framework import keras

TABLE = Path(__file__).resolve().parents[1] / "tlcli" / "training" / "work.json"

Work = tuple[int, int, int]

_FUSED = (
    keras.layers.BatchNormalization,
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.Dropout,
    keras.layers.InputLayer,
)


def measure(base: PretrainedBase) -> list[Work]:
    """The work between the clean boundaries of a base, at its native size."""
    model = base.build_plain((base.native_size, base.native_size))
    ends = [boundary.name for boundary in base.boundaries if boundary.name != PIXELS]
    rows, counted = [(0, 0, 0)], [0, 0, 0]
    for operation in model.operations:
        for part in _parts(operation):
            counted = [a + b for a, b in zip(counted, part, strict=True)]
        if operation.name in ends:
            rows.append((counted[0], counted[1], counted[2]))
            counted = [0, 0, 0]
    assert len(rows) == 1 + len(ends), base.name
    return rows


def _parts(operation: Any) -> Iterator[Work]:
    """The work of one operation of a graph; of a nested model, of each of its layers."""
    if isinstance(operation, keras.Model):
        for layer in operation.layers:
            yield from _parts(layer)
        return
    layers = keras.layers
    output = operation.output
    first = output if not isinstance(output, list | tuple) else output[0]
    shape = tuple(side or 1 for side in first.shape[1:])
    matrix = depthwise = 0
    if isinstance(operation, layers.SeparableConv2D):
        middle = (*shape[:2], operation.depthwise_kernel.shape[2] * operation.depth_multiplier)
        depthwise = prod(middle) * prod(operation.kernel_size)
        matrix = prod(shape) * middle[2]
    elif isinstance(operation, layers.DepthwiseConv2D):
        depthwise = prod(shape) * prod(operation.kernel_size)
    elif isinstance(operation, layers.Conv2D):
        # A kernel has as many input channels as its group; many groups are depthwise by name only.
        each = prod(shape) * prod(operation.kernel.shape[:3])
        if operation.groups > 1:
            depthwise = each
        else:
            matrix = each
    elif isinstance(operation, layers.Dense):
        matrix = prod(shape) * operation.kernel.shape[0]
    if isinstance(operation, _FUSED):
        return
    inputs = operation.input if isinstance(operation.input, list | tuple) else [operation.input]
    values = prod(shape) + sum(prod(side or 1 for side in tensor.shape[1:]) for tensor in inputs)
    yield matrix, depthwise, values


def main(chosen: list[str]) -> None:
    """Count the bases named, or all of them into the table."""
    table = {}
    for name in chosen or BASES:
        print(name, file=sys.stderr, flush=True)
        table[name] = measure(BASES[name])
    rows = (f"{json.dumps(name)}: {json.dumps(work)}" for name, work in table.items())
    text = "{\n" + ",\n".join(rows) + "\n}\n"
    if chosen:
        print(text, end="")
    else:
        TABLE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
