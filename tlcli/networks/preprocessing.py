"""From raw pixels to those that a base expects, in layers that are part of the network."""

from __future__ import annotations

from typing import Any, Literal

#: The pixels that a base expects. `caffe`: BGR minus the ImageNet mean; `tf`: -1..1; `torch`:
#: standardised by channel; `unit`: 0..1; `raw`: 0..255, the network rescales by itself;
#: `efficientnet`: 0..255, with a correction that Keras builds into the network only if it loads
#: ImageNet weights itself.
PixelConvention = Literal["caffe", "tf", "torch", "unit", "raw", "efficientnet"]

# ImageNet's mean and standard deviation by channel (RGB, on 0..1), and its mean on 0..255 in the
# BGR order of caffe, with the digits that Keras uses.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CAFFE_MEAN = (103.939, 116.779, 123.68)


def preprocess(x: Any, convention: PixelConvention) -> Any:
    """Turn raw RGB pixels 0..255 into those of a convention.

    `x` and the result are float32 Keras tensors of the shape (n, h, w, 3). Only stock layers are
    used, so that a saved model loads with plain Keras in safe mode. They compute in float32 in
    every precision of the base.
    """
    from tlcli.networks.framework import keras

    if convention == "raw":
        return x
    if convention == "caffe":
        x = x[..., ::-1]
    scale, offset = _affine(convention)
    return keras.layers.Rescaling(scale, offset, dtype="float32", name="preprocess")(x)


def _affine(convention: PixelConvention) -> tuple[float | list[float], float | list[float]]:
    """The scale and offset that turn 0..255 into `convention`, for all channels or for each."""
    if convention == "caffe":
        return 1.0, [-mean for mean in _CAFFE_MEAN]
    if convention == "unit":
        return 1 / 255, 0.0
    if convention == "tf":
        return 1 / 127.5, -1.0
    channels = list(zip(_MEAN, _DEVIATION, strict=True))
    if convention == "torch":
        return [1 / (255 * d) for _, d in channels], [-m / d for m, d in channels]
    # EfficientNet's published weights have the deviation d where Keras' Normalization expects its
    # square, so Keras divides by sqrt(d) once more, but only in the graph that it builds for
    # `weights="imagenet"` (tensorflow issue 49930). This is the same correction in front of the
    # network: the p for which (p / 255 - m) / sqrt(d) = (x / 255 - m) / d.
    return [d**-0.5 for _, d in channels], [255 * m * (1 - d**-0.5) for m, d in channels]
