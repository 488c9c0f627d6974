"""From any mode that a file may hold to 8-bit sRGB.

Deep grey is scaled, not clipped; an embedded colour profile is converted, and passed over where it
is broken; what is transparent shows a white background.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, TiffImagePlugin

#: What shows through where an image is transparent.
BACKGROUND = (255, 255, 255)

# The colour space that a profile must be of to fit an image of this mode.
_PROFILE_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab"}


def to_srgb(image: Image.Image) -> Image.Image:
    """An image of any mode as 8-bit sRGB, laid over `BACKGROUND` where it is transparent."""
    icc = image.info.get("icc_profile")
    bare, alpha = _separated(image)
    colours = _srgb(bare, icc)
    if alpha is None:
        return colours
    laid = Image.new("RGB", colours.size, BACKGROUND)
    laid.paste(colours, mask=alpha)
    return laid


def is_see_through(image: Image.Image) -> bool:
    """Whether any pixel of a loaded image is not wholly opaque."""
    if not image.has_transparency_data:
        return False
    alpha = _separated(image)[1]
    return alpha is not None and alpha.getextrema()[0] != 255


def _deep_grey(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Grey of more than 8 bits as 8, and where it has the one colour that stands for nothing."""
    values = np.asarray(image)
    clear, alpha = image.info.get("transparency"), None
    if isinstance(clear, int):
        alpha = Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))
    if values.dtype.kind == "u" and _is_negative(image):
        values = np.iinfo(values.dtype).max - values
    return Image.fromarray(_scaled_grey(values)), alpha


def _is_negative(image: Image.Image) -> bool:
    """Whether 0 is white, which Pillow sees to for up to 8 bits alone."""
    tags = getattr(image, "tag_v2", {})
    return image.format == "TIFF" and tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0


def _scaled_grey(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Deep grey as 8 bits.

    16-bit values are divided by 257. Other whole numbers are taken as 16-bit ones, fractions as
    0..1, 0..255 or 0..65535, whichever is the first to hold all of them; values that fit none
    of these are stretched from their least to their greatest. What is not finite becomes 0.
    """
    if values.dtype.kind == "u":
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    scales = (65535.0,) if values.dtype.kind == "i" else (1.0, 255.0, 65535.0)
    exact = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = exact.min(), exact.max()
    full = next((scale for scale in scales if low >= 0 and high <= scale), None)
    if full is None:
        exact, full = exact - low, (high - low) or 1.0
    return np.rint(exact * (255.0 / full)).astype(np.uint8)


def _separated(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """The colours without transparency, and the alpha channel if there is one."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _deep_grey(image)
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


def _srgb(image: Image.Image, icc: object) -> Image.Image:
    """`image` as RGB: through its colour profile if there is a usable one, else plainly."""
    try:
        profile = None
        if isinstance(icc, bytes) and icc:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        elif image.mode == "LAB":  # Pillow converts it through profiles only
            profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        if profile and _usable(profile, image.mode):
            srgb = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB")
            return converted or image
    except (ImageCms.PyCMSError, ImportError, OSError, TypeError, ValueError):
        pass  # a broken profile, or a Pillow without colour management: the bare values count
    return image.convert("RGB")


def _usable(profile: ImageCms.ImageCmsProfile, mode: str) -> bool:
    """Whether a profile fits the image's mode and changes anything: most photos are sRGB."""
    if profile.profile.xcolor_space.strip() != _PROFILE_SPACES[mode]:
        return False
    return not (mode == "RGB" and ImageCms.getProfileDescription(profile).startswith("sRGB"))
