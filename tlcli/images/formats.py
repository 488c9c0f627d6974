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

from PIL import Image, ImageFile

from tlcli.errors import DataError, Problem, reason
from tlcli.images import pillow_tiff
from tlcli.images.decode_errors import DecodeError
from tlcli.system import object_stores

#: The largest image that is decoded, in pixels; the header is asked before any pixel is. The
#: environment variable TLCLI_PIXEL_LIMIT raises or lowers it.
PIXEL_LIMIT = 200_000_000

# Photographic raster formats only: Pillow also reads formats that run programs (EPS) or are
# documents (PDF). JPEG stands for MPO too; HEIF is there once a plugin has registered it.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "HEIF")

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_HUSH: tuple[object, ...] = ("ignore", None, Warning, re.compile(r"PIL\."), 0)

# Pillow logs some faults of a file as well as raising them; unhandled, they land on stderr.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def open_file(source: Path | bytes, where: str) -> BinaryIO:
    """The bytes of an image file, or those given; `where` is what messages call it."""
    if isinstance(source, bytes):
        return io.BytesIO(source)
    try:
        return _opened(source)
    except DecodeError as fault:
        raise fault.for_file(where) from fault.__cause__


def _opened(path: Path) -> BinaryIO:
    try:
        if address := object_stores.store_address(path):
            return io.BytesIO(object_stores.read_object(address))
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            hint = "name the photos in it, or rename it"
            raise DecodeError("no access", "it is a folder", hint)
        if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
            raise DecodeError("no access", "not a regular file", "replace or remove the file")
        return path.open("rb")
    except FileNotFoundError as error:
        if path.is_symlink():
            what = "a link to a file that does not exist"
            raise DecodeError("no access", what, "replace or remove the file") from error
        raise DecodeError("no access", "no such file") from error
    except PermissionError as error:
        raise DecodeError("no access", "permission denied", "make the file readable") from error
    except (OSError, ValueError) as error:
        raise DecodeError("no access", reason(error)) from error


def read_header(stream: BinaryIO, where: str) -> ImageFile.ImageFile:
    """The image in a file, recognised and small enough, no pixel decoded yet."""
    _hush()
    _lift_limit()
    try:
        return _recognised(stream)
    except DecodeError as fault:
        raise fault.for_file(where) from fault.__cause__


def _recognised(stream: BinaryIO) -> ImageFile.ImageFile:
    prefix = stream.read(64)
    if not prefix:
        raise DecodeError("truncated", "empty file (0 bytes)", "replace or remove the file")
    name, factory = _reader(prefix)
    stream.seek(0)
    try:
        # Not Image.open: its pixel limit is lower, and a setting of the whole process.
        image = factory(stream, "")
    except DecodeError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large("its header claims an enormous size") from error
    except Exception as error:
        raise DecodeError("damaged", f"the {name} header is truncated or damaged") from error
    size = f"{image.width} x {image.height} pixels"
    if image.width * image.height > pixel_limit():
        raise _too_large(size)
    if isinstance(image, pillow_tiff.Tiff) and not pillow_tiff.has_all_strips(image):
        what = "truncated: the strips of this TIFF do not fill its size"
        raise DecodeError("truncated", what, detail=size)
    return image


def pixel_limit() -> int:
    """The largest image that is decoded here, in pixels; raises DataError for a limit that is none.

    `PIXEL_LIMIT`, or what the environment variable TLCLI_PIXEL_LIMIT says.
    """
    text = os.environ.get("TLCLI_PIXEL_LIMIT")
    if not text:
        return PIXEL_LIMIT
    if not text.isascii() or not text.isdecimal() or int(text) == 0:
        hint = f"give a whole number of pixels, as in {PIXEL_LIMIT}"
        raise DataError(Problem("TLCLI_PIXEL_LIMIT", f"'{text}' is not a number of pixels", hint))
    return int(text)


def _lift_limit() -> None:
    """Let Pillow's own readers of TIFF, WebP and GIF pass what is allowed here.

    They refuse twice a number that is one for the whole process; it is never lowered here.
    """
    own = Image.MAX_IMAGE_PIXELS
    if own is not None and 2 * own < pixel_limit():
        Image.MAX_IMAGE_PIXELS = (pixel_limit() + 1) // 2


def _too_large(size: str) -> DecodeError:
    hint = f"scale it down to {pixel_limit():,} pixels or fewer, or raise TLCLI_PIXEL_LIMIT"
    return DecodeError("too large", "too many pixels", hint, detail=size)


def _reader(
    prefix: bytes,
) -> tuple[str, Callable[[IO[bytes], str | bytes], ImageFile.ImageFile]]:
    """The format that a file's first bytes announce, and what opens it."""
    is_heif = _is_heif(prefix)
    if is_heif:
        _register_heif()
    # Pillow's usual formats first: the modules of all take a tenth of a second.
    for load in (Image.preinit, Image.init):
        load()
        for name in ("HEIF",) if is_heif else _FORMATS:
            factory, accept = Image.OPEN.get(name, (None, None))
            answer = accept(prefix) if factory and accept else False
            if isinstance(answer, str):  # Pillow knows the format but was built without it
                what = f"this Pillow cannot read {name}"
                raise DecodeError("unsupported", what, "convert it to JPEG or PNG")
            if factory and answer:
                return name, pillow_tiff.Tiff if name == "TIFF" else factory
    if is_heif:
        hint = "run `pip install pillow-heif` to read it, or convert it to JPEG"
        raise DecodeError("unsupported", "HEIF cannot be read here", hint)
    hint = "use JPEG, PNG, GIF, BMP, TIFF, WebP or AVIF, or HEIC after `pip install pillow-heif`"
    if prefix.lstrip().startswith(b"<"):
        hint = "it looks like a web page or markup: fetch the photo itself"
    detail = f"it starts with {repr(prefix[:16])[1:]}"
    raise DecodeError("no image", "not an image", hint, detail=detail)


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
