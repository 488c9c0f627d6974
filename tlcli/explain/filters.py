"""`tlcli visualize filters`: the patterns that the filters of a layer respond to most.

Gradient ascent in input space (Erhan et al., "Visualizing Higher-Layer Features of a Deep Network",
2009). Left alone it finds noise that no photo has, so the picture is parametrised and
shifted about, after Olah, Mordvintsev and Schubert, "Feature Visualization", Distill 2017:

- it is the inverse Fourier transform of what is changed, each frequency scaled by its inverse, as
  natural images are: a step changes coarse structure as easily as fine;
- its colours are changed along axes in which those of photos hardly correlate (Ohta, Kanade and
  Sakai, "Color Information for Region Segmentation", 1980), each by as much as photos vary;
- every step sees it shifted by some pixels, around the edges: a Fourier series has none.

Total variation as a penalty was tried as well and changed nothing that could be seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tlcli.errors import Problem
from tlcli.explain.explained_model import ExplainedModel, UnknownName
from tlcli.images import contact_sheet
from tlcli.images.loader import PixelSettings
from tlcli.networks.conv_gradients import forward_convolutions
from tlcli.networks.framework import keras, tf
from tlcli.system import console

Array = npt.NDArray[Any]

#: Pictures made at once.
BATCH = 32

#: Pixels on a side of a picture on the sheet, at least.
SHOWN = 96

#: The learning rate of Adam, in the space of the Fourier coefficients.
RATE = 0.05

# Brightness, red against blue, green against both: as unit vectors, times the standard deviation of
# photos along them relative to that of brightness (measured on 300 photos of cats and dogs).
_AXES = np.array([[1, 1, 1], [1, 0, -1], [-1, 2, -1]], np.float32)
_AXES /= np.linalg.norm(_AXES, axis=1, keepdims=True)
_SPREAD = np.array([1.0, 0.25, 0.1], np.float32)


@dataclass(frozen=True)
class Ascent:
    """How pictures are made.

    Attributes:
        side: of the picture in pixels.
        steps: of gradient ascent.
        seed: of the random start and the shifts. A filter's start follows from seed and filter, a
            shift from seed and step, so that no picture depends on which others are made.
    """

    side: int
    steps: int = 32
    seed: int = 0


def default_side(network: ExplainedModel, layer: str) -> int:
    """The side of a picture that shows a layer's pattern a few times, in pixels.

    It is 12 steps of the layer's grid, but 48 to 128 pixels, and not less than the base can take.
    """
    pixels = network.model.inputs[0].shape[1]
    stride = round(pixels / network.grid(layer).output.shape[1])
    return int(max(min(128, max(48, 12 * stride)), network.row.smallest_size))


def resized_base(network: ExplainedModel, side: int) -> ExplainedModel:
    """The base of a network, without any head, for pictures of another size; the same weights."""
    model = network.row.build((side, side))
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(network.model.get_layer(layer.name).get_weights())
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()  # set_weights leaves the mean and variance it computes with
    return replace(
        network,
        model=model,
        pixel_settings=PixelSettings(side, side, "squash"),
        logits=None,
        classes=(),
    )


def paint_filters(
    network: ExplainedModel, layer: str, numbers: Sequence[int], ascent: Ascent
) -> Array:
    """Pictures of what filters of a layer respond to most: uint8 (n, side, side, 3), RGB.

    `network` has to come from `resized_base`, with the side of `ascent`. The same arguments give
    the same bits on the same machine.
    """
    tf.config.experimental.enable_op_determinism()
    ascend = _ascent_step(network, layer, ascent)
    pictures = []
    rounds = -(-len(numbers) // BATCH)
    with console.progress(rounds * ascent.steps, layer, "steps") as bar:
        for start in range(0, len(numbers), BATCH):
            chosen = numbers[start : start + BATCH]
            state = [tf.constant(_random_coefficients(ascent, chosen))]
            state += [tf.zeros_like(state[0])] * 2
            for step in range(ascent.steps):
                shift = np.random.default_rng([ascent.seed, step]).integers(-8, 9, 2)
                state = ascend(
                    *state, tf.constant(chosen), tf.constant(shift, tf.int32), step + 1.0
                )
                bar.update(1)
            pictures.append(np.rint(_picture(state[0], ascent.side)).astype(np.uint8))
    return np.concatenate(pictures)


def _random_coefficients(ascent: Ascent, numbers: Sequence[int]) -> Array:
    """Small random coefficients for each filter."""
    shape = (2, 3, ascent.side, ascent.side // 2 + 1)
    noise = [np.random.default_rng([ascent.seed, 1, n]).normal(0, 0.01, shape) for n in numbers]
    return np.asarray(noise, np.float32)


def _picture(coefficients: Any, side: int) -> Any:
    """Coefficients (n, 2, 3, side, side // 2 + 1) -> pixels (n, side, side, 3), 0..255."""
    down, across = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    frequency = np.maximum(np.hypot(down, across), 1 / side)
    scale = tf.constant(side / frequency / 4, tf.float32)
    spectrum = tf.complex(coefficients[:, 0], coefficients[:, 1]) * tf.cast(scale, tf.complex64)
    planes = tf.signal.irfft2d(spectrum, [side, side])
    colours = tf.einsum("nchw,cr->nhwr", planes, tf.constant(_AXES * _SPREAD[:, None]))
    return 255 * tf.sigmoid(colours)


def _ascent_step(network: ExplainedModel, layer: str, ascent: Ascent) -> Any:
    """A function that takes one step of Adam uphill.

    It maps coefficients, Adam's two moments, filter numbers, shift and step count (from 1) to new
    coefficients and moments.
    """
    target = network.grid(layer)
    # Before a rectifier the gradient is not zero even where the filter does not respond yet.
    rectifiers = (keras.layers.Activation, keras.layers.ReLU)
    tensor = target.input if isinstance(target, rectifiers) else target.output
    model = keras.Model(network.model.inputs[0], tensor)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def ascend(point: Any, mean: Any, square: Any, numbers: Any, shift: Any, count: Any) -> Any:
        with (
            _without_activation(target),
            forward_convolutions(model.layers),
            tf.GradientTape() as tape,
        ):
            tape.watch(point)
            shifted = tf.roll(_picture(point, ascent.side), shift, [1, 2])
            responses = tf.reduce_mean(model(shifted, training=False), [1, 2])
            height = tf.gather(responses, numbers, batch_dims=1)
        slope = tape.gradient(height, point)
        mean = 0.9 * mean + 0.1 * slope
        square = 0.999 * square + 0.001 * slope**2
        step = mean / (1 - 0.9**count) / (tf.sqrt(square / (1 - 0.999**count)) + 1e-12)
        return point + RATE * step, mean, square

    return ascend


@contextmanager
def _without_activation(layer: Any) -> Iterator[None]:
    """Leave out the activation function that is part of a layer, while a function is traced."""
    before = getattr(layer, "activation", None)
    if before is None or isinstance(layer, keras.layers.Activation):
        yield
        return
    layer.activation = keras.activations.linear
    try:
        yield
    finally:
        layer.activation = before


def filter_numbers(network: ExplainedModel, layer: str, text: str | None) -> list[int]:
    """The filters named as in '0-15,40', or for None all of the layer.

    Raises `UnknownName` for a layer or filter that the network does not have.
    """
    count = network.grid(layer).output.shape[-1]
    if text is None:
        return list(range(count))
    numbers: list[int] = []
    for part in text.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            hint = "write numbers and ranges, as in 0-15,40"
            raise UnknownName(Problem("--filters", f"'{part}' is not the number of a filter", hint))
        low, high = int(first), int(last if dash else first)
        if not low <= high < count:
            hint = f"{layer} has filters 0 to {count - 1}"
            raise UnknownName(Problem("--filters", f"'{part}' is out of range", hint))
        numbers += range(low, high + 1)
    return list(dict.fromkeys(numbers))


def write_filters(
    network: ExplainedModel,
    layer: str,
    filters: str | None,
    target: Path,
    *,
    side: int | None = None,
    steps: int = Ascent.steps,
    seed: int = Ascent.seed,
) -> tuple[str, dict[str, Any]]:
    """Write the sheet of the patterns of a layer's filters to `target`.

    Args:
        network: what to look into.
        layer: the name of the layer.
        filters: which of its filters, as in '0-15,40'; by default all.
        target: the PNG.
        side: of each picture in pixels; by default that of `default_side`.
        steps: of gradient ascent.
        seed: of the random start.

    Returns:
        What is printed: text, and the value for `--json`. Raises as `filter_numbers` does, and
        `TlcliError` for a sheet that would be too large.
    """
    numbers = filter_numbers(network, layer, filters)
    ascent = Ascent(side or default_side(network, layer), steps, seed)
    pictures = paint_filters(resized_base(network, ascent.side), layer, numbers, ascent)
    contact_sheet.save_sheet(_sheet(network, layer, numbers, pictures), target)
    value = {"sheet": str(target), "layer": layer, "filters": numbers, "size": ascent.side}
    return str(target), value


def _sheet(
    network: ExplainedModel, layer: str, numbers: Sequence[int], pictures: Array
) -> Image.Image:
    """One sheet of the pictures with their filters' numbers."""
    side = max(SHOWN, pictures.shape[1])
    cells = []
    for picture, number in zip(pictures, numbers, strict=True):
        shown = Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC)
        cells.append(contact_sheet.SheetCell([shown], [str(number)]))
    columns = int(np.ceil(np.sqrt(len(cells)))) if len(cells) > 6 else len(cells)
    return contact_sheet.lay_out_cells(cells, columns, title=f"{layer}, {network.title}", gap=4)
