"""Whether the data of an image reach to its last pixel, where its decoder does not say so."""

from __future__ import annotations

import io
from typing import BinaryIO

from PIL import Image

from tlcli.images import pillow_png
from tlcli.images.decode_errors import DecodeError

#: Pillow's names of what libjpeg decodes.
JPEGS = ("JPEG", "MPO")

#: Rows at the bottom that libjpeg fills with middle grey where the data have ended early, and that
#: grey, as stored or as inks.
_CUT_ROWS, _GREY = 8, (127, 128)

#: Bytes read at a time in search of an end mark.
_BLOCK = 1 << 16

#: Pixels for which a sound file may end in one byte of zeros, and zeros that always may. A flat
#: bottom ends a lossy WebP in up to 1 byte for 358 pixels (measured, at method 0), an AVIF in none;
#: what half a download lacks is a multiple of that.
_PIXELS_PER_ZERO, _ZEROS = 128, 64


def check_not_truncated(image: Image.Image, stream: BinaryIO) -> None:
    """Raise `DecodeError` where some pixels of a loaded image have no data, or damaged data."""
    if image.format in JPEGS:
        _expect_end_mark(stream)
    elif image.format == "PNG":
        pillow_png.check_checksums(stream)
    elif image.format in ("WEBP", "AVIF", "HEIF"):
        end = _end_of_riff(stream) if image.format == "WEBP" else _end_of_boxes(stream)
        allowed = _ZEROS + image.width * image.height // _PIXELS_PER_ZERO
        if end > allowed and not _has_data(stream, end - allowed, allowed):
            raise _truncated(image.format)


def ends_in_grey(image: Image.Image) -> bool:
    """Whether the last stored rows of a loaded JPEG are what libjpeg puts where there are no data.

    Call it before the image is turned or converted: afterwards these rows are neither at the
    bottom nor of this grey.
    """
    if image.format not in JPEGS or image.height <= _CUT_ROWS:
        return False
    bottom = image.crop((0, image.height - _CUT_ROWS, *image.size))
    extrema = [bottom.getchannel(band).getextrema() for band in bottom.getbands()]
    return all(low == high and low in _GREY for low, high in extrema)


def _truncated(name: str) -> DecodeError:
    return DecodeError("truncated", f"truncated: the {name} data end early")


def _expect_end_mark(stream: BinaryIO) -> None:
    """Raise `DecodeError` for a JPEG without an end mark behind the start of its pixels.

    Half a download in a file of the full size ends in zeros, which decode as pixels.
    """
    start = _scan(stream)
    end = stream.seek(0, io.SEEK_END)
    while end > start:
        begin = max(start, end - _BLOCK)
        stream.seek(begin)
        # One byte more, for a mark across the border of two blocks.
        if b"\xff\xd9" in stream.read(end - begin + 1):
            return
        end = begin
    raise _truncated("JPEG")


def _scan(stream: BinaryIO) -> int:
    """Where the pixels of a JPEG begin; 0 where its segments cannot be followed."""
    position = 2
    while True:
        stream.seek(position)
        mark, kind, *length = stream.read(4).ljust(4, b"\0")
        if mark != 0xFF or kind == 0xFF:
            return 0
        if kind == 0xDA:
            return position
        position += 2 + int.from_bytes(length)


def _end_of_riff(stream: BinaryIO) -> int:
    """Where the pixels of a lossy WebP end; 0 for an animation, where others may follow, and for
    lossless ones: what is flat may be zeros there, 2 bits a pixel and more."""
    position = 12
    while True:
        stream.seek(position)
        head = stream.read(8)
        if len(head) < 8 or head[:4] in (b"ANMF", b"VP8L"):
            return 0
        end = position + 8 + int.from_bytes(head[4:], "little")
        if head[:4] == b"VP8 ":
            return end
        position = end + end % 2


def _end_of_boxes(stream: BinaryIO) -> int:
    """Where an AVIF or HEIC ends, if it ends in its data; 0 if it does not."""
    size, position = stream.seek(0, io.SEEK_END), 0
    while position < size:
        stream.seek(position)
        head = stream.read(16).ljust(16, b"\0")
        length = int.from_bytes(head[:4])
        length = int.from_bytes(head[8:]) if length == 1 else length
        if length < 8:
            return 0
        position += length
        if head[4:8] == b"mdat" and position >= size:
            return size
    return 0


def _has_data(stream: BinaryIO, start: int, length: int) -> bool:
    """Whether any of some bytes is not zero."""
    stream.seek(start)
    while length > 0 and (block := stream.read(min(length, _BLOCK))):
        if block.count(0) < len(block):
            return True
        length -= len(block)
    return False
