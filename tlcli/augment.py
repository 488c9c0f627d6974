"""Random views of training photos: stateless geometry on batches.

The settings have the names and documented meanings of Keras' `ImageDataGenerator`, but a view here
has an address instead of a state: its numbers come from (seed, image, view number) and nothing
else, so it can be made again alone, in any batch, in any order, after a crash.

Where the results differ from Keras' legacy `apply_affine_transform`:

- Keras exchanges the axes after it has composed the matrix, so there `width_shift_range` moves
  photos up and down, and photos that are not square turn about a point beside their centre. Here
  widths go along the width, and the centre is the centre.
- `constant` blends the last pixel of the photo with `cval` over one pixel; scipy jumps.
- `wrap` repeats the photo with its full period; scipy's repeats one pixel early. The seam between
  two repetitions is not blended.

Everything else, `nearest` and `reflect` included, is the same bilinear resampling.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlcli.framework import tf

if TYPE_CHECKING:
    from tlcli.settings import Augment

#: Part of every address. To be raised whenever the same settings begin to give other pixels.
AUGMENT_VERSION: int = 1

#: The settings that decide the pixels of a view.
GEOMETRY = (
    "rotation_range",
    "width_shift_range",
    "height_shift_range",
    "shear_range",
    "zoom_range",
    "horizontal_flip",
    "vertical_flip",
    "fill_mode",
    "cval",
    "seed",
)

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Draws:
    """What was drawn for n views; every array has shape (n,)."""

    #: Degrees.
    theta: Floats
    #: Shifts along the height and along the width: fractions of that side, or pixels.
    rows: Floats
    columns: Floats
    rows_in_pixels: bool
    columns_in_pixels: bool
    #: Degrees.
    shear: Floats
    #: Pixels of the photo for a pixel of the view, along the width and along the height.
    zx: Floats
    zy: Floats
    #: Mirrored left to right, and top to bottom.
    flip_horizontal: Flags
    flip_vertical: Flags


@lru_cache(maxsize=16)  # asked for with every row of the store
def address(settings: Augment) -> str:
    """16 hex digits that stand for everything that decides the pixels of views above 0.

    How many views there are is left out: asking for more of them keeps the ones at hand.
    """
    values = {name: getattr(settings, name) for name in GEOMETRY}
    text = json.dumps({"version": AUGMENT_VERSION, **values}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def draw(settings: Augment, digests: Sequence[str], views: Sequence[int]) -> Draws:
    """Draw the numbers of n views: image digest and view number of each, 0 for the image itself.

    Distributions are those of Keras' `ImageDataGenerator.get_random_transform`: angles and shifts
    uniform within their range to either side, both zooms uniform and independent, flips for half
    of the views. Each number has a slot of its own, so that a changed setting leaves the others'
    numbers alone.
    """
    uniform = _uniform(settings.seed, digests, views)
    identity = np.asarray(views) == 0

    def symmetric(slot: int, limit: float) -> Floats:
        return np.where(identity, 0.0, (2 * uniform[:, slot] - 1) * limit)

    def zoom(slot: int) -> Floats:
        low, high = settings.zoom_range
        return np.where(identity, 1.0, low + (high - low) * uniform[:, slot])

    def flip(slot: int, wanted: bool) -> Flags:
        return np.where(identity | (not wanted), False, uniform[:, slot] < 0.5)

    return Draws(
        theta=symmetric(0, settings.rotation_range),
        rows=symmetric(1, settings.height_shift_range),
        columns=symmetric(2, settings.width_shift_range),
        # As in Keras, a range below 1 is a fraction.
        rows_in_pixels=settings.height_shift_range >= 1,
        columns_in_pixels=settings.width_shift_range >= 1,
        shear=symmetric(3, settings.shear_range),
        zx=zoom(4),
        zy=zoom(5),
        flip_horizontal=flip(6, settings.horizontal_flip),
        flip_vertical=flip(7, settings.vertical_flip),
    )


def matrices(draws: Draws, height: int, width: int) -> NDArray[np.float32]:
    """One projective matrix a view, (n, 8), for photos of `height` x `width` pixels.

    Each maps a pixel (x, y) of the view to the place in the photo it shows, in the layout of
    TensorFlow's ImageProjectiveTransformV3. About the centre of the photo it rotates, shifts,
    shears and zooms as Keras' `apply_affine_transform` does, in that order; flips come last, that
    is, they mirror the finished view.
    """
    count = len(draws.theta)
    theta, shear = np.deg2rad(draws.theta), np.deg2rad(draws.shear)
    right = draws.columns if draws.columns_in_pixels else draws.columns * width
    down = draws.rows if draws.rows_in_pixels else draws.rows * height
    x, y = (width - 1) / 2, (height - 1) / 2

    def stack(*rows: tuple[Any, Any, Any]) -> Floats:
        made = np.zeros((count, 3, 3))
        for row, values in enumerate((*rows, (0, 0, 1))):
            for column, value in enumerate(values):
                made[:, row, column] = value
        return made

    rotation = stack((np.cos(theta), -np.sin(theta), 0), (np.sin(theta), np.cos(theta), 0))
    shift = stack((1, 0, right), (0, 1, down))
    slant = stack((1, -np.sin(shear), 0), (0, np.cos(shear), 0))
    zoom = stack((draws.zx, 0, 0), (0, draws.zy, 0))
    flip = stack(
        (np.where(draws.flip_horizontal, -1, 1), 0, 0),
        (0, np.where(draws.flip_vertical, -1, 1), 0),
    )
    centred = rotation @ shift @ slant @ zoom @ flip
    whole = stack((1, 0, x), (0, 1, y)) @ centred @ stack((1, 0, -x), (0, 1, -y))
    return whole.reshape(count, 9)[:, :8].astype(np.float32)


def apply(pixels: Any, transforms: NDArray[np.float32], settings: Augment) -> Any:
    """Resample photos (n, h, w, 3), uint8 or float32 of 0..255, once and bilinearly.

    Returns a float32 tensor of the same shape and range. Rows with the identity come out unchanged
    to the bit.
    """
    # On the processor even where there is a GPU: kept views must not depend on the device.
    with tf.device("CPU:0"):
        images = tf.cast(pixels, tf.float32)
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=transforms,
            output_shape=tf.shape(images)[1:3],
            fill_value=settings.cval,
            interpolation="BILINEAR",
            fill_mode=settings.fill_mode.upper(),
        )


def views(settings: Augment, pixels: Any, digests: Sequence[str], numbers: Sequence[int]) -> Any:
    """The views of photos (n, h, w, 3) with these SHA-256 digests and view numbers.

    Returns a float32 tensor of the same shape, 0..255; view 0 is the photo itself.
    """
    height, width = pixels.shape[1:3]
    transforms = matrices(draw(settings, digests, numbers), height, width)
    return apply(pixels, transforms, settings)


def _uniform(seed: int, digests: Sequence[str], views: Sequence[int]) -> Floats:
    """Eight numbers in [0, 1) a view, (n, 8), from a hash of what identifies the view."""
    raw = b"".join(
        hashlib.blake2b(f"{seed}:{digest}:{view}".encode(), person=b"tlcli view").digest()
        for digest, view in zip(digests, views, strict=True)
    )
    # The 53 highest bits of each number: what a float64 in [0, 1) can hold.
    bits = np.frombuffer(raw, "<u8").reshape(-1, 8) >> np.uint64(11)
    return bits.astype(np.float64) * 2.0**-53
