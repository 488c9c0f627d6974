"""From a file to pixels: the one path that every command takes.

A file is recognised by its first bytes, never by its name (`formats`), and comes out as 8-bit sRGB:

- EXIF orientation is applied; of an animation or a file of several pages, the first is read;
- deep grey, colour profiles and transparency become sRGB on white (`srgb`);
- a file whose data end before its last pixel is refused, and so is one with too many pixels, and
  one that would come out scrambled (`truncation`, `pillow_png`, `pillow_tiff`);
- where a small image is made from a large one, it is reduced before it is resampled: a JPEG while
  it is decoded, by leaving out high frequencies, any other by averaging whole blocks of pixels.
  `GAP` limits how far.

Pixels that could come out differently than before need a new `DECODER_VERSION`.
"""

from __future__ import annotations

import errno
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Semaphore
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from tlcli.errors import ImageError, Problem, reason
from tlcli.images import bit_depth, pillow_png, srgb, truncation
from tlcli.images.bit_depth import Depth
from tlcli.images.contents import read_contents
from tlcli.images.decode_errors import DecodeError
from tlcli.images.formats import open_file, read_header
from tlcli.images.orientation import (
    Box,
    find_extent,
    find_turn,
    find_turn_by_header,
    swaps_sides,
)
from tlcli.images.truncation import JPEGS
from tlcli.system.object_stores import store_address

#: Part of every address in the feature store, so that other pixels get other rows.
DECODER_VERSION: int = 4

#: A reduced image is at least so many times as large as what is resampled from it. On photos the
#: result then differs from that of the full decode by less than one of 255 levels on average, and
#: by 9 or fewer in 999 of 1,000 values (1.5 and 20 for results of about 20 px); a 12-megapixel JPEG
#: decodes at a quarter up to 299 px.
GAP = 2.5

Resize = Literal["squash", "crop", "pad"]

# Images of more pixels than this are decoded one at a time, for the sake of memory: docs/data.md
# says what a pixel takes.
_HUGE = 50_000_000
_one_by_one = Semaphore()

# Error numbers of seeks to positions that a damaged file names; any other is a fault of the disk.
_OF_THE_FILE = (None, errno.EINVAL, errno.EOVERFLOW)


@dataclass(frozen=True, slots=True)
class Facts:
    """How an image is stored.

    Attributes:
        format: Pillow's name of the format.
        mode: Pillow's name of what a pixel holds: RGB, L, CMYK, P, ...
        width, height: of the upright image, in pixels.
        turned: whether EXIF asks for another orientation than the stored one.
        deep: whether a channel has more than 8 bits.
        transparent: whether any pixel is not opaque.
        cut: whether its last stored rows look as if the data of a JPEG had ended before them.
    """

    format: str
    mode: str
    width: int
    height: int
    turned: bool
    deep: bool
    transparent: bool
    cut: bool = False


class _Upright(NamedTuple):
    """A decoded image, the part of it to use, and facts that are lost once it is converted."""

    image: Image.Image
    extent: Box
    turn: Image.Transpose | None
    transparent: bool
    cut: bool


def decode(
    source: Path | bytes, *, name: str | None = None, depth: Depth | None = None
) -> Image.Image:
    """The upright 8-bit RGB image in a file, or in its bytes, every pixel of it.

    `name` is what messages call it: its path unless given. `depth` is that of deep images: all the
    bits that the file has by default. Raises ImageError with one problem.
    """
    return examine(source, name=name, depth=depth)[0]


def examine(
    source: Path | bytes, *, name: str | None = None, depth: Depth | None = None
) -> tuple[Image.Image, Facts]:
    """What `decode` gives, and how it is stored."""
    where = _name_source(source, name)
    with open_file(source, where) as stream:
        image = read_header(stream, where)
        # Read from the header: Pillow forgets some of it once pixels are loaded.
        turn = find_turn_by_header(image)
        deep = bit_depth.is_deep(image)
        stored = (image.format or "", image.mode)
        upright = _decoded(image, stream, where, most=1, depth=depth)
        turned = (turn or upright.turn) is not None
        size = upright.image.size
        return upright.image, Facts(*stored, *size, turned, deep, upright.transparent, upright.cut)


def _name_source(source: Path | bytes, name: str | None) -> str:
    """What messages call a file."""
    return name or (str(source) if isinstance(source, Path) else "image")


def fit(
    image: Image.Image, height: int, width: int, resize: Resize, extent: Box | None = None
) -> Image.Image:
    """An image of `height` x `width` pixels, in one bilinear resampling.

    `squash` ignores the aspect ratio; `crop` keeps it and cuts the long side around the centre;
    `pad` keeps it and centres the whole image on black. The filter is Pillow's: its support grows
    with the reduction, so that small results are not aliased. Of more than twice `GAP` times the
    pixels a side, whole blocks are averaged first. `extent` is the part of `image` to use:
    left, top, right, bottom; all of it by default.
    """
    left, top, right, bottom = extent or (0, 0, image.width, image.height)
    wide, high = right - left, bottom - top
    scale = _scale(wide, high, height, width, resize)
    if resize == "crop":
        # Rounding must not push the box over the edge of the image.
        across, down = min(width / scale, wide), min(height / scale, high)
        left, top = left + (wide - across) / 2, top + (high - down) / 2
        right, bottom = min(left + across, right), min(top + down, bottom)
    size = (width, height)
    if resize == "pad":
        size = (max(1, round(wide * scale)), max(1, round(high * scale)))
    box = (left, top, right, bottom)
    whole = image.resize(size, Image.Resampling.BILINEAR, box=box, reducing_gap=GAP)
    if resize != "pad":
        return whole
    canvas = Image.new(image.mode, (width, height))
    canvas.paste(whole, ((width - size[0]) // 2, (height - size[1]) // 2))
    return canvas


def _scale(wide: float, high: float, height: int, width: int, resize: Resize) -> float:
    """How much an image of `wide` x `high` shrinks or grows: squashed, on its smaller change."""
    sides = (width / wide, height / high)
    return min(sides) if resize == "pad" else max(sides)


def load_image(
    source: Path | bytes,
    *,
    height: int,
    width: int,
    resize: Resize,
    name: str | None = None,
    depth: Depth | None = None,
) -> NDArray[np.uint8]:
    """The pixels of an image file, or of its bytes: uint8 (height, width, 3), RGB, 0..255.

    `name`, `depth` and errors are as with `decode`.
    """
    where = _name_source(source, name)
    with open_file(source, where) as stream:
        image = read_header(stream, where)
        turned = swaps_sides(find_turn_by_header(image))
        wide, high = image.size[::-1] if turned else image.size
        scale = _scale(wide, high, height, width, resize)
        upright = _decoded(image, stream, where, most=1 / (GAP * scale), depth=depth)
    return np.array(fit(upright.image, height, width, resize, upright.extent), dtype=np.uint8)


def verify(path: Path, digest: str, *, depth: Depth | None = None) -> Problem | None:
    """What keeps a photo from being decoded, found by decoding it; None if nothing does.

    `digest` is the hash of its bytes; other bytes are a problem of the kind "changed".
    """
    try:
        decode(read_contents(path, digest).content, name=str(path), depth=depth)
    except ImageError as error:
        return error.problems[0]
    return None


def sniff(source: Path | bytes, *, name: str | None = None) -> Problem | None:
    """What the header alone shows to be wrong with a file, or with its bytes.

    It is cheap enough to be asked of every file. Of an object in a store nothing is asked by its
    path, since it would be fetched for that.
    """
    if isinstance(source, Path) and store_address(source):
        return None
    where = _name_source(source, name)
    try:
        with open_file(source, where) as stream:
            read_header(stream, where)
    except ImageError as error:
        return error.problems[0]
    return None


class HeaderCheck:
    """Looks at the headers of photos while their bytes are read for their hashes.

    Attributes:
        problems: what is wrong with photos, by path.
    """

    def __init__(self) -> None:
        self.problems: dict[Path, Problem] = {}

    def look(self, path: Path, begin: bytes, *, is_whole: bool) -> None:
        """Look at a photo, given the bytes that it begins with; any thread may."""
        problem = sniff(begin, name=str(path))
        if problem and not is_whole:  # the header may be longer
            problem = sniff(path)
        if problem:
            self.problems[path] = problem


def _decoded(
    image: ImageFile.ImageFile, stream: BinaryIO, where: str, most: float, depth: Depth | None
) -> _Upright:
    """The upright RGB image behind a header, and the part of it to use.

    A JPEG is decoded at a half, a quarter or an eighth where it may shrink by that factor (`most`).
    Its sides are then rounded up to whole pixels, of which the last counts in part.
    """
    try:
        box = None
        reduction = next((factor for factor in (8, 4, 2) if factor <= most), 1)
        if image.format in JPEGS and reduction > 1:
            least = (max(1, image.width // reduction), max(1, image.height // reduction))
            box = (image.draft(None, least) or (None, None))[1]
        with _one_by_one if image.width * image.height > _HUGE else nullcontext():
            return _decode_upright(image, stream, box, depth)
    except DecodeError as fault:
        raise fault.for_file(where) from fault.__cause__
    # A decoder can raise anything on a hostile file; whatever it is, the file is the cause.
    except Exception as error:
        raise _fault(image.format, error).for_file(where) from error


def _decode_upright(
    image: ImageFile.ImageFile, stream: BinaryIO, box: Box | None, depth: Depth | None
) -> _Upright:
    """The same; `box` is the part of the stored pixels to use, None for all of them."""
    rescaled = depth is not None and bit_depth.is_deep(image)
    image.load()
    truncation.check_not_truncated(image, stream)
    turn = find_turn(image)  # asked now, since Pillow turns a TIFF while loading it
    cut = truncation.ends_in_grey(image)
    stored = pillow_png.apply_key(image, stream) if image.format == "PNG" else image
    if depth is not None and rescaled and not bit_depth.is_deep_grey(stored):
        stream.seek(0)
        header = read_header(stream, "")
        stored = bit_depth.rescale_colours(stored, header, depth)
    whole, transparent = srgb.to_srgb(stored, depth)
    upright = whole if turn is None else whole.transpose(turn)
    _, _, wide, high = box or (0, 0, image.width, image.height)
    return _Upright(upright, find_extent(upright, wide, high, turn), turn, transparent, cut)


def _fault(name: str | None, error: Exception) -> DecodeError:
    """What broke while pixels were decoded."""
    if isinstance(error, Image.DecompressionBombError):
        hint = "scale it down, or raise TLCLI_PIXEL_LIMIT"
        return DecodeError("too large", "too many pixels in one of its frames", hint)
    if isinstance(error, MemoryError):
        return DecodeError("no memory", "not enough memory for its pixels")
    if isinstance(error, OSError) and error.errno not in _OF_THE_FILE:
        return DecodeError("no access", "cannot be read", detail=reason(error))
    if "truncated" in str(error).lower():  # Pillow has no other sign of it
        return DecodeError("truncated", f"truncated: the {name} data end early")
    return DecodeError("damaged", f"damaged {name} data", detail=reason(error))
