"""Photos that use fewer bits than their files have room for.

Microscopes, radiography and scientific cameras measure 10, 12 or 14 bits and store them in 16, so
that white is 1,023, 4,095 or 16,383 instead of 65,535. Read as 16 bits, such a photo is nearly
black, and in 8 bits it has 4, 16 or 64 levels left.
"""

from __future__ import annotations

import sys
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from tlcli.images import pillow_tiff
from tlcli.images.decode_errors import DecodeError

#: Bits of the largest value that a channel can have; "auto": the fewest of `DEPTHS` that hold all
#: values of the photo.
Depth = int | Literal["auto"]

#: What cameras measure, and what they store it in.
DEPTHS = (8, 10, 12, 14, 16)

# Pillow keeps the high byte of each channel of deep colours. Its layout of the other byte order
# takes the byte that is the low one then.
_OTHER_ORDER = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
_LAYOUTS = ("RGB;16", "RGBA;16", "RGBX;16")

# Pillow's layout of a PNG, which it reads as RGBA.
_GREY_WITH_ALPHA = "LA;16B"


def is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether a channel of an image has more than 8 bits; asked before its pixels are loaded.

    A plugin that scales deep colours down itself still names the layout that it reads.
    """
    return is_deep_grey(image) or ";16" in str(image.tile)


def is_deep_grey(image: Image.Image) -> bool:
    """Whether an image is grey of more than 8 bits, or of fractions; Pillow loads it as that."""
    return image.mode[0] in "IF"


def find_white(depth: Depth, largest: float) -> int:
    """The value that stands for white, in a photo of this largest value.

    Raises `DecodeError` where the photo holds more than `depth` bits.
    """
    if depth == "auto":
        fitting = (bits for bits in DEPTHS if largest < 1 << bits)
        return int((1 << next(fitting, DEPTHS[-1])) - 1)
    white = (1 << depth) - 1
    if largest > white:
        what = f"its values do not fit data.depth: {depth}"
        hint = "use data.depth: auto, or the depth of the camera"
        raise DecodeError("damaged", what, hint, detail=f"they reach {int(largest):,}")
    return white


def rescale_colours(image: Image.Image, header: ImageFile.ImageFile, depth: Depth) -> Image.Image:
    """A loaded image whose colours had 16 bits, with `depth` bits of them in its 8.

    Args:
        image: of mode RGB or RGBA, of which Pillow has kept the high bytes.
        header: of the same file, opened again, its pixels not loaded.

    Raises:
        DecodeError: for a layout whose low bytes cannot be had, and as `find_white` does.
    """
    if any(tile.args == _GREY_WITH_ALPHA for tile in header.tile):
        values = _grey_with_alpha(header)
    else:
        low = load_low_bytes(header)
        values = np.stack([_deep_band(image, low, band) for band in "RGB"], axis=2)
    white = find_white(depth, float(values.max()))
    scaled = np.rint(values * (255.0 / white)).astype(np.uint8)
    result = Image.fromarray(scaled)
    if image.mode == "RGBA":
        result.putalpha(image.getchannel("A"))
    result.info = dict(image.info)
    return result


def _deep_band(image: Image.Image, low: Image.Image, band: str) -> NDArray[np.uint16]:
    high = np.asarray(image.getchannel(band)).astype(np.uint16)
    return np.asarray(high << 8 | np.asarray(low.getchannel(band)))


def load_low_bytes(header: ImageFile.ImageFile) -> Image.Image:
    """The low bytes of 16-bit colours, as Pillow loads the high ones; the pixels are not loaded.

    Raises `DecodeError` for a layout whose low bytes cannot be had.
    """
    tiles = []
    for tile in header.tile:
        name, *more = (tile.args,) if isinstance(tile.args, str) else tile.args or ("",)
        if pillow_tiff.is_planar(header) or name[:-1] not in _LAYOUTS:
            raise _unsupported(name)
        other = name[:-1] + _OTHER_ORDER[name[-1]]
        tiles.append(tile._replace(args=(other, *more) if more else other))
    header.tile = tiles
    header.load()
    return header


def _grey_with_alpha(header: ImageFile.ImageFile) -> NDArray[np.uint16]:
    """The 16-bit grey of a PNG with 16-bit alpha, for each of R, G and B.

    Its pixels have as many bytes as those of 8-bit RGBA: two of grey, then two of alpha.
    """
    header.tile = [tile._replace(args="RGBA") for tile in header.tile]
    header.load()
    grey = np.asarray(header)[..., :2].astype(np.uint16)
    return np.repeat(grey[..., :1] << 8 | grey[..., 1:], 3, axis=2)


def _unsupported(layout: str) -> DecodeError:
    what = "data.depth cannot be applied to this kind of file"
    return DecodeError("unsupported", what, "save it as PNG, or as RGB TIFF", detail=layout)
