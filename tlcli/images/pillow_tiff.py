"""Corrections to how Pillow reads TIFF files.

Some layouts it scrambles, so that they are read another way here; those that it cannot read are
named in the error. `tests/images/test_pillow_tiff.py` compares every layout that Pillow lists with
NumPy.
"""

from __future__ import annotations

from PIL import Image, ImageFile, TiffImagePlugin
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

# libtiff has already put these numbers into this machine's byte order; Pillow's own names for
# the layouts would swap the bytes a second time.
_AS_HERE = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}

_NUMBERS = {1: "whole numbers", 2: "whole numbers with a sign", 3: "floating point numbers"}


class Tiff(TiffImagePlugin.TiffImageFile):
    """Pillow's reader of TIFF, which raises `DecodeError` for a sound file of an unknown layout."""

    def _setup(self) -> None:
        # Pillow's step from tags to a plan of reading: no other hook is early enough.
        tags = self.tag_v2
        by_libtiff = tags.get(COMPRESSION, _RAW) == _RAW and not _safe_raw(tags)
        try:
            if by_libtiff:
                tags[COMPRESSION] = _RAW_BY_LIBTIFF
            super()._setup()
        except (KeyError, SyntaxError) as error:
            if fault := _unknown_layout(tags):
                raise fault from error
            raise
        finally:
            if by_libtiff:
                tags[COMPRESSION] = _RAW
        if self.use_load_libtiff and _is_planar(tags):
            self._expect_bands()
        self.tile = [
            tile._replace(args=(_AS_HERE.get(tile.args[0], tile.args[0]), *tile.args[1:]))
            if tile.codec_name == "libtiff" and isinstance(tile.args, tuple)
            else tile
            for tile in self.tile
        ]

    def _expect_bands(self) -> None:
        """Raise `DecodeError` for planar channels that Pillow puts into the wrong places."""
        extra = self.tag_v2.get(EXTRASAMPLES, ())
        if self.mode == "LA" or (len(extra) > 1 and max(extra) > 0):
            raise _unsupported("alpha among channels that are in strips of their own")


def is_negative(image: Image.Image) -> bool:
    """Whether 0 is white. Pillow inverts such images itself only up to 8 bits a channel."""
    return _tags(image).get(PHOTOMETRIC_INTERPRETATION) == 0


def white_level(image: Image.Image) -> int:
    """The largest value of a channel of an image in mode I;16."""
    return 4095 if _all_of(_tags(image), BITSPERSAMPLE, 16) == {12} else 65535


def is_unsigned(image: Image.Image) -> bool:
    """Whether an image in mode I is unsigned: Pillow reads values from 2**31 on as negative."""
    tags = _tags(image)
    wide = _all_of(tags, BITSPERSAMPLE, 16) == {32}
    return wide and _all_of(tags, SAMPLEFORMAT, _UNSIGNED) == {_UNSIGNED}


def is_planar(image: Image.Image) -> bool:
    """Whether each channel is in strips of its own."""
    return _is_planar(_tags(image))


def has_all_strips(image: ImageFile.ImageFile) -> bool:
    """Whether there are data for every pixel of a TIFF; Pillow leaves the others black.

    libtiff, which reads compressed data, checks this itself; its only tile is the whole image.
    """
    if any(tile[0] == "libtiff" for tile in image.tile):
        return True
    area = 0
    for tile in image.tile:
        left, top, right, bottom = tile[1] or (0, 0, *image.size)
        area += (right - left) * (bottom - top)
    tags = _tags(image)
    channels = tags.get(SAMPLESPERPIXEL, 1) if _is_planar(tags) else 1
    return bool(area >= channels * image.width * image.height)


def _tags(image: Image.Image) -> TiffImagePlugin.ImageFileDirectory_v2:
    tags = getattr(image, "tag_v2", None)
    return tags if tags is not None else TiffImagePlugin.ImageFileDirectory_v2()


def _is_planar(tags: TiffImagePlugin.ImageFileDirectory_v2) -> bool:
    return bool(tags.get(PLANAR_CONFIGURATION, 1) == _APART)


def _safe_raw(tags: TiffImagePlugin.ImageFileDirectory_v2) -> bool:
    """Whether Pillow's own reader is right about these uncompressed data; else libtiff reads them.

    For planar channels, Pillow uses one letter of the mode's name as the layout of each channel,
    which is right for 8-bit RGB and CMYK only. For reversed bits (fill order 2), its table of
    layouts names decoders that do not exist.
    """
    if tags.get(_FILL_ORDER, 1) != 1:
        return False
    plain = _all_of(tags, BITSPERSAMPLE, 1) == {8} and EXTRASAMPLES not in tags
    return not _is_planar(tags) or (plain and tags.get(PHOTOMETRIC_INTERPRETATION) in (_RGB, _CMYK))


def _all_of(tags: TiffImagePlugin.ImageFileDirectory_v2, tag: int, default: int) -> set[object]:
    """The values of a tag that has one for each channel."""
    value = tags.get(tag, default)
    return set(value) if isinstance(value, tuple) else {value}


def _unknown_layout(tags: TiffImagePlugin.ImageFileDirectory_v2) -> DecodeError | None:
    """The error for a TIFF that Pillow refuses, or None if its tags are not even sound."""
    compression = tags.get(COMPRESSION, _RAW)
    if compression not in TiffImagePlugin.COMPRESSION_INFO:
        return _unsupported(f"compression {compression}")
    bits, kinds = _all_of(tags, BITSPERSAMPLE, 1), _all_of(tags, SAMPLEFORMAT, _UNSIGNED)
    channels = tags.get(SAMPLESPERPIXEL, 1)
    sane = all(isinstance(number, int) and 0 < number <= 64 for number in bits)
    placed = _STRIPS in tags or _TILES in tags
    if not (sane and placed and isinstance(channels, int) and kinds <= set(_NUMBERS)):
        return None
    numbers = " and ".join(_NUMBERS[int(str(kind))] for kind in sorted(kinds, key=str))
    wide = " and ".join(sorted(map(str, bits)))
    return _unsupported(f"channels of {wide}-bit {numbers}, {channels} a pixel")


def _unsupported(detail: str) -> DecodeError:
    hint = "save it with 8 or 16 bits a channel, in grey or RGB"
    return DecodeError("unsupported", "this kind of TIFF cannot be read here", hint, detail=detail)
