"""From a file to pixels: the one path that every command takes.

A file is recognised by its first bytes, never by its name, and comes out as 8-bit sRGB:

- EXIF orientation is applied; of an animation or a file of several pages, the first one counts;
- an embedded colour profile is converted to sRGB, and passed over where it is broken;
- whatever is transparent shows a white background;
- deep grey is scaled to 8 bits, not clipped, as `_scaled_grey` says;
- a file whose data end before its last pixel is refused, and so is one with too many pixels.

Pixels that could come out differently than before need a new `DECODER_VERSION`.
"""

from __future__ import annotations

import io
import logging
import re
import stat
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile

from tlcli.errors import ImageError, Problem, reason

#: Part of every address in the feature store, so that other pixels get other rows.
DECODER_VERSION: int = 1

#: The largest image that is decoded, in pixels; the header is asked before any pixel is.
PIXEL_LIMIT = 200_000_000

#: What shows through where an image is transparent.
BACKGROUND = (255, 255, 255)

Resize = Literal["squash", "crop", "pad"]

# Photographic raster formats only: Pillow also reads formats that run programs (EPS) or are
# documents (PDF). JPEG stands for MPO too; HEIF is there once a plugin has registered it.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "HEIF")

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_ORIENTATION_TAG = 0x0112
_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# The colour space that a profile must be of to fit an image of this mode.
_PROFILE_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab"}

_HUSH: tuple[object, ...] = ("ignore", None, Warning, re.compile(r"PIL\."), 0)

# Pillow logs some faults of a file as well as raising them; unhandled, they land on stderr.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def decode(source: Path | bytes, *, name: str | None = None) -> Image.Image:
    """The upright 8-bit RGB image in a file, or in its bytes.

    `name` is what messages call it: its path unless given. Raises ImageError with one problem.
    """
    where = name or (str(source) if isinstance(source, Path) else "image")
    with _stream(source, where) as stream:
        image = _header(stream, where)
        try:
            image.load()
            return _rgb(_upright(image))
        # What a decoder raises on a hostile file is anybody's guess; all of it is about the file.
        except Exception as error:
            raise _refused(where, *_damage(image.format, error)) from error


def fit(image: Image.Image, height: int, width: int, resize: Resize) -> Image.Image:
    """An image of `height` x `width` pixels, in one bilinear resampling.

    `squash` ignores the aspect ratio; `crop` keeps it and cuts the long side around the centre;
    `pad` keeps it and centres the whole image on black. The filter is Pillow's: its support grows
    with the reduction, so that small results are not aliased.
    """
    if resize == "squash":
        return image.resize((width, height), Image.Resampling.BILINEAR)
    if resize == "crop":
        scale = max(width / image.width, height / image.height)
        # Rounding must not push the box over the edge of the image.
        across = min(width / scale, image.width)
        down = min(height / scale, image.height)
        left, top = (image.width - across) / 2, (image.height - down) / 2
        box = (left, top, left + across, top + down)
        return image.resize((width, height), Image.Resampling.BILINEAR, box=box)
    scale = min(width / image.width, height / image.height)
    inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    canvas = Image.new(image.mode, (width, height))
    whole = image.resize(inner, Image.Resampling.BILINEAR)
    canvas.paste(whole, ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return canvas


def load(path: Path, *, height: int, width: int, resize: Resize) -> NDArray[np.uint8]:
    """The pixels of an image file: uint8 (height, width, 3), RGB, 0..255.

    Raises ImageError as `decode` does.
    """
    return np.array(fit(decode(path), height, width, resize), dtype=np.uint8)


def verify(path: Path) -> Problem | None:
    """What keeps a file from being decoded, found by decoding it; None if nothing does."""
    try:
        decode(path)
    except ImageError as error:
        return error.problems[0]
    return None


def sniff(path: Path) -> Problem | None:
    """What the header alone shows to be wrong with a file: cheap enough to ask of every file."""
    try:
        with _stream(path, str(path)) as stream:
            _header(stream, str(path))
    except ImageError as error:
        return error.problems[0]
    return None


def _refused(where: str, what: str, hint: str = "replace or remove the file") -> ImageError:
    return ImageError(Problem(where, f"cannot be decoded: {what}", hint))


def _stream(source: Path | bytes, where: str) -> BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    try:
        mode = source.stat().st_mode
        if stat.S_ISDIR(mode):
            raise _refused(where, "it is a folder", "name the photos in it, or rename it")
        if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
            raise _refused(where, "not a regular file")
        return source.open("rb")
    except FileNotFoundError as error:
        if source.is_symlink():
            raise _refused(where, "a link to a file that does not exist") from error
        raise _refused(where, "no such file", "check the path") from error
    except PermissionError as error:
        raise _refused(where, "permission denied", "make the file readable") from error
    except (OSError, ValueError) as error:
        raise _refused(where, reason(error), "check the path") from error


def _header(stream: BinaryIO, where: str) -> ImageFile.ImageFile:
    """The image in `stream`, recognised and small enough, no pixel decoded yet."""
    _hush()
    prefix = stream.read(16)
    if not prefix:
        raise _refused(where, "empty file (0 bytes)")
    name, factory = _recognised(prefix, where)
    stream.seek(0)
    try:
        # Not Image.open: its pixel limit is lower, and a setting of the whole process.
        image = factory(stream, "")
    except Image.DecompressionBombError as error:
        raise _too_large(where, "its header claims an enormous size") from error
    except Exception as error:
        raise _refused(where, f"the {name} header is truncated or damaged") from error
    if image.width * image.height > PIXEL_LIMIT:
        raise _too_large(where, f"{image.width} x {image.height} pixels")
    return image


def _too_large(where: str, found: str) -> ImageError:
    hint = f"scale it down to {PIXEL_LIMIT:,} pixels or fewer"
    return _refused(where, f"too many pixels: {found}", hint)


def _recognised(
    prefix: bytes, where: str
) -> tuple[str, Callable[[IO[bytes], str | bytes], ImageFile.ImageFile]]:
    """The format that a file's first bytes announce, and what opens it."""
    Image.init()
    for name in _FORMATS:
        factory, accept = Image.OPEN.get(name, (None, None))
        answer = accept(prefix) if factory and accept else False
        if isinstance(answer, str):  # Pillow knows the format but was built without it
            raise _refused(where, f"this Pillow cannot read {name}", "convert it to JPEG or PNG")
        if factory and answer:
            return name, factory
    if prefix[4:8] == b"ftyp" and prefix[8:12] in _HEIF_BRANDS:
        raise _refused(where, "HEIF cannot be read here", "convert it to JPEG or PNG")
    hint = "give it as JPEG, PNG, GIF, BMP, TIFF, WebP or AVIF"
    if prefix.lstrip().startswith(b"<"):
        hint = "it looks like a web page or markup: fetch the photo itself"
    raise _refused(where, f"not an image (starts with {repr(prefix)[1:]})", hint)


def _damage(name: str | None, error: Exception) -> tuple[str, str]:
    """What broke while pixels were decoded, and what to do."""
    if isinstance(error, Image.DecompressionBombError):
        return "too many pixels in one of its frames", "scale it down"
    if isinstance(error, MemoryError):
        return "not enough memory for its pixels", "scale it down"
    if "truncated" in str(error).lower():
        return f"truncated: the {name} data end early", "copy or download the file again"
    return f"damaged {name} data ({reason(error)})", "replace or remove the file"


def _hush() -> None:
    """Keep the warnings of Pillow's modules from the user.

    One filter, added once, is safe with threads; `warnings.catch_warnings` is not.
    """
    if _HUSH not in tuple(warnings.filters):
        warnings.filterwarnings("ignore", module=r"PIL\.")


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # broken EXIF says nothing about the pixels
        return image
    turn = _ORIENTATIONS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    icc = image.info.get("icc_profile")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = Image.fromarray(_scaled_grey(np.asarray(image)))
    bare, alpha = _separated(image)
    colours = _srgb(bare, icc)
    if alpha is None:
        return colours
    laid = Image.new("RGB", colours.size, BACKGROUND)
    laid.paste(colours, mask=alpha)
    return laid


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
