"""Where the pixels of a view come from: one matrix a view, one bilinear resampling.

Rotation, shifts, shear, zoom, flips, crop and whatever RandAugment adds are multiplied first, and
the photo is sampled once.

Where the results differ from Keras' legacy `apply_affine_transform`:

- Keras exchanges the axes after it has composed the matrix, so there `width_shift_range` moves
  photos up and down, and photos that are not square turn about a point beside their centre. Here
  widths go along the width, and the centre is the centre.
- `constant` blends the last pixel of the photo with `cval` over one pixel; scipy jumps.
- `wrap` repeats the photo with its full period, first and last pixel side by side; scipy's repeats
  one pixel early.

Everything else, `nearest` and `reflect` included, is the same bilinear resampling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlcli.system.stateless_random import (
    Floats,
    RandomAddresses,
    scale_symmetrically,
    scale_to_range,
)

if TYPE_CHECKING:
    from tlcli.recipe.augment import Augment

Flags = NDArray[np.bool_]
Matrices = NDArray[np.float32]
#: A photo as three planes, (3, height, width), 0..255.
Planes = NDArray[np.float32]

#: Rectangles that are tried before one is given up, as in Inception's crop and in random erasing.
ATTEMPTS = 10

_IDENTITY = np.array([1, 0, 0, 0, 1, 0, 0, 0], np.float32)


@dataclass(frozen=True, eq=False)
class GeometryDraws:
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


@dataclass(frozen=True, eq=False)
class Boxes:
    """Rectangles in n photos, in pixels; every array has shape (n,)."""

    top: Floats
    left: Floats
    height: Floats
    width: Floats
    #: False where none of the sizes that were drawn fits.
    fits: Flags


def draw(settings: Augment, addresses: RandomAddresses) -> GeometryDraws:
    """Draw the numbers of n views.

    Distributions are those of Keras' `ImageDataGenerator.get_random_transform`: angles and shifts
    uniform within their range to either side, both zooms uniform and independent, flips for half
    of the views.
    """
    uniform = addresses.uniform("view", 8).T
    low, high = settings.zoom_range
    return GeometryDraws(
        theta=scale_symmetrically(settings.rotation_range, uniform[0]),
        rows=scale_symmetrically(settings.height_shift_range, uniform[1]),
        columns=scale_symmetrically(settings.width_shift_range, uniform[2]),
        # As in Keras, a range below 1 is a fraction.
        rows_in_pixels=settings.height_shift_range >= 1,
        columns_in_pixels=settings.width_shift_range >= 1,
        shear=scale_symmetrically(settings.shear_range, uniform[3]),
        zx=scale_to_range(low, high, uniform[4]),
        zy=scale_to_range(low, high, uniform[5]),
        flip_horizontal=(uniform[6] < 0.5) & settings.horizontal_flip,
        flip_vertical=(uniform[7] < 0.5) & settings.vertical_flip,
    )


def fit_boxes(
    uniform: Floats, scale: tuple[float, float], ratio: tuple[float, float], height: int, width: int
) -> Boxes:
    """Rectangles within `height` x `width` pixels from 22 numbers in [0, 1) a view, (n, 22).

    The share of the area is uniform in `scale`, the logarithm of width / height in `ratio`, the
    place uniform; of ten sizes the first that fits is taken.
    """
    area = scale_to_range(*scale, uniform[:, :ATTEMPTS]) * (height * width)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    shape = np.exp(scale_to_range(low, high, uniform[:, ATTEMPTS : 2 * ATTEMPTS]))
    across, down = np.sqrt(area * shape), np.sqrt(area / shape)
    fits = (across <= width) & (down <= height)
    first = np.arange(len(uniform)), fits.argmax(axis=1)
    across, down = across[first], down[first]
    return Boxes(
        top=uniform[:, 20] * (height - down),
        left=uniform[:, 21] * (width - across),
        height=down,
        width=across,
        fits=np.asarray(fits.any(axis=1)),
    )


def draw_crops(
    settings: Augment, addresses: RandomAddresses, height: int, width: int
) -> Floats | None:
    """Matrices (n, 3, 3) that map a view, from its centre, to a random part of the photo.

    Where no part fits, the largest one of the nearest allowed shape is taken around the centre, as
    in torchvision's `RandomResizedCrop`. None where the settings ask for no crop.
    """
    crop = settings.random_resized_crop
    if crop is None:
        return None
    box = fit_boxes(addresses.uniform("crop", 22), crop.scale, crop.ratio, height, width)
    shape = np.clip(width / height, *crop.ratio)
    across = np.where(box.fits, box.width, min(width, height * shape))
    down = np.where(box.fits, box.height, min(height, width / shape))
    left = np.where(box.fits, box.left, (width - across) / 2)
    top = np.where(box.fits, box.top, (height - down) / 2)
    # The last column is the shift from the photo's centre to the box's.
    return _stack(
        len(addresses),
        (across / width, 0, left + (across - width) / 2),
        (0, down / height, top + (down - height) / 2),
    )


def _stack(count: int, *rows: tuple[Any, Any, Any]) -> Floats:
    """Two rows of scalars or arrays (count,) -> matrices (count, 3, 3)."""
    matrices = np.zeros((count, 3, 3))
    for row, values in enumerate((*rows, (0, 0, 1))):
        for column, value in enumerate(values):
            matrices[:, row, column] = value
    return matrices


def rotation(degrees: Floats) -> Floats:
    """Matrices (n, 3, 3) of turns."""
    theta = np.deg2rad(degrees)
    return _stack(len(theta), (np.cos(theta), -np.sin(theta), 0), (np.sin(theta), np.cos(theta), 0))


def shift(right: Floats, down: Floats) -> Floats:
    """Matrices (n, 3, 3) of shifts in pixels."""
    return _stack(len(right), (1, 0, right), (0, 1, down))


def slant(across: Floats, along: Floats) -> Floats:
    """Matrices (n, 3, 3) of shears: pixels `across` for each row, `along` for each column."""
    return _stack(len(across), (1, across, 0), (along, 1, 0))


def compose(draws: GeometryDraws, height: int, width: int, *others: Floats | None) -> Matrices:
    """One projective matrix a view, (n, 8), for photos of `height` x `width` pixels.

    Each maps a pixel (x, y) of the view to the place in the photo it shows, row by row without the
    last 1. About the centre of the photo it rotates, shifts, shears and zooms as Keras'
    `apply_affine_transform` does, in that order; flips mirror the finished view. `others` are a
    crop of the photo, which comes before all that, and matrices for what comes after.
    """
    count = len(draws.theta)
    shear = np.deg2rad(draws.shear)
    right = draws.columns if draws.columns_in_pixels else draws.columns * width
    down = draws.rows if draws.rows_in_pixels else draws.rows * height
    crop, *after = others or (None,)
    flip = (
        (np.where(draws.flip_horizontal, -1, 1), 0, 0),
        (0, np.where(draws.flip_vertical, -1, 1), 0),
    )
    parts = [
        crop,
        rotation(draws.theta),
        shift(right, down),
        _stack(count, (1, -np.sin(shear), 0), (0, np.cos(shear), 0)),
        _stack(count, (draws.zx, 0, 0), (0, draws.zy, 0)),
        _stack(count, *flip),
        *after,
    ]
    centred = reduce(np.matmul, [part for part in parts if part is not None])
    x, y = (width - 1) / 2, (height - 1) / 2
    whole = _stack(count, (1, 0, x), (0, 1, y)) @ centred @ _stack(count, (1, 0, -x), (0, 1, -y))
    return whole.reshape(count, 9)[:, :8].astype(np.float32)


def warp(photo: NDArray[Any], matrix: Matrices, fill_mode: str, cval: float) -> Planes:
    """A photo (h, w, 3), of uint8 or float32, resampled bilinearly into planes (3, h, w).

    The arithmetic is that of TensorFlow's ImageProjectiveTransformV3 on a processor, number by
    number and rounding by rounding, with the places worked out once for the three colours; only
    `wrap` differs, where TensorFlow's period is off. The identity leaves a photo as it is.
    """
    height, width = photo.shape[:2]
    if np.array_equal(matrix, _IDENTITY):
        canvas = np.empty((3, height, width), np.float32)
        for channel, plane in enumerate(canvas):
            plane[...] = photo[..., channel]
        return canvas
    x, y = _places(matrix, height, width)
    before = 0
    if fill_mode == "constant":
        before = 2  # so that a place beyond the border has both its neighbours there
    else:
        x, y = _mapped(x, width, fill_mode), _mapped(y, height, fill_mode)
    planes, across = _padded(photo, before, cval), width + 1 + 2 * before
    if fill_mode == "wrap":
        planes[:, height], planes[:, :, width] = planes[:, 0], planes[:, :, 0]
    x0, y0 = np.floor(x), np.floor(y)
    to_right, to_below = x - x0, y - y0
    to_left, to_above = x0 + 1 - x, y0 + 1 - y
    if before:
        np.clip(x0, -2, width, out=x0)
        np.clip(y0, -2, height, out=y0)
    at = (y0.astype(np.intp) + before) * across + (x0.astype(np.intp) + before)
    canvas = np.empty((3, height, width), np.float32)
    near, far, taken = (np.empty((height, width), np.float32) for _ in range(3))

    def blend(plane: NDArray[np.float32], into: NDArray[np.float32]) -> None:
        # Every place lies in the plane; with mode="clip", numpy skips its check of the indices.
        np.take(plane, at, out=into, mode="clip")
        np.multiply(into, to_left, out=into)
        np.take(plane[1:], at, out=taken, mode="clip")
        np.multiply(taken, to_right, out=taken)
        np.add(into, taken, out=into)

    for plane, result in zip(planes.reshape(3, -1), canvas, strict=True):
        blend(plane, near)
        blend(plane[across:], far)
        np.multiply(near, to_above, out=near)
        np.multiply(far, to_below, out=far)
        np.add(near, far, out=result)
    # Two weights can round to a sum above 1.
    return np.minimum(canvas, np.float32(255), out=canvas)


def _places(matrix: Matrices, height: int, width: int) -> tuple[Planes, Planes]:
    """The place in the photo, x and y, of every pixel of a view."""
    columns = np.arange(width, dtype=np.float32)
    rows = np.arange(height, dtype=np.float32)[:, None]
    x = matrix[0] * columns + matrix[1] * rows
    y = matrix[3] * columns + matrix[4] * rows
    x += matrix[2]
    y += matrix[5]
    return x, y


def _mapped(places: Planes, side: int, fill_mode: str) -> Planes:
    """Places along a side, those beyond the border brought back as the fill mode says."""
    length = np.float32(side)
    if fill_mode == "reflect":  # abcd becomes dcba abcd dcba
        period = 2 * length
        below = places + period * np.trunc(-places / period)
        below = np.where(below < -length, below + period, -below - 1)
        above = places - period * np.trunc(places / period)
        above = np.where(above >= length, period - above - 1, above)
        places = np.where(places < 0, below, np.where(places > length - 1, above, places))
    elif fill_mode == "wrap":  # abcd becomes abcd abcd abcd
        # Up to the first pixel of the next repetition, which `_padded` puts behind the last.
        places, length = places - length * np.floor(places / length), length + 1
    return np.clip(places, np.float32(0), length - 1)


def _padded(photo: NDArray[Any], before: int, cval: float) -> NDArray[np.float32]:
    """Planes (3, h + 1 + 2 before, w + 1 + 2 before): every place has a right and lower neighbour.

    The neighbour beyond the border counts with a weight of 0 unless the border is a colour.
    """
    height, width = photo.shape[:2]
    rows, columns = height + 1 + 2 * before, width + 1 + 2 * before
    planes = np.full((3, rows, columns), cval if before else 0, np.float32)
    for channel, plane in enumerate(planes):
        plane[before : before + height, before : before + width] = photo[..., channel]
    return planes
