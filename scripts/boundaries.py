"""Measure the bases of the installed Keras and rewrite `tlcli/networks/boundaries.json`.

    python scripts/boundaries.py            # all bases, a few minutes
    python scripts/boundaries.py VGG16      # print one, change nothing

For each base the file holds

- `parameters`, `parameters_with_classifier`: weights without and with the ImageNet classifier, if
  it has one;
- `boundaries`, bottom to top, the pixels first, each `[name, channels, stride, offset, padding,
  parameters_above, trainable_above, batch_norm_above, folded]`, as in
  `tlcli.networks.boundaries.Boundary`;
- `trainable`: `[trainable weights, those of batch norm]` of each layer that has some;
- `dropout`: whether it has layers of dropout or stochastic depth, which draw in training mode;
- `momentum`: the highest one of its layers of batch norm; null without such layers;
- `layers`: the names of all layers in topological order, without the input;
- `classifier`: the names of the layers that the classifier adds.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import accumulate, product
from math import prod
from pathlib import Path
from typing import Any

from tlcli.networks.bases import BASES, PretrainedBase
from tlcli.networks.boundaries import PIXELS
from tlcli.networks.folding import find_folded
from tlcli.networks.framework import keras

TABLE = Path(__file__).resolve().parents[1] / "tlcli" / "networks" / "boundaries.json"

Pair = tuple[int, int]
#: Real builds that the shapes are checked against. Their sides are even at every level, odd at
#: every level (whichever way a network rounds when it halves them), and mixed.
BUILT: tuple[Pair, ...] = ((256, 257), (131, 125), (223, 299))
#: Padding by layer and by whether the side it pads is odd.
Pads = dict[tuple[str, int], int]
#: Stride, offset and padding of `tlcli.networks.boundaries.Boundary.shape`.
Formula = tuple[int, int, int]


def measure(base: PretrainedBase) -> dict[str, Any]:
    """What the table says about one base."""
    built = [_build(base, size) for size in BUILT]
    model = built[0]
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    layer_names = [layer.name for layer in layers]
    clean = set(clean_boundaries(model))
    shapes = _formulas(base, built, clean)
    *above, everything = _counts_above(layers)
    folded = find_folded(model)
    rows: list[list[Any]] = [[PIXELS, 3, 1, 0, 0, *everything, False]]
    rows += [
        [layer.name, layer.output.shape[-1], *shapes[layer.name], *counts, layer.name in folded]
        for layer, counts in zip(layers, above, strict=True)
        if layer.name in clean
    ]
    trainable = {
        layer.name: list(_counts(layer)[1:]) for layer in layers if layer.trainable_weights
    }
    parameters = model.count_params()
    with_classifier, classifier = _classifier(base, set(layer_names))
    return {
        "parameters": parameters,
        "parameters_with_classifier": with_classifier,
        "boundaries": rows,
        "trainable": trainable,
        # Keras counts the seeds of layers that draw as variables, not as weights.
        "dropout": any(len(layer.variables) > len(layer.weights) for layer in layers),
        "momentum": max(
            (layer.momentum for layer in layers if _is_batch_norm(layer)), default=None
        ),
        "layers": layer_names,
        "classifier": classifier,
    }


def _classifier(base: PretrainedBase, layers: set[str]) -> tuple[int | None, list[str]]:
    """The weights of the base with its ImageNet classifier, and the layers of that alone."""
    if not base.pretrained:
        return None, []
    keras.utils.clear_session(free_memory=False)
    whole = getattr(keras.applications, base.name)(weights=None, classes=1000)
    inputs = keras.layers.InputLayer
    above = [la for la in whole.layers if la.name not in layers and not isinstance(la, inputs)]
    return whole.count_params(), [layer.name for layer in above]


def clean_boundaries(model: Any) -> list[str]:
    """The layers that no path runs around, in topological order, without the input.

    With the operations of the graph in topological order, the one at position p is crossed by every
    path exactly if no edge (u, v) has u < p < v.
    """
    operations = model.operations
    position = {operation.name: place for place, operation in enumerate(operations)}
    furthest = -1
    names = []
    for place, operation in enumerate(operations):
        # `furthest` is the highest end of an edge that starts below this place.
        if furthest <= place and isinstance(operation, keras.layers.Layer) and place > 0:
            names.append(operation.name)
        ends = [position[node.operation.name] for node in operation._outbound_nodes]
        furthest = max([furthest, *ends])
    return names


def _build(base: PretrainedBase, size: Pair) -> Any:
    return base.build_plain(size)


Counts = tuple[int, int, int]


def _is_batch_norm(layer: Any) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization)


def _counts(layer: Any) -> Counts:
    """The weights of a layer: all, the trainable ones outside batch norm, and those in it."""
    inner = layer.layers if isinstance(layer, keras.Sequential) else [layer]
    trainable = {True: 0, False: 0}
    for part in inner:
        trainable[_is_batch_norm(part)] += sum(
            prod(weight.shape) for weight in part.trainable_weights
        )
    return layer.count_params(), trainable[False], trainable[True]


def _counts_above(layers: list[Any]) -> list[Counts]:
    """For each layer the `_counts` of those above it together; at the end those of all layers."""

    def add(left: Counts, right: Counts) -> Counts:
        return left[0] + right[0], left[1] + right[1], left[2] + right[2]

    above = list(accumulate(map(_counts, reversed(layers)), add, initial=(0, 0, 0)))[::-1]
    return [*above[1:], above[0]]


def _formulas(base: PretrainedBase, built: list[Any], clean: set[str]) -> dict[str, Formula]:
    """The formula of each clean boundary, fitted on a run of sizes, checked on many more."""
    pads = _pads(built)
    model = built[0]
    for size, real in zip(BUILT, built, strict=True):
        walked = _walk(model, pads, size)
        for layer in real.layers:
            assert walked[layer.name][1:3] == layer.output.shape[1:3], (base.name, layer.name, size)
    low = base.smallest_size
    run = {n: _walk(model, pads, (n, n)) for n in range(low, low + 64)}
    formulas = {name: _fit({n: sides[name][1] for n, sides in run.items()}) for name in clean}
    for n in range(low + 64, 420, 7):
        walked = _walk(model, pads, (n, n + 3))
        for name, formula in formulas.items():
            expected = (_apply(formula, n), _apply(formula, n + 3))
            assert walked[name][1:3] == expected, (base.name, name, n)
    return formulas


def _apply(formula: Formula, n: int) -> int:
    stride, offset, padding = formula
    return (2 if padding else 1) * ((n + offset) // stride) + padding


def _fit(sides: dict[int, int]) -> Formula:
    """(stride, offset, padding) that give each side from its n; the only such triple."""
    # Kernels of 3 and 5 pixels leave a padding of 1 and 3.
    for stride, padding in product((1, 2, 4, 8, 16, 32), (0, 1, 3)):
        # What (n + offset) // stride has to be: m with m * stride <= n + offset < (m + 1) * stride.
        halved = [divmod(side - padding, 2 if padding else 1) for side in sides.values()]
        least = max(m * stride - n for n, (m, _) in zip(sides, halved, strict=True))
        most = min(m * stride - n + stride - 1 for n, (m, _) in zip(sides, halved, strict=True))
        if least == most and not any(odd for _, odd in halved):
            return stride, least, padding
    raise ValueError(f"no formula explains {sides}")


def _pads(built: list[Any]) -> Pads:
    """What each padding layer adds to a side.

    Some networks pad by one less where the side is even, which Keras decides once, while building:
    a model built for one size gives wrong shapes at others unless this is undone.
    """
    pads: Pads = {}
    for model in built:
        for layer in model.layers:
            if isinstance(layer, keras.layers.ZeroPadding2D):
                for side, padding in zip(layer.input.shape[1:3], layer.padding, strict=True):
                    assert pads.setdefault((layer.name, side % 2), sum(padding)) == sum(padding)
    return pads


def _walk(model: Any, pads: Pads, size: Pair) -> dict[str, tuple[int, ...]]:
    """The output shape (1, h, w, channels) of every operation for images of `size`."""
    shapes: dict[str, tuple[int, ...]] = {}
    for operation in model.operations:
        (node,) = operation._inbound_nodes
        inputs = [shapes[parent.operation.name] for parent in node.parent_nodes]
        if not inputs:
            shape: tuple[int, ...] = (1, *size, 3)
        elif isinstance(operation, keras.layers.ZeroPadding2D):
            rows, columns = (side + pads[operation.name, side % 2] for side in inputs[0][1:3])
            shape = (1, rows, columns, inputs[0][3])
        elif isinstance(operation, keras.Sequential):
            shape = inputs[0]
            for layer in operation.layers:
                shape = layer.compute_output_shape(shape)
        else:
            try:
                shape = operation.compute_output_shape(inputs if len(inputs) > 1 else inputs[0])
            except (AttributeError, NotImplementedError):
                # Sums, scalings and random depth, which leave the shape alone, do not say so.
                shape = inputs[0]
        shapes[operation.name] = tuple(shape)
    return shapes


def lines(tables: dict[str, dict[str, Any]]) -> Iterator[str]:
    """The JSON text: a line for each boundary, so that differences can be read."""
    yield "{"
    for number, (name, table) in enumerate(tables.items()):
        yield f'"{name}": {{'
        for key, value in table.items():
            comma = "" if key == "classifier" else ","
            if key == "boundaries":
                yield '"boundaries": [\n' + ",\n".join(map(json.dumps, value)) + "\n]" + comma
            else:
                yield f'"{key}": {json.dumps(value)}{comma}'
        yield "}" if number == len(tables) - 1 else "},"
    yield "}"


def main(chosen: list[str]) -> None:
    """Measure the bases named, or all of them into the table."""
    tables = {}
    for name in chosen or BASES:
        print(name, file=sys.stderr, flush=True)
        tables[name] = measure(BASES[name])
    text = "\n".join(lines(tables)) + "\n"
    if chosen:
        print(text, end="")
    else:
        TABLE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
