"""What the pixels of a view become: one matrix a view, one pass, then focus.

Channel shift, brightness, contrast, saturation, hue and grey are linear in red, green and blue once
the mean colour is known, so they are multiplied first, in that order, and every pixel is changed
and clipped once: what leaves 0..255 on the way and comes back is not lost.

Luma is 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), as in Pillow. Hue turns about the grey axis of
YIQ, which keeps the luma.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tlcli.system.stateless_random import (
    Floats,
    RandomAddresses,
    scale_symmetrically,
    scale_to_range,
)

if TYPE_CHECKING:
    from tlcli.images.geometry import Planes
    from tlcli.recipe.augment import Augment

Flags = NDArray[np.bool_]

LUMA = np.array([0.299, 0.587, 0.114])

#: RGB to luma and two axes of colour (NTSC).
_YIQ = np.array([LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])

#: Standard deviation of the blur in pixels, uniform (Chen et al., "SimCLR", 2020, appendix A).
SIGMA = (0.1, 2.0)


@dataclass(frozen=True, eq=False)
class ColorDraws:
    """What was drawn for n views; every array has shape (n,)."""

    brightness: Floats
    channel_shift: Floats
    contrast: Floats
    saturation: Floats
    #: Turns.
    hue: Floats
    grey: Flags
    #: Pixels; 0 for none.
    sigma: Floats


def draw(settings: Augment, addresses: RandomAddresses) -> ColorDraws:
    """Draw the numbers of n views, each uniform in its range."""
    uniform = addresses.uniform("colour", 8).T
    return ColorDraws(
        brightness=scale_to_range(*settings.brightness_range, uniform[0]),
        channel_shift=scale_symmetrically(settings.channel_shift_range, uniform[1]),
        contrast=scale_to_range(*settings.contrast, uniform[2]),
        saturation=scale_to_range(*settings.saturation, uniform[3]),
        hue=scale_symmetrically(settings.hue, uniform[4]),
        grey=uniform[5] < settings.grayscale,
        sigma=np.where(uniform[6] < settings.blur, scale_to_range(*SIGMA, uniform[7]), 0.0),
    )


def change_colours(planes: Planes, draws: ColorDraws, view: int) -> Planes:
    """Planes (3, h, w), 0..255, in the colours and the focus of a view; clipped to 0..255."""
    matrix, offset = _colours(draws, view, planes)
    if not (np.array_equal(matrix, np.eye(3)) and not offset.any()):
        planes = _apply(planes, matrix.astype(np.float32), offset.astype(np.float32))
    sigma = float(draws.sigma[view])
    return _blurred(planes, sigma) if sigma else planes


def _colours(draws: ColorDraws, view: int, planes: Planes) -> tuple[Floats, Floats]:
    """The matrix (3, 3) and offset (3,) that change the colours of a view."""
    shift, contrast = draws.channel_shift[view], draws.contrast[view]
    matrix = np.eye(3) * draws.brightness[view]
    offset = np.full(3, draws.brightness[view] * shift)
    if contrast != 1:
        mean = LUMA @ (matrix @ planes.mean(axis=(1, 2), dtype=np.float64) + offset)
        matrix, offset = contrast * matrix, contrast * offset + (1 - contrast) * mean
    colour = np.eye(3)
    if draws.saturation[view] != 1:
        colour = _saturation(draws.saturation[view])
    if draws.hue[view]:
        colour = _hue(draws.hue[view]) @ colour
    if draws.grey[view]:
        colour = _saturation(0) @ colour
    return colour @ matrix, colour @ offset


def _saturation(factor: float) -> Floats:
    """Between grey (0) and as it is (1), or beyond."""
    return factor * np.eye(3) + (1 - factor) * np.tile(LUMA, (3, 1))


def _hue(turns: float) -> Floats:
    """A turn of the colours at constant luma."""
    angle = 2 * np.pi * turns
    turn = np.array(
        [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    )
    return np.asarray(np.linalg.inv(_YIQ) @ turn @ _YIQ)


def _apply(planes: Planes, matrix: NDArray[np.float32], offset: NDArray[np.float32]) -> Planes:
    """Every pixel times the matrix, plus the offset.

    Written out, since a library's matrix product may round otherwise on another processor.
    """
    mixed = np.empty_like(planes)
    for weights, constant, plane in zip(matrix, offset, mixed, strict=True):
        plane.fill(constant)
        for weight, source in zip(weights, planes, strict=True):
            if weight:
                plane += weight * source
    return np.clip(mixed, 0, 255, out=mixed)


def _blurred(planes: Planes, sigma: float) -> Planes:
    """Planes under a Gaussian of `sigma` pixels, cut off at 4 sigma; the border is continued."""
    radius = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
    weights = (weights / (weights[0] + 2 * weights[1:].sum())).astype(np.float32)
    for axis in (1, 2):
        pad = [(radius, radius) if axis == other else (0, 0) for other in range(3)]
        wide, size = np.pad(planes, pad, "edge"), planes.shape[axis]

        def part(start: int, wide: Planes = wide, axis: int = axis, size: int = size) -> Planes:
            return wide[:, start : start + size] if axis == 1 else wide[:, :, start : start + size]

        planes = weights[0] * part(radius)
        for step in range(1, radius + 1):
            planes += weights[step] * (part(radius - step) + part(radius + step))
    return np.clip(planes, 0, 255, out=planes)
