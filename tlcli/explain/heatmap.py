"""Heat over photos: colours of values, stretching a network's grid over a photo, and a scale."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tlcli.images import contact_sheet
from tlcli.images.loader import PixelSettings

Array = npt.NDArray[Any]

#: Lightness rises with heat all the way, so that the order of the colours is seen in grey as well.
COLOURS = "inferno"

#: How much of the photo the greatest heat hides; none at zero.
OPACITY = 0.75

#: The grey of a photo that stands for all in a scale.
GREY = 128

#: What remains of the brightness of a part that the network never saw (`resize: crop`).
UNSEEN = 0.35


def heat_colours(values: Array) -> Array:
    """Values 0..1 of any shape -> RGB, uint8, one more axis of 3."""
    places = np.rint(np.clip(values, 0, 1) * 255).astype(np.intp)
    return np.asarray(_table()[places])


@cache
def _table() -> Array:
    # Imported here because it takes a fraction of a second, which other commands need not wait.
    from matplotlib import colormaps

    return np.asarray(colormaps[COLOURS](np.arange(256), bytes=True))[:, :3]


def overlay_heat(photo: Image.Image, heat: Array, settings: PixelSettings) -> Image.Image:
    """Heat laid over a photo of any size.

    Args:
        photo: RGB.
        heat: on a grid over the network's input, float32 (rows, columns), 0..1.
        settings: how the photo became that input.
    """
    laid, visible = stretch_to_photo(heat, photo.size, settings)
    pixels = np.asarray(photo, np.float32)
    pixels *= np.where(visible, 1, UNSEEN)[..., None]
    opacity = (OPACITY * laid)[..., None]
    mixed = (1 - opacity) * pixels + opacity * heat_colours(laid)
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def stretch_to_photo(
    heat: Array, size: tuple[int, int], settings: PixelSettings
) -> tuple[Array, Array]:
    """Heat at every pixel of a photo, and where the network saw the photo at all.

    The inverse of `decode.fit`, bilinear. `size` is (width, height); both results have the shape
    (height, width), float32 0..1 and bool.
    """
    width, height = size
    grid = Image.fromarray(np.asarray(heat, np.float32))
    bilinear = Image.Resampling.BILINEAR
    if settings.resize == "crop":
        scale = max(settings.width / width, settings.height / height)
        across, down = min(settings.width / scale, width), min(settings.height / scale, height)
        left, top = round((width - across) / 2), round((height - down) / 2)
        inner = (max(1, round(across)), max(1, round(down)))
        laid, visible = np.zeros((height, width), np.float32), np.zeros((height, width), bool)
        place = np.s_[top : top + inner[1], left : left + inner[0]]
        laid[place] = np.asarray(grid.resize(inner, bilinear))[: height - top, : width - left]
        visible[place] = True
        return laid, visible
    box = None
    if settings.resize == "pad":
        # Where the photo lies on the padded input of the network, in cells of the grid.
        scale = min(settings.width / width, settings.height / height)
        across, down = max(1, round(width * scale)), max(1, round(height * scale))
        left, top = (settings.width - across) // 2, (settings.height - down) // 2
        columns, rows = grid.width / settings.width, grid.height / settings.height
        box = (left * columns, top * rows, (left + across) * columns, (top + down) * rows)
    laid = np.clip(np.asarray(grid.resize((width, height), bilinear, box=box)), 0, 1)
    return laid, np.ones((height, width), bool)


def draw_scale(width: int, low: str, high: str, *, overlay: bool = False) -> Image.Image:
    """The colours from 0 to 1 as a bar `width` pixels wide, with words at its ends.

    For an `overlay` they are those that lie over a grey photo, as `overlay_heat` lays them.
    """
    size, bar = 13, 14
    picture = Image.new("RGB", (width, bar + size + 8), (255, 255, 255))
    values = np.linspace(0, 1, width)
    colours: Array = heat_colours(values)
    if overlay:
        opacity = (OPACITY * values)[:, None]
        colours = np.rint((1 - opacity) * GREY + opacity * colours).astype(np.uint8)
    ramp = np.broadcast_to(colours, (bar, width, 3))
    picture.paste(Image.fromarray(np.ascontiguousarray(ramp)), (0, 0))
    faint = (105, 105, 115)
    half = width // 2 - 4
    contact_sheet.draw_text(picture, (0, bar + 4), low, width=half, size=size, colour=faint)
    text, chosen = contact_sheet.fit_text(high, half, size)
    corner = (width - round(chosen.getlength(text)), bar + 4)
    contact_sheet.draw_text(picture, corner, text, width=half, size=size, colour=faint)
    return picture
