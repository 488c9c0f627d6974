"""Small networks that are trained from scratch, to compare pretrained ones with.

They are those that lessons on convolutional networks begin with. None has published weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: A tensor of Keras, which has no type hints that help.
Tensor = Any


@dataclass(frozen=True)
class OwnHead:
    """The head that a network comes with, as the `head` block of a recipe has it."""

    pooling: str
    hidden: tuple[int, ...]
    dropout: float


def build_layers(name: str, x: Tensor) -> Tensor:
    """The layers of a network on a tensor of pixels 0..1, up to where its head begins."""
    return _BUILDERS[name](x)


def _cifar_convnet(x: Tensor) -> Tensor:
    """Three convolutions with two poolings between, for photos of 32 px."""
    for number, filters in enumerate((32, 64), start=1):
        x = _pool(_convolve(x, filters, f"conv{number}"), f"pool{number}")
    return _convolve(x, 64, "conv3")


def _lenet5(x: Tensor) -> Tensor:
    """LeCun et al., 1998, with rectifiers and maxima; padding lets photos of 28 px keep their size
    in the first convolution, which the paper has from images padded to 32."""
    x = _pool(_convolve(x, 6, "conv1", side=5, padding="same"), "pool1")
    return _pool(_convolve(x, 16, "conv2", side=5), "pool2")


def _small_convnet(x: Tensor) -> Tensor:
    """Four blocks of a convolution and a pooling, for cats and dogs at 150 px."""
    for number, filters in enumerate((32, 64, 128, 128), start=1):
        x = _pool(_convolve(x, filters, f"conv{number}"), f"pool{number}")
    return x


def _small_resnet(x: Tensor) -> Tensor:
    """Three residual blocks of 64 filters (He et al., 2016), with poolings between."""
    x = _normalized(x, "stem", rectify=True)
    for number in (1, 2, 3):
        name = f"block{number}"
        inner = _normalized(x, f"{name}_1", rectify=True)
        inner = _normalized(inner, f"{name}_2", rectify=False)
        x = _layers().Add(name=f"{name}_add")([x, inner])
        x = _layers().ReLU(name=f"{name}_out")(x)
        if number < 3:
            x = _pool(x, f"{name}_pool")
    return x


def _convolve(
    x: Tensor, filters: int, name: str, *, side: int = 3, padding: str = "valid"
) -> Tensor:
    layer = _layers().Conv2D(filters, side, padding=padding, activation="relu", name=name)
    return layer(x)


def _pool(x: Tensor, name: str) -> Tensor:
    return _layers().MaxPooling2D(2, name=name)(x)


def _normalized(x: Tensor, name: str, *, rectify: bool) -> Tensor:
    """A convolution of 64 filters that keeps the size, and batch norm."""
    x = _layers().Conv2D(64, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = _layers().BatchNormalization(name=f"{name}_bn")(x)
    return _layers().ReLU(name=f"{name}_relu")(x) if rectify else x


def _layers() -> Any:
    from tlcli.networks.framework import keras

    return keras.layers


_BUILDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "CifarConvNet": _cifar_convnet,
    "LeNet5": _lenet5,
    "SmallConvNet": _small_convnet,
    "SmallResNet": _small_resnet,
}
