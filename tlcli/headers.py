"""Opening an image file: recognised by its first bytes, and refused where it is none.

No pixel is decoded here. Whatever is wrong is an ImageError with the one problem of that file.
"""

from __future__ import annotations

import io
import logging
import os
import re
import stat
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, BinaryIO

from PIL import Image, ImageFile, TiffImagePlugin

from tlcli.errors import DataError, ImageError, Problem, reason

#: The largest image that is decoded, in pixels; the header is asked before any pixel is. The
#: environment variable TLCLI_PIXEL_LIMIT raises or lowers it.
PIXEL_LIMIT = 200_000_000

# Photographic raster formats only: Pillow also reads formats that run programs (EPS) or are
# documents (PDF). JPEG stands for MPO too; HEIF is there once a plugin has registered it.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "HEIF")

# A TIFF's planar configuration that keeps the channels in strips of their own.
_CHANNEL_BY_CHANNEL = 2

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_HUSH: tuple[object, ...] = ("ignore", None, Warning, re.compile(r"PIL\."), 0)

# Pillow logs some faults of a file as well as raising them; unhandled, they land on stderr.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def open_file(source: Path | bytes, where: str) -> BinaryIO:
    """The bytes of an image file, or those given; `where` is what messages call it."""
    if isinstance(source, bytes):
        return io.BytesIO(source)
    try:
        mode = source.stat().st_mode
        if stat.S_ISDIR(mode):
            raise refused(where, "it is a folder", "name the photos in it, or rename it")
        if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
            raise refused(where, "not a regular file")
        return source.open("rb")
    except FileNotFoundError as error:
        if source.is_symlink():
            raise refused(where, "a link to a file that does not exist") from error
        raise refused(where, "no such file", "check the path") from error
    except PermissionError as error:
        raise refused(where, "permission denied", "make the file readable") from error
    except (OSError, ValueError) as error:
        raise refused(where, reason(error), "check the path") from error


def read_header(stream: BinaryIO, where: str) -> ImageFile.ImageFile:
    """The image in a file, recognised and small enough, no pixel decoded yet."""
    _hush()
    prefix = stream.read(64)
    if not prefix:
        raise refused(where, "empty file (0 bytes)")
    name, factory = _recognised(prefix, where)
    stream.seek(0)
    _lift_limit()
    try:
        # Not Image.open: its pixel limit is lower, and a setting of the whole process.
        image = factory(stream, "")
    except Image.DecompressionBombError as error:
        raise _too_large(where, "its header claims an enormous size") from error
    except Exception as error:
        raise refused(where, f"the {name} header is truncated or damaged") from error
    if image.width * image.height > pixel_limit():
        raise _too_large(where, f"{image.width} x {image.height} pixels")
    if isinstance(image, TiffImagePlugin.TiffImageFile) and not _covered(image):
        size = f"{image.width} x {image.height} pixels"
        what = f"truncated: the strips of this TIFF do not fill its {size}"
        raise refused(where, what, "copy or download the file again")
    return image


def _covered(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether there are data for every pixel of a TIFF; Pillow leaves the others black.

    libtiff, which reads what is compressed, looks for itself: its one tile is the whole image.
    """
    if any(tile[0] == "libtiff" for tile in image.tile):
        return True
    found = 0
    for tile in image.tile:
        left, top, right, bottom = tile[1] or (0, 0, *image.size)
        found += (right - left) * (bottom - top)
    apart = image.tag_v2.get(TiffImagePlugin.PLANAR_CONFIGURATION) == _CHANNEL_BY_CHANNEL
    channels = image.tag_v2.get(TiffImagePlugin.SAMPLESPERPIXEL, 1) if apart else 1
    return found >= channels * image.width * image.height


def pixel_limit() -> int:
    """The largest image that is decoded here, in pixels; raises DataError for a limit that is none.

    `PIXEL_LIMIT`, or what the environment variable TLCLI_PIXEL_LIMIT says.
    """
    said = os.environ.get("TLCLI_PIXEL_LIMIT")
    if not said:
        return PIXEL_LIMIT
    if not said.isascii() or not said.isdecimal() or int(said) == 0:
        hint = f"give a whole number of pixels, as in {PIXEL_LIMIT}"
        raise DataError(Problem("TLCLI_PIXEL_LIMIT", f"'{said}' is not a number of pixels", hint))
    return int(said)


def _lift_limit() -> None:
    """Raise the limit that Pillow's TIFF and WebP readers have of their own to one that the user
    has set; it is one for the whole process, and is never lowered here."""
    own = Image.MAX_IMAGE_PIXELS
    if os.environ.get("TLCLI_PIXEL_LIMIT") and own is not None and 2 * own < pixel_limit():
        Image.MAX_IMAGE_PIXELS = pixel_limit()


def refused(where: str, what: str, hint: str = "replace or remove the file") -> ImageError:
    """An ImageError with one problem."""
    return ImageError(Problem(where, f"cannot be decoded: {what}", hint))


def _too_large(where: str, found: str) -> ImageError:
    limit = pixel_limit()
    hint = f"scale it down to {limit:,} pixels or fewer, or raise TLCLI_PIXEL_LIMIT"
    return refused(where, f"too many pixels: {found}", hint)


def _recognised(
    prefix: bytes, where: str
) -> tuple[str, Callable[[IO[bytes], str | bytes], ImageFile.ImageFile]]:
    """The format that a file's first bytes announce, and what opens it."""
    Image.init()
    is_heif = _is_heif(prefix)
    if is_heif:
        _register_heif()
    for name in ("HEIF",) if is_heif else _FORMATS:
        factory, accept = Image.OPEN.get(name, (None, None))
        answer = accept(prefix) if factory and accept else False
        if isinstance(answer, str):  # Pillow knows the format but was built without it
            raise refused(where, f"this Pillow cannot read {name}", "convert it to JPEG or PNG")
        if factory and answer:
            return name, factory
    if is_heif:
        hint = "run `pip install pillow-heif` to read it, or convert it to JPEG"
        raise refused(where, "HEIF cannot be read here", hint)
    hint = "use JPEG, PNG, GIF, BMP, TIFF, WebP or AVIF, or HEIC after `pip install pillow-heif`"
    if prefix.lstrip().startswith(b"<"):
        hint = "it looks like a web page or markup: fetch the photo itself"
    raise refused(where, f"not an image (starts with {repr(prefix[:16])[1:]})", hint)


def _is_heif(prefix: bytes) -> bool:
    """Whether a file is HEIF and not AVIF, which has the same container and other brands."""
    if prefix[4:8] != b"ftyp" or prefix[8:12] not in _HEIF_BRANDS:
        return False
    brands = prefix[8 : int.from_bytes(prefix[:4])]
    return b"avif" not in brands and b"avis" not in brands


def _register_heif() -> None:
    """Teach Pillow HEIF where the optional plugin is installed."""
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()


def _hush() -> None:
    """Keep the warnings of Pillow's modules from the user.

    One filter, added once, is safe with threads; `warnings.catch_warnings` is not.
    """
    if _HUSH not in tuple(warnings.filters):
        warnings.filterwarnings("ignore", module=r"PIL\.")
