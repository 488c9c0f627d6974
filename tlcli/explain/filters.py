"""`tlcli visualize filters`: the patterns that the filters of a layer answer to most.

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

#: Pictures that grow at once.
BATCH = 32

#: Pixels on a side of a picture on the sheet, at least.
SHOWN = 96

#: Of Adam, in the space of the Fourier coefficients.
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
        seed: of the first picture and the shifts; filter and step count in, so that a filter's
            picture does not depend on which others are asked for.
    """

    side: int
    steps: int = 32
    seed: int = 0


def side(subject: ExplainedModel, layer: str) -> int:
    """Pixels that show a layer's pattern a few times: 12 steps of its grid, 48 to 128 of them."""
    pixels = subject.model.inputs[0].shape[1]
    stride = round(pixels / subject.grid(layer).output.shape[1])
    return int(max(min(128, max(48, 12 * stride)), subject.row.smallest_size))


def resized(subject: ExplainedModel, side: int) -> ExplainedModel:
    """The base of a subject, without any head, for pictures of another size; the same weights."""
    model = subject.row.build((side, side))
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(subject.model.get_layer(layer.name).get_weights())
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()  # set_weights leaves the mean and variance it computes with
    return replace(
        subject, model=model, look=PixelSettings(side, side, "squash"), logits=None, classes=()
    )


def paint(subject: ExplainedModel, layer: str, numbers: Sequence[int], ascent: Ascent) -> Array:
    """Pictures of what filters of a layer answer to most: uint8 (n, side, side, 3), RGB.

    `subject` has to be `resized` to the side of `ascent`. The same arguments give the same bits on
    the same machine.
    """
    tf.config.experimental.enable_op_determinism()
    climb = _climber(subject, layer, ascent)
    made = []
    rounds = -(-len(numbers) // BATCH)
    with console.progress(rounds * ascent.steps, layer, "steps") as bar:
        for start in range(0, len(numbers), BATCH):
            chosen = numbers[start : start + BATCH]
            state = [tf.constant(_begin(ascent, chosen))]
            state += [tf.zeros_like(state[0])] * 2
            for step in range(ascent.steps):
                shift = np.random.default_rng([ascent.seed, step]).integers(-8, 9, 2)
                state = climb(*state, tf.constant(chosen), tf.constant(shift, tf.int32), step + 1.0)
                bar.update(1)
            made.append(np.rint(_picture(state[0], ascent.side)).astype(np.uint8))
    return np.concatenate(made)


def _begin(ascent: Ascent, numbers: Sequence[int]) -> Array:
    """Small random coefficients for each filter."""
    shape = (2, 3, ascent.side, ascent.side // 2 + 1)
    drawn = [np.random.default_rng([ascent.seed, 1, n]).normal(0, 0.01, shape) for n in numbers]
    return np.asarray(drawn, np.float32)


def _picture(coefficients: Any, side: int) -> Any:
    """Coefficients (n, 2, 3, side, side // 2 + 1) -> pixels (n, side, side, 3), 0..255."""
    down, across = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    frequency = np.maximum(np.hypot(down, across), 1 / side)
    scale = tf.constant(side / frequency / 4, tf.float32)
    spectrum = tf.complex(coefficients[:, 0], coefficients[:, 1]) * tf.cast(scale, tf.complex64)
    planes = tf.signal.irfft2d(spectrum, [side, side])
    colours = tf.einsum("nchw,cr->nhwr", planes, tf.constant(_AXES * _SPREAD[:, None]))
    return 255 * tf.sigmoid(colours)


def _climber(subject: ExplainedModel, layer: str, ascent: Ascent) -> Any:
    """One step of Adam uphill: coefficients, its two moments, filters, shift, count -> the same."""
    target = subject.grid(layer)
    # In front of a rectifier there is a slope to climb even where it says nothing yet.
    rectifiers = (keras.layers.Activation, keras.layers.ReLU)
    tensor = target.input if isinstance(target, rectifiers) else target.output
    model = keras.Model(subject.model.inputs[0], tensor)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def climb(at: Any, mean: Any, square: Any, numbers: Any, shift: Any, count: Any) -> Any:
        with (
            _linear(target),
            forward_convolutions(model.layers),
            tf.GradientTape() as tape,
        ):
            tape.watch(at)
            seen = tf.roll(_picture(at, ascent.side), shift, [1, 2])
            answers = tf.reduce_mean(model(seen, training=False), [1, 2])
            height = tf.gather(answers, numbers, batch_dims=1)
        slope = tape.gradient(height, at)
        mean = 0.9 * mean + 0.1 * slope
        square = 0.999 * square + 0.001 * slope**2
        step = mean / (1 - 0.9**count) / (tf.sqrt(square / (1 - 0.999**count)) + 1e-12)
        return at + RATE * step, mean, square

    return climb


@contextmanager
def _linear(layer: Any) -> Iterator[None]:
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


def chosen(subject: ExplainedModel, layer: str, wanted: str | None) -> list[int]:
    """Filters as in '0-15,40', or all of the layer; raises `UnknownName` for others."""
    count = subject.grid(layer).output.shape[-1]
    if wanted is None:
        return list(range(count))
    found: list[int] = []
    for part in wanted.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            hint = "write numbers and ranges, as in 0-15,40"
            raise UnknownName(Problem("--filters", f"'{part}' is not the number of a filter", hint))
        low, high = int(first), int(last if dash else first)
        if not low <= high < count:
            hint = f"{layer} has filters 0 to {count - 1}"
            raise UnknownName(Problem("--filters", f"'{part}' is out of range", hint))
        found += range(low, high + 1)
    return list(dict.fromkeys(found))


def draw(
    subject: ExplainedModel, layer: str, numbers: Sequence[int], pictures: Array
) -> Image.Image:
    """One sheet of the pictures with their filters' numbers."""
    side = max(SHOWN, pictures.shape[1])
    cells = []
    for picture, number in zip(pictures, numbers, strict=True):
        shown = Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC)
        cells.append(contact_sheet.SheetCell([shown], [str(number)]))
    columns = int(np.ceil(np.sqrt(len(cells)))) if len(cells) > 6 else len(cells)
    return contact_sheet.lay(cells, columns, title=f"{layer}, {subject.name}", gap=4)
