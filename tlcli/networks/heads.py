"""The head: the new classifier on the output of a base.

A head may standardise its pooled features. The layer that does is there while training only: it is
folded into the first dense layer, so that a saved model has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tlcli.networks.framework import keras

#: A Keras model or layer; Keras has no type hints that help.
Model = Any
Layer = Any
Array = npt.NDArray[Any]


class HeadSettings(Protocol):
    """The settings that a head is built from, as the recipe's `head` block has them.

    Attributes:
        pooling: avg, max or flatten.
        hidden: units of each hidden layer.
        dropout: the share of the last hidden layer that is left out in training.
        l2: the factor of the penalty on the squares of all kernels.
        normalize: whether the pooled features are standardised before the first dense layer.
    """

    @property
    def pooling(self) -> str: ...
    @property
    def hidden(self) -> Sequence[int]: ...
    @property
    def dropout(self) -> float: ...
    @property
    def l2(self) -> float: ...
    @property
    def normalize(self) -> bool: ...


#: The layers of a head, by their names; hidden ones count from 1. All but the first and the last
#: may be missing.
POOL, NORMALIZED, HIDDEN = "head_pool", "head_normalized", "head_dense_{}"
DROPOUT, LOGITS = "head_dropout", "head_logits"


def build_head(shape: Sequence[int], head: HeadSettings, classes: int, *, seed: int) -> Model:
    """The head that `build_network` puts on a base with an output of this shape, by itself."""
    top = keras.Input(shape)
    logits = add_head(top, head, classes, seed=seed)
    return keras.Model(top, logits, name="head")


def add_head(top: Any, head: HeadSettings, classes: int, *, seed: int) -> Any:
    """The logits of a new head on a tensor, the output of a base; its weights follow from `seed`.

    The features are as they are until `set_moments` has been told how they are spread.
    """
    layers = keras.layers
    pooling = {
        "avg": layers.GlobalAveragePooling2D,
        "max": layers.GlobalMaxPooling2D,
        "flatten": layers.Flatten,
    }[head.pooling]
    x = pooling(name=POOL, dtype="float32")(top)
    if head.normalize:
        # Without scale and shift, and never in training mode: the mean and the spread that it has.
        x = layers.BatchNormalization(
            center=False, scale=False, epsilon=0.0, trainable=False, name=NORMALIZED,
            dtype="float32",
        )(x)  # fmt: skip
    # Each layer draws from a seed of its own: two with one seed would start alike.
    seeds = iter(np.random.SeedSequence(seed).generate_state(2 * len(head.hidden) + 2) // 2)

    def dense(units: int, name: str, **options: Any) -> Any:
        kernel = keras.initializers.GlorotUniform(seed=int(next(seeds)))
        penalty = keras.regularizers.L2(head.l2) if head.l2 else None
        return layers.Dense(
            units, name=name, kernel_initializer=kernel, kernel_regularizer=penalty, **options
        )

    for number, units in enumerate(head.hidden, start=1):
        x = dense(units, HIDDEN.format(number), activation="relu", dtype="float32")(x)
    if head.dropout:
        x = layers.Dropout(head.dropout, seed=int(next(seeds)), name=DROPOUT)(x)
    units = 1 if classes == 2 else classes
    return dense(units, LOGITS, dtype="float32")(x)


def set_moments(head: Model, mean: Array, variance: Array, *, trained: bool = False) -> None:
    """Have a head standardise its features by their mean and variance, each of shape (features,).

    A feature that does not vary is only centred. The first dense layer of a head that is `trained`
    already, on the features as they are, is changed so that the head computes the same.
    """
    layer = head.get_layer(NORMALIZED)
    variance = np.where(variance > 0, variance, 1.0)
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance)
    if trained:
        first = next(layer for layer in head.layers if isinstance(layer, keras.layers.Dense))
        kernel, bias = first.get_weights()
        values = (kernel * np.sqrt(variance)[:, None], bias + mean @ kernel)
        first.set_weights([np.asarray(value, np.float32) for value in values])


def copy_folded(head: Model, plain: Model) -> None:
    """Give `plain`, a head of the same shape that does not standardise, what `head` computes."""
    norm = head.get_layer(NORMALIZED)
    mean, variance = (
        np.asarray(w.numpy(), np.float64) for w in (norm.moving_mean, norm.moving_variance)
    )
    dense = [layer for layer in plain.layers if isinstance(layer, keras.layers.Dense)]
    for number, layer in enumerate(dense):
        kernel, bias = head.get_layer(layer.name).get_weights()
        if number == 0:
            scaled = kernel / np.sqrt(variance)[:, None]
            kernel, bias = scaled, bias - mean @ scaled
        layer.set_weights([np.asarray(w, np.float32) for w in (kernel, bias)])
    for layer in plain.layers:
        if layer.name == DROPOUT:
            layer.seed_generator.state.assign(head.get_layer(DROPOUT).seed_generator.state)
