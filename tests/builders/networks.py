"""Networks with random weights, in files as runs have them, for the tests of explanations."""

from __future__ import annotations

import copy
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlcli.images import decode
from tlcli.networks import bases
from tlcli.networks.bases import BASES
from tlcli.networks.framework import keras
from tlcli.networks.network import Network, build_network
from tlcli.pretrained import tensors
from tlcli.recipe.settings import Head
from tlcli.runs import directory
from tlcli.system import files


def network(
    base: str = "VGG16",
    size: tuple[int, int] = (64, 64),
    classes: int = 3,
    precision: str = "float32",
) -> Network:
    """A base with random weights and a head with one hidden layer."""
    head = Head(hidden=(8,))
    return build_network(BASES[base], size, head, classes, seed=3, precision=precision)


def save(built: Network, path: Path, names: tuple[str, ...], resize: str = "squash") -> Path:
    """Write a network as the `model.keras` of a run; `names` are those of its classes."""
    card = {
        "tlcli": "0", "classes": list(names), "image_size": list(built.base.input.shape[1:3]),
        "resize": resize, "decoder": decode.DECODER_VERSION, "base": built.row.name,
    }  # fmt: skip
    built.whole.save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(directory.MODEL_CARD, files.json_text(card))
    return path


def stock_network(precision: str = "float32") -> keras.Model:
    """A small network of the kinds of layers that bases have, the last two as in a run."""
    layers = keras.layers
    keras.utils.set_random_seed(0)
    pixels = keras.Input((32, 32, 3), name="pixels")
    x = layers.Rescaling(1 / 127.5, -1)(pixels)
    for filters in (32, 64, 128):
        x = layers.Conv2D(filters, 3, 2, "same", use_bias=False, dtype=precision)(x)
        x = layers.ReLU(dtype=precision)(layers.BatchNormalization(dtype=precision)(x))
        x = layers.Conv2D(
            filters, 3, groups=filters, padding="same", activation="gelu", dtype=precision
        )(x)
    x = layers.GlobalAveragePooling2D(dtype=precision)(x)
    x = layers.Dense(3, name="head_logits")(x)
    return keras.Model(pixels, layers.Activation("softmax")(x))


def spread_logits(model: keras.Model, pixels: np.ndarray) -> keras.Model:
    """The same network with a last layer under which the logits of these photos differ by about 1.

    Those of random weights are alike to many digits, and so would be answers that are wrong.
    """
    last = model.get_layer("head_logits")
    values = keras.Model(model.inputs[0], last.output)(pixels).numpy().astype(np.float64)
    kernel, bias = last.get_weights()
    scale = 1 / values.std(axis=0).mean()
    last.set_weights([kernel * scale, bias - values.mean(axis=0) * scale])
    return model


def noise(count: int, height: int, width: int) -> np.ndarray:
    """Random pixels, float32 0..255."""
    pixels = np.random.default_rng(0).uniform(0, 255, (count, height, width, 3))
    return pixels.astype(np.float32)


#: The convolutions of each block of VGG16, and an eighth of the filters that it has in them.
THIN_BLOCKS = ((2, 8), (2, 16), (3, 32), (3, 64), (3, 64))


@contextmanager
def thin_vgg16() -> Iterator[None]:
    """VGG16 with an eighth of its filters, in Keras' applications and in the tables of bases.

    Layers, names and boundaries are those of VGG16, the weights are a 64th, and so is the work.
    Other processes than this one have VGG16 as it is.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.applications, "VGG16", _build_thin)
        tables = {**bases._measured(), "VGG16": _measure_thin()}
        patch.setattr(bases, "_measured", lambda: tables)
        layers = {**tensors._table(), "VGG16": _thin_layers()}
        patch.setattr(tensors, "_table", lambda: layers)
        _forget(BASES["VGG16"])
        try:
            yield
        finally:
            _forget(BASES["VGG16"])


def _build_thin(
    *,
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Any = None,
    input_shape: tuple[int, ...] | None = None,
    **others: Any,
) -> keras.Model:
    """Called as `keras.applications.VGG16`, for random weights and without the classifier."""
    assert not include_top and weights is None and not others
    layers = keras.layers
    pixels = keras.Input(input_shape) if input_tensor is None else input_tensor
    x = pixels
    for block, (convolutions, filters) in enumerate(THIN_BLOCKS, start=1):
        for number in range(1, convolutions + 1):
            name = f"block{block}_conv{number}"
            x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=name)(x)
        x = layers.MaxPooling2D(2, strides=2, name=f"block{block}_pool")(x)
    inputs = pixels if input_tensor is None else keras.utils.get_source_inputs(pixels)
    return keras.Model(inputs, x, name="vgg16")


@cache
def _measure_thin() -> dict[str, Any]:
    """The row of the thin network in the table of bases.

    It is reckoned, not built: a process that has computed cannot be forked any more.
    """
    table = copy.deepcopy(bases._measured()["VGG16"])
    channels, counts, filters = {"pixels": 3}, {}, 3
    for block, (convolutions, width) in enumerate(THIN_BLOCKS, start=1):
        for number in range(1, convolutions + 1):
            name = f"block{block}_conv{number}"
            counts[name], channels[name] = (9 * filters + 1) * width, width
            filters = width
        channels[f"block{block}_pool"] = width
    table["parameters"] = above = sum(counts.values())
    table["trainable"] = {name: [counts[name], 0] for name in table["trainable"]}
    for row in table["boundaries"]:
        above -= counts.get(row[0], 0)
        row[1], row[5:7] = channels[row[0]], [above, above]
    return table


@cache
def _thin_layers() -> tuple[tensors.WeightedLayer, ...]:
    """The tensors of the thin network, as files of its weights hold them."""
    filters = [3, *(width for count, width in THIN_BLOCKS for _ in range(count))]
    layers = tensors._table()["VGG16"]
    return tuple(
        replace(layer, shapes=((3, 3, below, width), (width,)))
        for layer, (below, width) in zip(layers, pairwise(filters), strict=True)
    )


def _forget(row: bases.PretrainedBase) -> None:
    """What a row of the table has kept of the numbers that it was made from."""
    for name in ("boundaries", "blocks"):
        vars(row).pop(name, None)
