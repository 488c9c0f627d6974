"""TIFF files of any layout, written by hand from whole numbers or fractions."""

from __future__ import annotations

import struct
import zlib

import numpy as np

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

#: Rows in a strip: the last one is shorter than the others.
STRIP = 5


def tiff(
    values: np.ndarray,
    *,
    bits: int,
    photometric: int,
    order: str = "<",
    form: int = 1,
    extra: tuple[int, ...] = (),
    apart: bool = False,
    deflated: bool = False,
    mirrored: bool = False,
    palette: np.ndarray | None = None,
) -> bytes:
    """The pixels (height, width, channels), stored as they are.

    `form` is 1 for whole numbers, 2 for those with a sign, 3 for fractions; `extra` says what
    channels behind the colours are; `apart` keeps channels in strips of their own; `mirrored`
    fills bytes from the other end; `palette` is (3, colours), of 16 bits.
    """
    height, width, channels = values.shape
    planes = np.split(values, channels, axis=2) if apart else [values]
    pieces = [
        _packed(plane[top : top + STRIP], bits, order, deflated=deflated, mirrored=mirrored)
        for plane in planes
        for top in range(0, height, STRIP)
    ]
    tags = {
        256: [width], 257: [height], 258: [bits] * channels, 259: [8 if deflated else 1],
        262: [photometric], 266: [2] if mirrored else [1], 273: [0] * len(pieces),
        277: [channels], 278: [STRIP], 279: [len(piece) for piece in pieces],
        284: [2 if apart else 1], 339: [form] * channels,
    }  # fmt: skip
    if extra:
        tags[338] = list(extra)
    if photometric == 6:  # colours as often as brightness
        tags[530] = [1, 1]
    if palette is not None:
        tags[320] = palette.ravel().tolist()
    return _file(tags, pieces, order)


def _packed(rows: np.ndarray, bits: int, order: str, *, deflated: bool, mirrored: bool) -> bytes:
    flat = rows.reshape(len(rows), -1)
    if bits % 8:
        whole = (flat[..., None] >> np.arange(bits)[::-1] & 1).reshape(len(rows), -1)
        data = np.packbits(whole.astype(np.uint8), axis=1).tobytes()
    else:
        data = flat.astype(flat.dtype.newbyteorder(order)).tobytes()
    if mirrored:
        data = data.translate(_REVERSED)
    if deflated:  # what is compressed is mirrored as a whole
        data = zlib.compress(data.translate(_REVERSED) if mirrored else data)
        data = data.translate(_REVERSED) if mirrored else data
    return data


def _file(tags: dict[int, list[int]], pieces: list[bytes], order: str) -> bytes:
    wide = {273, 279}

    def packed(tag: int) -> bytes:
        return struct.pack(f"{order}{len(tags[tag])}{'I' if tag in wide else 'H'}", *tags[tag])

    start = 8 + 2 + 12 * len(tags) + 4
    data = start + sum(len(packed(tag)) for tag in tags if len(packed(tag)) > 4)
    tags[273] = [data + sum(map(len, pieces[:number])) for number in range(len(pieces))]
    entries, behind = b"", b""
    for tag in sorted(tags):
        value = packed(tag)
        if len(value) > 4:
            position, behind = start + len(behind), behind + value
            value = struct.pack(order + "I", position)
        kind = 4 if tag in wide else 3
        entries += struct.pack(order + "HHI", tag, kind, len(tags[tag])) + value.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return (
        head + struct.pack(order + "H", len(tags)) + entries + bytes(4) + behind + b"".join(pieces)
    )
