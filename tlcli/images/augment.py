"""Random views of training photos: from an address to pixels.

The settings have the names and documented meanings of Keras' `ImageDataGenerator`, but a view here
has an address instead of a state: its numbers come from (seed, image, view number) and nothing
else, so it can be made again alone, in any batch, in any order, after a crash.

A view is made in this order: geometry in one resampling (`geometry`), colours in one pass and
focus (`color_jitter`), what RandAugment does to colours (`randaugment`), and a rectangle of noise.
NumPy computes it on the processor, so that kept views do not depend on the device. Threads share a
batch photo by photo: the planes of one photo fit into a processor's cache, those of a batch do not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlcli.images import color_jitter, geometry, randaugment
from tlcli.system import stateless_random
from tlcli.system.machine import usable_processors
from tlcli.system.stateless_random import RandomAddresses

if TYPE_CHECKING:
    from tlcli.images.geometry import Planes
    from tlcli.recipe.augment import Augment

#: Part of every address. To be raised whenever the same settings begin to give other pixels.
AUGMENT_VERSION: int = 1

#: Settings that every address names.
NAMED = (
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

#: Version of `fill_mode: wrap`, whose period was another one at first.
WRAP_VERSION: int = 2

#: Settings by which a view can reach beyond the border of the photo, so that `fill_mode` matters.
REACH_BEYOND = (
    "rotation_range",
    "width_shift_range",
    "height_shift_range",
    "shear_range",
    "zoom_range",
    "random_resized_crop",
    "randaugment",
)

#: Settings that do not change the pixels of a view, and `preset`, which loading a recipe replaces.
WITHOUT_PIXELS = ("preset", "views", "mixup", "cutmix")

#: Numbers of a view's rectangle of noise: where it lies, whether it is there, and its noise.
_ERASING = 24

THREADS = min(usable_processors(), 8)

Pixels = NDArray[np.float32]


@lru_cache(maxsize=16)  # called for every row of the store
def compute_address(settings: Augment) -> str:
    """16 hex digits that stand for everything that decides the pixels of views above 0.

    The number of views is left out, so that rows stay valid when a recipe asks for more views.
    Settings that were added later count only where they are not at their default, so that a new
    setting leaves the addresses of stored rows as they are.
    """
    fields = type(settings).model_fields
    values = {name: getattr(settings, name) for name in NAMED}
    beyond = any(getattr(settings, name) != fields[name].default for name in REACH_BEYOND)
    for name, counts in (("fill_mode", beyond), ("cval", settings.fill_mode == "constant")):
        if not (beyond and counts):
            values[name] = fields[name].default
    if values["fill_mode"] == "wrap":
        values["wrap"] = WRAP_VERSION
    later = {
        name: value
        for name, value in settings.model_dump(mode="json").items()
        if name not in (*NAMED, *WITHOUT_PIXELS) and getattr(settings, name) != fields[name].default
    }
    text = json.dumps({"version": AUGMENT_VERSION, **values, **later}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def make_views(
    settings: Augment, pixels: NDArray[Any], digests: Sequence[str], numbers: Sequence[int]
) -> Pixels:
    """The views of photos (n, h, w, 3), uint8 or float32 of 0..255, as float32 of the same shape.

    `digests` and `numbers` are the SHA-256 of each photo and the number of its view. View 0 is the
    photo itself, and so is a view that `probability` leaves alone.
    """
    changed = mark_changed(settings, digests, numbers)
    result = np.empty(pixels.shape, np.float32)
    result[~changed] = pixels[~changed]
    at = np.flatnonzero(changed).tolist()
    if not at:
        return result
    addresses = RandomAddresses(settings.seed, [digests[i] for i in at], [numbers[i] for i in at])
    height, width = pixels.shape[1:3]
    batch = _Batch(settings, addresses, height, width)

    def make(position: int) -> None:
        view = result[at[position]]
        # Plane by plane, as numpy copies long runs faster than triples.
        for channel, plane in enumerate(batch.view(pixels[at[position]], position)):
            view[..., channel] = plane

    if len(at) == 1 or THREADS == 1:
        for position in range(len(at)):
            make(position)
    else:
        with ThreadPoolExecutor(THREADS, thread_name_prefix="augment") as pool:
            list(pool.map(make, range(len(at))))
    return result


def mark_changed(
    settings: Augment, digests: Sequence[str], numbers: Sequence[int]
) -> NDArray[np.bool_]:
    """Which views differ from their photos, shape (n,)."""
    differs = np.asarray(numbers, np.int64) != 0
    if settings.probability < 1 and differs.any():
        uniform = RandomAddresses(settings.seed, digests, numbers).uniform("apply", 1)
        differs &= uniform[:, 0] < settings.probability
    return np.asarray(differs)


class _Batch:
    """What is drawn for the views of a batch, all of them changed."""

    def __init__(
        self, settings: Augment, addresses: RandomAddresses, height: int, width: int
    ) -> None:
        self._settings = settings
        crop = geometry.draw_crops(settings, addresses, height, width)
        self._picks, after = None, []
        if settings.randaugment is not None:
            self._picks = randaugment.draw(settings.randaugment, addresses)
            after = randaugment.build_matrices(self._picks, height, width)
        drawn = geometry.draw(settings, addresses)
        self._matrices = geometry.compose(drawn, height, width, crop, *after)
        self._colours = color_jitter.draw(settings, addresses)
        self._erased, self._boxes = None, None
        if erasing := settings.random_erasing:
            uniform = addresses.uniform("erase", _ERASING)
            self._boxes = geometry.fit_boxes(uniform, erasing.scale, erasing.ratio, height, width)
            hit = self._boxes.fits & (uniform[:, 22] < erasing.probability)
            self._erased = np.where(hit, uniform[:, 23], -1.0)

    def view(self, photo: NDArray[Any], position: int) -> Planes:
        settings = self._settings
        planes = geometry.warp(photo, self._matrices[position], settings.fill_mode, settings.cval)
        planes = color_jitter.change_colours(planes, self._colours, position)
        if self._picks is not None:
            planes = randaugment.change_colours(planes, self._picks, position)
        if self._boxes is not None and self._erased is not None and self._erased[position] >= 0:
            _erase(planes, self._boxes, position, float(self._erased[position]))
        return planes


def _erase(planes: Planes, boxes: geometry.Boxes, position: int, key: float) -> None:
    """Put noise over the rectangle of a view, in place."""
    top, left = round(boxes.top[position]), round(boxes.left[position])
    bottom = round(boxes.top[position] + boxes.height[position])
    right = round(boxes.left[position] + boxes.width[position])
    part = planes[:, top:bottom, left:right]
    part[...] = stateless_random.random_bytes(key, part.size).reshape(part.shape)
