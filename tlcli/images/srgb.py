"""From any mode that a file may hold to 8-bit sRGB.

Deep grey is scaled, not clipped; an embedded colour profile is converted, and passed over where it
is broken; what is transparent shows a white background.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from tlcli.images import bit_depth, pillow_tiff
from tlcli.images.bit_depth import Depth, is_deep_grey

#: What shows through where an image is transparent.
BACKGROUND = (255, 255, 255)

#: Pixels that are converted at a time, so that no step needs memory for the whole image.
BAND = 1 << 18

# The colour space that a profile must be of to fit an image of this mode.
_PROFILE_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab"}

_Band = tuple[Image.Image, Image.Image | None]


def to_srgb(image: Image.Image, depth: Depth | None = None) -> tuple[Image.Image, bool]:
    """A loaded image of any mode as 8-bit sRGB, laid over `BACKGROUND` where it is transparent,
    and whether it is so anywhere.

    `depth` is that of deep grey. Raises `DecodeError` where its values do not fit.
    """
    separated = _deep_grey(image, depth) if is_deep_grey(image) else _separated
    convert = _to_srgb(image)
    if image.mode in ("RGB", "L") and not image.has_transparency_data:
        return convert(image), False
    laid, see_through = Image.new("RGB", image.size, BACKGROUND), False
    for box in _bands(image):
        bare, alpha = separated(image.crop(box))
        laid.paste(convert(bare), box, mask=alpha)
        see_through = see_through or (alpha is not None and alpha.getextrema()[0] != 255)
    return laid, see_through


def _bands(image: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    rows = max(1, BAND // image.width)
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(top + rows, image.height)


def _deep_grey(image: Image.Image, depth: Depth | None) -> Callable[[Image.Image], _Band]:
    """A function that converts bands of deep grey to 8 bits, with the alpha of a transparent value.

    Of 16 bits, or of `depth`, the largest value becomes 255. Other whole numbers are taken as
    16-bit ones, fractions as 0..1, 0..255 or 0..65535, the first range that holds all of them;
    values that fit none of these are stretched from their least to their greatest. What is not
    finite becomes 0.
    """
    clear, negative = image.info.get("transparency"), pillow_tiff.is_negative(image)
    unsigned = image.mode == "I" and pillow_tiff.is_unsigned(image)
    if image.mode.startswith("I;16"):
        low, full = 0.0, float(pillow_tiff.white_level(image))
    else:
        low, full = _range(image, unsigned=unsigned)
    if depth is not None and image.mode != "F" and (low, full) == (0.0, 65535.0):
        full = float(bit_depth.find_white(depth, _extrema(image, unsigned=unsigned)[1]))

    def convert(band: Image.Image) -> _Band:
        values = _numbers(band, unsigned=unsigned)
        alpha = None
        if isinstance(clear, int):
            alpha = Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))
        grey = np.rint((values - low) * (255.0 / full)).astype(np.uint8)
        return Image.fromarray(255 - grey if negative else grey), alpha

    return convert


def _numbers(image: Image.Image, *, unsigned: bool) -> NDArray[np.float64]:
    values = np.asarray(image)
    exact = (values.view(np.uint32) if unsigned else values).astype(np.float64)
    return np.nan_to_num(exact, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _range(image: Image.Image, *, unsigned: bool) -> tuple[float, float]:
    """The value that is black, and how far above it white is."""
    low, high = _extrema(image, unsigned=unsigned)
    for scale in (65535.0,) if image.mode == "I" else (1.0, 255.0, 65535.0):
        if low >= 0 and high <= scale:
            return 0.0, scale
    return low, (high - low) or 1.0


def _extrema(image: Image.Image, *, unsigned: bool) -> tuple[float, float]:
    lows, highs = [], []
    for box in _bands(image):
        values = _numbers(image.crop(box), unsigned=unsigned)
        lows.append(float(values.min()))
        highs.append(float(values.max()))
    return min(lows), max(highs)


def _separated(image: Image.Image) -> _Band:
    """The colours without transparency, and the alpha channel if there is one."""
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode == "LA":
        return image.getchannel("L"), image.getchannel("A")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return image.convert("RGB"), image.getchannel("A")
    if image.mode == "1":
        return image.convert("L"), None
    return (image if image.mode in _PROFILE_SPACES else image.convert("RGB")), None


def _bare_mode(image: Image.Image) -> str:
    """The mode of the colours without alpha, which `_separated` and `_deep_grey` return first."""
    if image.mode in ("La", "LA", "1") or is_deep_grey(image):
        return "L"
    fits = image.mode in _PROFILE_SPACES and not image.has_transparency_data
    return image.mode if fits else "RGB"


def _to_srgb(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """A function that converts colours without alpha to RGB, by a usable colour profile if any."""
    icc, mode = image.info.get("icc_profile"), _bare_mode(image)
    try:
        profile = None
        if isinstance(icc, bytes) and icc:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        elif mode == "LAB":  # Pillow converts it through profiles only
            profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        if profile and _usable(profile, mode):
            srgb = ImageCms.createProfile("sRGB")
            transform = ImageCms.buildTransform(profile, srgb, mode, "RGB")
            return lambda band: ImageCms.applyTransform(band, transform) or band
    except (ImageCms.PyCMSError, ImportError, OSError, TypeError, ValueError):
        pass  # a broken profile, or a Pillow without colour management: the bare values count
    return lambda band: band.convert("RGB")


def _usable(profile: ImageCms.ImageCmsProfile, mode: str) -> bool:
    """Whether a profile fits the image's mode and changes anything: most photos are sRGB."""
    if profile.profile.xcolor_space.strip() != _PROFILE_SPACES[mode]:
        return False
    return not (mode == "RGB" and ImageCms.getProfileDescription(profile).startswith("sRGB"))
