"""What Pillow makes of TIFF files, put right: layouts that it scrambles, and those it cannot read.

Compared with NumPy over every layout that Pillow lists, in `tests/images/test_pillow_fixes.py`.
"""

from __future__ import annotations

import zlib
from typing import BinaryIO

from PIL import Image, ImageChops, ImageFile, PngImagePlugin, TiffImagePlugin
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COMPRESSION,
    EXTRASAMPLES,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    SAMPLEFORMAT,
    SAMPLESPERPIXEL,
)

from tlcli.images.decode_errors import DecodeError

# A planar configuration that keeps the channels in strips of their own.
_APART = 2

_RAW, _RAW_BY_LIBTIFF = 1, 32771
_UNSIGNED = 1
_FILL_ORDER = 266
_STRIPS, _TILES = 273, 324
_RGB, _CMYK = 2, 5

# Where libtiff has put numbers into the order of this machine, and Pillow still turns them.
_AS_HERE = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}

_NUMBERS = {1: "whole numbers", 2: "whole numbers with a sign", 3: "floating point numbers"}


class Tiff(TiffImagePlugin.TiffImageFile):
    """A TIFF as Pillow reads it, with `Fault` for one that is sound and that it cannot read."""

    def _setup(self) -> None:
        # Pillow's step from tags to a plan of reading: no other hook is early enough.
        tags = self.tag_v2
        by_libtiff = tags.get(COMPRESSION, _RAW) == _RAW and not _safe_raw(tags)
        try:
            if by_libtiff:
                tags[COMPRESSION] = _RAW_BY_LIBTIFF
            super()._setup()
        except (KeyError, SyntaxError) as error:
            if fault := _unknown(tags):
                raise fault from error
            raise
        finally:
            if by_libtiff:
                tags[COMPRESSION] = _RAW
        if self.use_load_libtiff and _apart(tags):
            self._expect_bands()
        self.tile = [
            tile._replace(args=(_AS_HERE.get(tile.args[0], tile.args[0]), *tile.args[1:]))
            if tile.codec_name == "libtiff" and isinstance(tile.args, tuple)
            else tile
            for tile in self.tile
        ]

    def _expect_bands(self) -> None:
        """Raise `Fault` for channels that lie apart and that Pillow puts into the wrong places."""
        extra = self.tag_v2.get(EXTRASAMPLES, ())
        if self.mode == "LA" or (len(extra) > 1 and max(extra) > 0):
            raise _foreign("alpha among channels that are in strips of their own")


def is_negative(image: Image.Image) -> bool:
    """Whether 0 is white, which Pillow sees to for up to 8 bits alone."""
    return _tags(image).get(PHOTOMETRIC_INTERPRETATION) == 0


def white(image: Image.Image) -> int:
    """The largest value of a channel of an image in mode I;16."""
    return 4095 if _all_of(_tags(image), BITSPERSAMPLE, 16) == {12} else 65535


def is_unsigned(image: Image.Image) -> bool:
    """Whether an image in mode I has values up to 2**32 - 1, which Pillow takes for negative."""
    tags = _tags(image)
    wide = _all_of(tags, BITSPERSAMPLE, 16) == {32}
    return wide and _all_of(tags, SAMPLEFORMAT, _UNSIGNED) == {_UNSIGNED}


def covered(image: ImageFile.ImageFile) -> bool:
    """Whether there are data for every pixel of a TIFF; Pillow leaves the others black.

    libtiff, which reads what is compressed, looks for itself: its one tile is the whole image.
    """
    if any(tile[0] == "libtiff" for tile in image.tile):
        return True
    found = 0
    for tile in image.tile:
        left, top, right, bottom = tile[1] or (0, 0, *image.size)
        found += (right - left) * (bottom - top)
    tags = _tags(image)
    channels = tags.get(SAMPLESPERPIXEL, 1) if _apart(tags) else 1
    return bool(found >= channels * image.width * image.height)


def _tags(image: Image.Image) -> TiffImagePlugin.ImageFileDirectory_v2:
    tags = getattr(image, "tag_v2", None)
    return tags if tags is not None else TiffImagePlugin.ImageFileDirectory_v2()


def _apart(tags: TiffImagePlugin.ImageFileDirectory_v2) -> bool:
    return bool(tags.get(PLANAR_CONFIGURATION, 1) == _APART)


def _safe_raw(tags: TiffImagePlugin.ImageFileDirectory_v2) -> bool:
    """Whether Pillow itself reads data that are not compressed; libtiff knows better.

    Of channels that lie apart, Pillow takes a letter of its name of the layout each, which fits
    8-bit RGB and CMYK alone. Of bits in the other order, it lacks what its table names.
    """
    if tags.get(_FILL_ORDER, 1) != 1:
        return False
    plain = _all_of(tags, BITSPERSAMPLE, 1) == {8} and EXTRASAMPLES not in tags
    return not _apart(tags) or (plain and tags.get(PHOTOMETRIC_INTERPRETATION) in (_RGB, _CMYK))


def _all_of(tags: TiffImagePlugin.ImageFileDirectory_v2, tag: int, default: int) -> set[object]:
    """The values of a tag that has one for each channel."""
    said = tags.get(tag, default)
    return set(said) if isinstance(said, tuple) else {said}


def _unknown(tags: TiffImagePlugin.ImageFileDirectory_v2) -> DecodeError | None:
    """The fault of a TIFF that Pillow has refused, if it holds together all the same."""
    compression = tags.get(COMPRESSION, _RAW)
    if compression not in TiffImagePlugin.COMPRESSION_INFO:
        return _foreign(f"compression {compression}")
    bits, kinds = _all_of(tags, BITSPERSAMPLE, 1), _all_of(tags, SAMPLEFORMAT, _UNSIGNED)
    channels = tags.get(SAMPLESPERPIXEL, 1)
    sane = all(isinstance(number, int) and 0 < number <= 64 for number in bits)
    placed = _STRIPS in tags or _TILES in tags
    if not (sane and placed and isinstance(channels, int) and kinds <= set(_NUMBERS)):
        return None
    numbers = " and ".join(_NUMBERS[int(str(kind))] for kind in sorted(kinds, key=str))
    wide = " and ".join(sorted(map(str, bits)))
    return _foreign(f"channels of {wide}-bit {numbers}, {channels} a pixel")


def _foreign(detail: str) -> DecodeError:
    hint = "save it with 8 or 16 bits a channel, in grey or RGB"
    return DecodeError("unsupported", "this kind of TIFF cannot be read here", hint, detail=detail)


#: Bytes read at a time.
_BLOCK = 1 << 20


_GREY, _RGB = 0, 2


def expect_sums(stream: BinaryIO) -> None:
    """Raise `Fault` for pixel data whose checksum is wrong; Pillow looks at those before them.

    A checksum that is cut off is none: the pixels in front of it are there.
    """
    position, found = 8, False
    while True:
        stream.seek(position)
        head = stream.read(8)
        length, name = int.from_bytes(head[:4]), head[4:]
        if len(head) < 8 or (found and name != b"IDAT"):
            return
        if name == b"IDAT":
            found = True
            right, stored = _sum(stream, length, zlib.crc32(name)), stream.read(4)
            if len(stored) == 4 and stored != right:
                raise DecodeError("damaged", "damaged PNG data", detail="a checksum is wrong")
        position += 12 + length


def _sum(stream: BinaryIO, length: int, start: int) -> bytes:
    """The checksum of the next bytes, as a PNG keeps it."""
    while length > 0 and (block := stream.read(min(length, _BLOCK))):
        start, length = zlib.crc32(block, start), length - len(block)
    return start.to_bytes(4)


def with_key(image: Image.Image, stream: BinaryIO) -> Image.Image:
    """A loaded PNG whose one colour that stands for nothing, if it has one, is the right one.

    Pillow compares the pixels that it has made, of 8 bits, with a value of the file's own depth.
    """
    key = image.info.get("transparency")
    if not isinstance(key, int | tuple):
        return image
    stream.seek(24)
    depth, kind = stream.read(2)
    most = (1 << depth) - 1
    if kind == _GREY and depth in (2, 4, 8) and isinstance(key, int):
        image.info["transparency"] = (key & most) * (255 // most)
    elif kind == _RGB and depth == 8 and isinstance(key, tuple):
        image.info["transparency"] = tuple(part & most for part in key)
    elif kind == _RGB and depth == 16 and isinstance(key, tuple):
        return _with_deep_key(image, stream, key)
    return image


def _with_deep_key(image: Image.Image, stream: BinaryIO, key: tuple[int, ...]) -> Image.Image:
    """The same of 16-bit RGB, of which Pillow keeps the high bytes: the low ones are read again."""
    stream.seek(0)
    low = PngImagePlugin.PngImageFile(stream)
    low.tile = [tile._replace(args="RGB;16L") for tile in low.tile]
    low.load()
    differs = Image.new("L", image.size)
    for bytes_of, shift in ((image, 8), (low, 0)):
        for band, part in zip("RGB", key, strict=True):
            table = [255] * 256
            table[part >> shift & 255] = 0
            differs = ImageChops.lighter(differs, bytes_of.getchannel(band).point(table))
    del image.info["transparency"]
    found = image.convert("RGB")
    found.putalpha(differs)
    return found
