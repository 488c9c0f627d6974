"""What supports a class: Grad-CAM, Grad-CAM++ and integrated gradients.

All three look at the score of a class before softmax or sigmoid, where another class cannot take
the gradient away. The formulas are plain functions on arrays; `Probe` gets the arrays out of a
network.

- Grad-CAM: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
  Localization", ICCV 2017, equations 1 and 2.
- Grad-CAM++: Chattopadhay et al., "Grad-CAM++: Generalized Gradient-based Visual Explanations for
  Deep Convolutional Networks", WACV 2018, equations 5 and 19.
- Integrated gradients: Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks",
  ICML 2017, equation 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tlcli.explain.explained_model import ExplainedModel
from tlcli.networks.conv_gradients import forward_convolutions
from tlcli.networks.framework import keras, tf
from tlcli.networks.logits import class_scores, likeliest_class

Array = npt.NDArray[Any]
Method = Literal["grad-cam", "grad-cam++", "integrated-gradients"]

#: Points between each baseline and the photo, and photos or points in a batch.
STEPS, BATCH = 32, 16

#: Where integrated gradients start: black and white. From black alone, what is black in the photo
#: gets no attribution whatever it is (Sturmfels, Lundberg and Lee, "Visualizing the Impact of
#: Feature Attribution Baselines", Distill 2020).
BASELINES = (0.0, 255.0)


def grad_cam(activations: Array, gradients: Array) -> Array:
    """Grad-CAM maps, not negative, shape (n, h, w).

    Args:
        activations: of a layer, shape (n, h, w, channels).
        gradients: of the class score with respect to them, the same shape.
    """
    weights = gradients.mean(axis=(1, 2), keepdims=True)
    return np.asarray(np.maximum((weights * activations).sum(axis=-1), 0))


def grad_cam_plus_plus(activations: Array, gradients: Array) -> Array:
    """Grad-CAM++ maps up to a positive factor for each photo; arguments as of `grad_cam`.

    As in the paper the class score is exp(S), so that all its derivatives follow from the gradient
    of S. The factor exp(S) that they share is left out: it would overflow, and scales a map only.
    """
    squares, cubes = gradients**2, gradients**3
    denominator = 2 * squares + activations.sum(axis=(1, 2), keepdims=True) * cubes
    alphas = np.divide(squares, denominator, out=np.zeros_like(denominator), where=denominator != 0)
    weights = (alphas * np.maximum(gradients, 0)).sum(axis=(1, 2), keepdims=True)
    return np.asarray(np.maximum((weights * activations).sum(axis=-1), 0))


def integrated_gradients(
    pixels: Array, gradient: Callable[[Array], Array], *, steps: int = STEPS
) -> Array:
    """Attributions of one photo's values, shape (h, w, channels), averaged over `BASELINES`.

    Their sum is the score of the photo less the mean score of the baselines, up to the error of the
    sum that stands for the integral (the midpoint rule).

    Args:
        pixels: of the photo, shape (h, w, channels).
        gradient: pixels (n, h, w, channels) -> the gradients of the class score, the same shape.
        steps: points between each baseline and the photo.
    """
    total = np.zeros(pixels.shape, np.float64)
    shares = (np.arange(steps, dtype=np.float32) + 0.5) / steps
    for baseline in BASELINES:
        difference = pixels - np.float32(baseline)
        points = baseline + shares[:, None, None, None] * difference
        for start in range(0, steps, BATCH):
            total += difference * gradient(points[start : start + BATCH]).sum(
                axis=0, dtype=np.float64
            )
    return total / (steps * len(BASELINES))


def scale_to_one(maps: Array) -> Array:
    """Maps of shape (n, h, w), not negative, each divided by its greatest value: float32 0..1.

    A map of zeros stays as it is: nothing at that layer supports the class.
    """
    greatest = maps.max(axis=(1, 2), keepdims=True)
    return np.asarray(maps / np.where(greatest > 0, greatest, 1), dtype=np.float32)


#: In place of a class number: the likeliest class of that photo.
LIKELIEST = -1


@dataclass(frozen=True)
class LayerGradients:
    """Activations of a layer for n photos, and how the scores of their classes depend on them.

    Attributes:
        activations: of the layer, shape (n, h, w, channels).
        gradients: of each photo's class score with respect to them, the same shape.
        logits: of the network, as `ExplainedModel.logits`.
        numbers: the class of each photo whose score it is.
    """

    activations: Array
    gradients: Array
    logits: Array
    numbers: Array


class Probe:
    """Computes activations and gradients of a network with a classifier.

    Args:
        network: with `logits`.
        layer: one of `network.grids`.
    """

    def __init__(self, network: ExplainedModel, layer: str) -> None:
        pixels = network.model.inputs[0]
        inner = keras.Model(pixels, [network.grid(layer).output, network.logits])
        signature = [
            tf.TensorSpec([None, *pixels.shape[1:]], tf.float32),
            tf.TensorSpec([None], tf.int32),
        ]
        layers = network.model.layers

        @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
        def layer_gradients(pixels: Any, numbers: Any) -> Any:
            with forward_convolutions(layers), tf.GradientTape() as tape:
                tape.watch(pixels)  # frozen layers below the grid record nothing by themselves
                activations, logits = inner(pixels, training=False)
                numbers = tf.where(numbers == LIKELIEST, likeliest_class(logits), numbers)
                scores = class_scores(logits, numbers)
            gradients = tape.gradient(scores, activations)
            # What a network in bfloat16 gives is counted on in float32.
            maps = [tf.cast(values, tf.float32) for values in (activations, gradients)]
            return *maps, logits, numbers

        @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
        def pixel_gradients(pixels: Any, numbers: Any) -> Any:
            with forward_convolutions(layers), tf.GradientTape() as tape:
                tape.watch(pixels)
                scores = class_scores(inner(pixels, training=False)[1], numbers)
            return tape.gradient(scores, pixels)

        self._layer_gradients, self._pixel_gradients = layer_gradients, pixel_gradients

    def layer_gradients(self, pixels: Array, numbers: Array) -> LayerGradients:
        """Activations and gradients of the layer, for pixels (n, h, w, 3) and a class each."""
        pixels = tf.convert_to_tensor(pixels, tf.float32)
        values = self._layer_gradients(pixels, tf.constant(numbers, tf.int32))
        return LayerGradients(*(np.asarray(value) for value in values))

    def pixel_gradients(self, pixels: Array, numbers: Array) -> Array:
        """The gradients of those classes' scores with respect to the pixels."""
        pixels = tf.convert_to_tensor(pixels, tf.float32)
        return np.asarray(self._pixel_gradients(pixels, tf.constant(numbers, tf.int32)))


def heat_maps(
    probe: Probe, pixels: Array, numbers: Array, method: Method
) -> tuple[Array, LayerGradients]:
    """Heat maps 0..1, shape (n, h, w), of photos for a class each, and the gradients of the layer.

    Those of integrated gradients have the size of the pixels, the others that of the layer's grid.
    `numbers` may be `LIKELIEST`.
    """
    layer = probe.layer_gradients(pixels, numbers)
    if method == "integrated-gradients":
        return _integrated(probe, pixels, layer.numbers), layer
    formula = grad_cam if method == "grad-cam" else grad_cam_plus_plus
    return scale_to_one(formula(layer.activations, layer.gradients)), layer


def _integrated(probe: Probe, pixels: Array, numbers: Array) -> Array:
    """How much each pixel supports the class.

    Channels are added, negative sums count as 0, and the strongest half percent counts as full
    heat: otherwise a few pixels far above the rest would make all others look cold.
    """
    maps = []
    for photo, number in zip(pixels, numbers, strict=True):

        def gradient(points: Array, number: int = number) -> Array:
            return probe.pixel_gradients(points, np.full(len(points), number))

        heat = np.maximum(integrated_gradients(photo, gradient).sum(axis=-1), 0)
        ceiling = np.percentile(heat, 99.5)
        maps.append(np.minimum(heat, ceiling) if ceiling > 0 else heat)
    return scale_to_one(np.stack(maps))
