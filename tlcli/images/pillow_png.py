"""What Pillow does not do when it reads PNG files: check pixel data, compare transparent colours.

A file without an alpha channel can name one colour as transparent, called its key here (chunk
tRNS). Pillow ignores the checksums of pixel data, and compares keys in the wrong bit depth.
"""

from __future__ import annotations

import zlib
from typing import BinaryIO

from PIL import Image, ImageChops, PngImagePlugin

from tlcli.images import bit_depth
from tlcli.images.decode_errors import DecodeError

#: Bytes read at a time.
_BLOCK = 1 << 20


#: Kinds of colours in the header.
_GREY, _RGB = 0, 2


def check_checksums(stream: BinaryIO) -> None:
    """Raise `DecodeError` for pixel data with a wrong checksum.

    Pillow checks only the chunks before the pixels. A checksum that is cut off counts as right,
    since all the pixels before it are there.
    """
    position, in_pixels = 8, False
    while True:
        stream.seek(position)
        head = stream.read(8)
        length, name = int.from_bytes(head[:4]), head[4:]
        if len(head) < 8 or (in_pixels and name != b"IDAT"):
            return
        if name == b"IDAT":
            in_pixels = True
            right, stored = _checksum(stream, length, zlib.crc32(name)), stream.read(4)
            if len(stored) == 4 and stored != right:
                raise DecodeError("damaged", "damaged PNG data", detail="a checksum is wrong")
        position += 12 + length


def _checksum(stream: BinaryIO, length: int, start: int) -> bytes:
    """The checksum of the next bytes, as a PNG keeps it."""
    while length > 0 and (block := stream.read(min(length, _BLOCK))):
        start, length = zlib.crc32(block, start), length - len(block)
    return start.to_bytes(4)


def apply_key(image: Image.Image, stream: BinaryIO) -> Image.Image:
    """A loaded PNG with the key, if it has one, at the bit depth of its pixels.

    Pillow compares pixels that it has converted to 8 bits with a key of the file's own depth.
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
        return _apply_deep_key(image, stream, key)
    return image


def _apply_deep_key(image: Image.Image, stream: BinaryIO, key: tuple[int, ...]) -> Image.Image:
    """The same for 16-bit RGB. Pillow keeps only the high bytes, so the low ones are read again."""
    stream.seek(0)
    low = bit_depth.load_low_bytes(PngImagePlugin.PngImageFile(stream))
    differs = Image.new("L", image.size)
    for bytes_of, shift in ((image, 8), (low, 0)):
        for band, part in zip("RGB", key, strict=True):
            table = [255] * 256
            table[part >> shift & 255] = 0
            differs = ImageChops.lighter(differs, bytes_of.getchannel(band).point(table))
    del image.info["transparency"]
    converted = image.convert("RGB")
    converted.putalpha(differs)
    return converted
