"""RandAugment: some of 14 operations for each view (Cubuk, Zoph, Shlens and Le, 2019).

Operations and strengths are those of torchvision's `RandAugment` with 31 magnitudes, save that
solarize begins at 256, where it changes nothing. Rotation, shears and shifts are not carried out
here: they become part of the one matrix of the view's geometry, and shears keep the centre of the
photo. The operations on colours are Pillow's, on 8-bit pixels, in the order in which they were
drawn, after the view's own changes of colour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from tlcli.images import geometry
from tlcli.system.stateless_random import Floats, RandomAddresses

if TYPE_CHECKING:
    from tlcli.recipe.augment import RandAugment

#: The largest magnitude.
MOST = 30

#: Largest shift as a share of the side: 150 pixels of the 331 that the paper's networks take.
SHIFT = 150 / 331

GEOMETRIC = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
OPERATIONS = (
    "identity",
    *GEOMETRIC,
    "brightness",
    "color",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)

_ENHANCE: dict[str, Callable[[Image.Image], ImageEnhance._Enhance]] = {
    "brightness": ImageEnhance.Brightness,
    "color": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "sharpness": ImageEnhance.Sharpness,
}


@dataclass(frozen=True, eq=False)
class Picks:
    """The operations of n views, in order, shape (n, number): which, and to which side (1, -1)."""

    operations: NDArray[np.int64]
    signs: Floats
    magnitude: int


def draw(settings: RandAugment, addresses: RandomAddresses) -> Picks:
    """Draw the operations of n views, each as likely as any other, with repetition."""
    uniform = addresses.uniform("rand", 2 * settings.number)
    operations = (uniform[:, ::2] * len(OPERATIONS)).astype(np.int64)
    signs = np.where(uniform[:, 1::2] < 0.5, -1.0, 1.0)
    return Picks(operations, signs, settings.magnitude)


def build_matrices(picks: Picks, height: int, width: int) -> list[Floats]:
    """What the picks do to the geometry of the views: matrices (n, 3, 3), one for each pick."""
    strength = picks.magnitude / MOST
    transforms = []
    for operations, signs in zip(picks.operations.T, picks.signs.T, strict=True):

        def signed(
            name: str, most: float, operations: NDArray[np.int64] = operations,
            signs: Floats = signs,
        ) -> Floats:  # fmt: skip
            return np.where(operations == OPERATIONS.index(name), signs * strength * most, 0.0)

        turned = geometry.rotation(signed("rotate", 30.0))
        sheared = geometry.slant(signed("shear_x", 0.3), signed("shear_y", 0.3))
        shifted = geometry.shift(
            signed("translate_x", SHIFT * width), signed("translate_y", SHIFT * height)
        )
        transforms.append(turned @ sheared @ shifted)  # of which one at most is not the identity
    return transforms


def change_colours(planes: geometry.Planes, picks: Picks, view: int) -> geometry.Planes:
    """Planes (3, h, w), 0..255, after the picks of a view that change colours."""
    names = [OPERATIONS[number] for number in picks.operations[view]]
    chosen = [
        (name, sign)
        for name, sign in zip(names, picks.signs[view], strict=True)
        if name != "identity" and name not in GEOMETRIC
    ]
    if not chosen:
        return planes
    pixels = np.rint(planes).astype(np.uint8).transpose(1, 2, 0)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    for name, sign in chosen:
        image = _operate(image, name, float(sign), picks.magnitude)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1), np.float32)


def _operate(image: Image.Image, name: str, sign: float, magnitude: int) -> Image.Image:
    if name in _ENHANCE:
        return _ENHANCE[name](image).enhance(1 + sign * 0.9 * magnitude / MOST)
    if name == "posterize":
        return ImageOps.posterize(image, 8 - round(4 * magnitude / MOST))
    if name == "solarize":
        return ImageOps.solarize(image, round(256 * (1 - magnitude / MOST)))
    return ImageOps.autocontrast(image) if name == "autocontrast" else ImageOps.equalize(image)
