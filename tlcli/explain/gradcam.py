"""What speaks for a class: Grad-CAM, Grad-CAM++ and integrated gradients.

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

#: Points on the way from each baseline to the photo, and photos or points in a batch.
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
    below = 2 * squares + activations.sum(axis=(1, 2), keepdims=True) * cubes
    alphas = np.divide(squares, below, out=np.zeros_like(below), where=below != 0)
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
        steps: on each way.
    """
    total = np.zeros(pixels.shape, np.float64)
    shares = (np.arange(steps, dtype=np.float32) + 0.5) / steps
    for baseline in BASELINES:
        way = pixels - np.float32(baseline)
        points = baseline + shares[:, None, None, None] * way
        for start in range(0, steps, BATCH):
            total += way * gradient(points[start : start + BATCH]).sum(axis=0, dtype=np.float64)
    return total / (steps * len(BASELINES))


def unit(maps: Array) -> Array:
    """Maps of shape (n, h, w), not negative, each divided by its greatest value: float32 0..1.

    A map of zeros stays one: nothing at that layer speaks for the class.
    """
    greatest = maps.max(axis=(1, 2), keepdims=True)
    return np.asarray(maps / np.where(greatest > 0, greatest, 1), dtype=np.float32)


#: In place of a class number: the likeliest class of that photo.
LIKELIEST = -1


@dataclass(frozen=True)
class Looked:
    """What a probe sees of n photos.

    Attributes:
        activations: of the layer, shape (n, h, w, channels).
        gradients: of each photo's class score with respect to them, the same shape.
        logits: as `Subject` has them.
        numbers: the class that each photo was looked at for.
    """

    activations: Array
    gradients: Array
    logits: Array
    numbers: Array


class Probe:
    """Activations and gradients of a subject with a classifier.

    Args:
        subject: the network.
        layer: one of `subject.grids`.
    """

    def __init__(self, subject: ExplainedModel, layer: str) -> None:
        pixels = subject.model.inputs[0]
        inner = keras.Model(pixels, [subject.grid(layer).output, subject.logits])
        signature = [
            tf.TensorSpec([None, *pixels.shape[1:]], tf.float32),
            tf.TensorSpec([None], tf.int32),
        ]
        layers = subject.model.layers

        @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
        def look(pixels: Any, numbers: Any) -> Any:
            with forward_convolutions(layers), tf.GradientTape() as tape:
                tape.watch(pixels)  # frozen layers below the grid record nothing by themselves
                activations, logits = inner(pixels, training=False)
                numbers = tf.where(numbers == LIKELIEST, likeliest_class(logits), numbers)
                scores = class_scores(logits, numbers)
            return activations, tape.gradient(scores, activations), logits, numbers

        @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
        def slope(pixels: Any, numbers: Any) -> Any:
            with forward_convolutions(layers), tf.GradientTape() as tape:
                tape.watch(pixels)
                scores = class_scores(inner(pixels, training=False)[1], numbers)
            return tape.gradient(scores, pixels)

        self._look, self._slope = look, slope

    def look(self, pixels: Array, numbers: Array) -> Looked:
        """Pixels (n, h, w, 3) and a class number for each photo -> what the layer says of them."""
        found = self._look(tf.convert_to_tensor(pixels, tf.float32), tf.constant(numbers, tf.int32))
        return Looked(*(np.asarray(value) for value in found))

    def slope(self, pixels: Array, numbers: Array) -> Array:
        """The gradients of those classes' scores with respect to the pixels."""
        pixels = tf.convert_to_tensor(pixels, tf.float32)
        return np.asarray(self._slope(pixels, tf.constant(numbers, tf.int32)))


def maps(probe: Probe, pixels: Array, numbers: Array, method: Method) -> tuple[Array, Looked]:
    """Heat maps 0..1, shape (n, h, w), of photos for a class each, and what the probe saw.

    Those of integrated gradients have the size of the pixels, the others that of the layer's grid.
    `numbers` may be `LIKELIEST`.
    """
    looked = probe.look(pixels, numbers)
    if method == "integrated-gradients":
        return _integrated(probe, pixels, looked.numbers), looked
    formula = grad_cam if method == "grad-cam" else grad_cam_plus_plus
    return unit(formula(looked.activations, looked.gradients)), looked


def _integrated(probe: Probe, pixels: Array, numbers: Array) -> Array:
    """What speaks for the class at each pixel.

    Channels are added, what speaks against it is left out, and the strongest half percent counts as
    full heat: a few pixels far above the rest would leave nothing else to see.
    """
    found = []
    for photo, number in zip(pixels, numbers, strict=True):

        def gradient(points: Array, number: int = number) -> Array:
            return probe.slope(points, np.full(len(points), number))

        heat = np.maximum(integrated_gradients(photo, gradient).sum(axis=-1), 0)
        ceiling = np.percentile(heat, 99.5)
        found.append(np.minimum(heat, ceiling) if ceiling > 0 else heat)
    return unit(np.stack(found))
