"""Networks with random weights, in files as runs have them, for the tests of explanations."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from tlcli.images import decode
from tlcli.networks.bases import BASES
from tlcli.networks.framework import keras
from tlcli.networks.network import Network, build_network
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
    values = keras.Model(model.inputs[0], last.output).predict(pixels, verbose=0).astype(np.float64)
    kernel, bias = last.get_weights()
    scale = 1 / values.std(axis=0).mean()
    last.set_weights([kernel * scale, bias - values.mean(axis=0) * scale])
    return model


def noise(count: int, height: int, width: int) -> np.ndarray:
    """Random pixels, float32 0..255."""
    pixels = np.random.default_rng(0).uniform(0, 255, (count, height, width, 3))
    return pixels.astype(np.float32)
