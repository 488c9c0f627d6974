"""Checksums of pixel data and transparent colours of PNG files, which Pillow gets wrong."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlcli.errors import ImageError
from tlcli.images import decode


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, kind: int, depth: int, rows: list[bytes], key: tuple[int, ...]):
    """A PNG of raw rows with `key` as its transparent colour."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )


def first_channel(data: bytes) -> list[int]:
    return np.asarray(decode.decode(data))[..., 0].ravel().tolist()


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_key_of_shallow_grey_is_of_its_own_depth(depth: int):
    most = 2**depth - 1
    values = [0, 1, most, most - 1, 0, most, 1, 1]
    bits = "".join(f"{value:0{depth}b}" for value in values)
    row = int(bits, 2).to_bytes(depth)
    for key in {0, 1, most}:
        actual = first_channel(png(8, 1, 0, depth, [row], (key,)))
        assert actual == [255 if v == key else v * 255 // most for v in values], key


def test_a_key_of_deep_rgb_is_compared_in_full():
    values = np.array([[0x1234] * 3, [0x12FF] * 3, [0x3434] * 3, [0x1234, 0x1234, 0x1235]], ">u2")
    data = png(4, 1, 2, 16, [values.tobytes()], (0x1234,) * 3)
    image, facts = decode.examine(data)
    assert np.asarray(image)[0].tolist() == [[255] * 3, [0x12] * 3, [0x34] * 3, [0x12] * 3]
    assert facts.transparent
    assert not decode.examine(png(4, 1, 2, 16, [values.tobytes()], (1, 2, 3)))[1].transparent


def test_a_key_of_rgb_and_of_deep_grey():
    values = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    assert first_channel(png(2, 1, 2, 8, [values.tobytes()], (4, 5, 6))) == [1, 255]
    deep = np.array([1000, 1001, 2000], ">u2")
    assert first_channel(png(3, 1, 0, 16, [deep.tobytes()], (1000,))) == [255, 4, 8]


def noise(side: int = 60) -> bytes:
    rng, stream = np.random.default_rng(3), io.BytesIO()
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    coarse.resize((side, side), Image.Resampling.BICUBIC).save(stream, "PNG")
    return stream.getvalue()


def test_no_flipped_byte_of_the_pixels_goes_unnoticed(tmp_path: Path):
    whole = noise()
    start = whole.index(b"IDAT") + 4
    length = int.from_bytes(whole[start - 8 : start - 4])
    path = tmp_path / "a.png"
    for position in range(start, start + length + 4, 7):
        spoilt = bytearray(whole)
        spoilt[position] ^= 255
        path.write_bytes(spoilt)
        with pytest.raises(ImageError, match=r"damaged|truncated"):
            decode.load_image(path, height=8, width=8, resize="squash")


def test_the_checksum_of_several_chunks_and_what_follows_them():
    whole = noise()
    start = whole.index(b"IDAT") + 4
    length = int.from_bytes(whole[start - 8 : start - 4])
    head, data = whole[: start - 8], whole[start : start + length]
    chunks = [chunk(b"IDAT", data[at : at + 100]) for at in range(0, length, 100)]
    note = chunk(b"tEXt", b"Comment\0fine")
    spoilt = note[:-1] + bytes([note[-1] ^ 1])
    end = chunk(b"IEND", b"")
    expected = np.asarray(decode.decode(whole))
    for sound in (head + b"".join(chunks) + part for part in (end, note + end, spoilt + end, b"")):
        assert np.array_equal(np.asarray(decode.decode(sound)), expected)
    chunks[2] = chunks[2][:-1] + bytes([chunks[2][-1] ^ 1])
    with pytest.raises(ImageError) as caught:
        decode.decode(head + b"".join(chunks) + end)
    (problem,) = caught.value.problems
    assert problem.kind == "damaged"
    assert problem.message == "cannot be decoded: damaged PNG data: a checksum is wrong"
