"""The tensors of every base: their order, shapes and places in files, and a checksum over them.

`tensors.json` is written by `scripts/tensors.py`, so that a weights file can be recognised and read
without TensorFlow.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.networks.bases import PretrainedBase
from tlcli.networks.checksums import compute_checksums

#: The tensors of a base, float32, in the order of its layers and of each layer's variables.
Tensors = list[npt.NDArray[np.float32]]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class WeightedLayer:
    """A layer that has weights, at the top of a base or inside one of its Sequential layers.

    Attributes:
        name: of the layer of the base that it is, or that contains it.
        place: the group of a Keras 3 weights file that holds it, below `layers/`.
        shapes, variables: of its variables, in order: their shapes, and their names in Keras.
    """

    name: str
    place: str
    shapes: tuple[Shape, ...]
    variables: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The class in snake case: 'conv2d', 'batch_normalization', ..."""
        last = self.place.rpartition("/")[2]
        stem, _, number = last.rpartition("_")
        return stem if number.isdigit() else last

    @property
    def is_batch_norm(self) -> bool:
        """Whether its last tensor is a moving variance."""
        return self.kind == "batch_normalization"

    @property
    def paths(self) -> tuple[str, ...]:
        """Where Keras 3 keeps the variables in a weights file."""
        return tuple(f"layers/{self.place}/vars/{n}" for n in range(len(self.shapes)))


def weighted_layers(base: str) -> tuple[WeightedLayer, ...]:
    """The layers with weights of a base, bottom to top."""
    return _table()[base]


def tensor_shapes(base: str) -> list[Shape]:
    """The shapes of all tensors of a base, in order."""
    return [shape for layer in weighted_layers(base) for shape in layer.shapes]


def tensor_fingerprint(tensors: Iterable[npt.NDArray[Any]]) -> str:
    """Hex SHA-256 of tensors, the same for every form of file.

    Each tensor adds its shape as text, as in `(3, 3, 3, 64)`, and its values as little-endian
    float32, the last axis fastest.
    """
    digest = hashlib.sha256()
    for tensor in tensors:
        values = np.ascontiguousarray(tensor, dtype="<f4")
        digest.update(str(tensor.shape).encode())
        digest.update(values.reshape(-1).data)
    return digest.hexdigest()


def impossible_numbers(base: str, tensors: Iterable[npt.NDArray[Any]]) -> list[str]:
    """What no network that was trained has: a line for each tensor with such numbers.

    These are numbers that are not finite, a kernel (two axes or more) that is all of one value, and
    a variance below 0. Biases of 0 and scales of 1 are common.
    """
    remaining = iter(tensors)
    lines = []
    for layer in weighted_layers(base):
        for number, shape in enumerate(layer.shapes):
            values = next(remaining)
            # Both are NaN if one value is, and no copy is made.
            low, high = float(values.min()), float(values.max())
            what = ""
            if not math.isfinite(low - high):
                what = "numbers that are not finite"
            elif low == high and len(shape) > 1 and values.size > 1:
                what = f"one value alone, {low:g}"
            elif low < 0 and layer.is_batch_norm and number == len(layer.shapes) - 1:
                what = "a variance below 0"
            if what:
                size = " x ".join(map(str, shape))
                lines.append(f"tensor {number} ({size}) of layer {layer.name} holds {what}")
    return lines


def checksum_boundaries(row: PretrainedBase, tensors: Tensors) -> dict[str, str]:
    """What `networks.checksums` gives for every boundary of a network with these tensors."""
    values, named = iter(tensors), dict[str, list[tuple[str, npt.NDArray[Any]]]]()
    for layer in weighted_layers(row.name):
        named.setdefault(layer.name, []).extend((name, next(values)) for name in layer.variables)
    layers = ((name, named.get(name, [])) for name in row.layers)
    return compute_checksums(layers, [boundary.name for boundary in row.boundaries])


def is_chain(kernels: Sequence[Shape]) -> bool:
    """Whether each convolution takes as many channels as the one before it gives.

    Then the order of the kernels alone says which layer each belongs to.
    """
    return all(below[3] == above[2] for below, above in pairwise(kernels))


@cache
def _table() -> dict[str, tuple[WeightedLayer, ...]]:
    text = Path(__file__).with_name("tensors.json").read_text("utf-8")
    return {
        base: tuple(
            WeightedLayer(name, place, tuple(map(tuple, shapes)), tuple(variables))
            for name, place, shapes, variables in rows
        )
        for base, rows in json.loads(text).items()
    }
