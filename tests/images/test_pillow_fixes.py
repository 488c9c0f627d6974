"""Every layout of TIFF that Pillow lists, against NumPy: the right pixels, or a clear refusal."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from builders.tiffs import tiff
from PIL import Image, TiffImagePlugin

from tlcli.errors import ImageError, Problem
from tlcli.images import decode
from tlcli.images.pillow_fixes import Tiff

HEIGHT, WIDTH = 13, 21

#: Levels that rounding may differ by: colours of 16 bits come as their high byte, times alpha.
NEAR = 3

NEGATIVE, GREY, RGB, PALETTE, INKS, YCC = 0, 1, 2, 3, 5, 6
WHOLE, SIGNED, FRACTIONS = 1, 2, 3

#: Photometric interpretation, bits, numbers, channels, what those behind the colours are.
Layout = tuple[int, int, int, int, tuple[int, ...]]


def layouts() -> Iterator[Layout]:
    for bits in (1, 2, 4, 8, 12, 16, 32):
        yield GREY, bits, WHOLE, 1, ()
        yield NEGATIVE, bits, WHOLE, 1, ()
    for bits in (1, 2, 4, 8):
        yield PALETTE, bits, WHOLE, 1, ()
    for bits in (8, 16, 32):
        yield GREY, bits, SIGNED, 1, ()
        yield RGB, bits, WHOLE, 3, ()
    for bits in (16, 32, 64):
        yield GREY, bits, FRACTIONS, 1, ()
        yield NEGATIVE, bits, FRACTIONS, 1, ()
    for bits in (8, 16):
        yield INKS, bits, WHOLE, 4, ()
        yield GREY, bits, WHOLE, 2, (2,)
        for extra in (0, 1, 2):
            yield RGB, bits, WHOLE, 4, (extra,)
    yield GREY, 8, WHOLE, 2, (0,)
    yield RGB, 8, WHOLE, 5, (2, 0)
    yield RGB, 8, WHOLE, 5, (0, 0)
    yield RGB, 32, FRACTIONS, 3, ()
    yield INKS, 8, WHOLE, 5, (0,)
    yield YCC, 8, WHOLE, 3, ()


def stored(layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Random pixels of a layout, and the share of white in each."""
    _, bits, form, channels, extra = layout
    rng, shape = np.random.default_rng(0), (HEIGHT, WIDTH, channels)
    if form == FRACTIONS:
        values = rng.random(shape).astype(f"f{bits // 8}")
        values.flat[:2] = 0, 1
        return values, values.astype(float)
    if form == SIGNED:
        # Of 8 bits Pillow takes them for numbers without a sign; others are of 16 for us.
        values = rng.integers(0, 2 ** min(bits - 1, 15), shape).astype(f"i{bits // 8}")
        return values, values / (255 if bits == 8 else 65535)
    kind = np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32
    values = rng.integers(0, 2**bits, shape, dtype=np.int64).astype(kind)
    values.flat[:2] = 0, 2**bits - 1
    if extra == (1,):  # colours are multiplied by alpha already
        values[..., :3] = np.minimum(values[..., :3], values[..., 3:])
    return values, values / (2**bits - 1)


def expected(layout: Layout, values: np.ndarray, share: np.ndarray, palette: np.ndarray):
    """The RGB, 0..255, of stored pixels, by NumPy; of inks and YCbCr by Pillow's conversion."""
    photometric, _, _, _, extra = layout
    levels = np.rint(255 * share).astype(np.uint8)
    if photometric == PALETTE:
        return palette[:, values[..., 0]].transpose(1, 2, 0) // 257
    if photometric in (INKS, YCC):
        mode, number = ("CMYK", 4) if photometric == INKS else ("YCbCr", 3)
        bands = [Image.fromarray(levels[..., band].copy()) for band in range(number)]
        return np.asarray(Image.merge(mode, bands).convert("RGB"))
    first = share[..., :3] if photometric == RGB else np.repeat(share[..., :1], 3, axis=2)
    rgb = 255 * (1 - first if photometric == NEGATIVE else first)
    if not extra or extra[0] == 0:
        return rgb
    alpha = share[..., 3:4] if photometric == RGB else share[..., 1:2]
    return (rgb if extra[0] == 1 else rgb * alpha) + 255 * (1 - alpha)


#: Layouts that are read in at least one way of writing them down.
READ = {
    *((GREY, bits, WHOLE, 1, ()) for bits in (1, 2, 4, 8, 12, 16, 32)),
    *((NEGATIVE, bits, WHOLE, 1, ()) for bits in (1, 2, 4, 8, 16)),
    *((PALETTE, bits, WHOLE, 1, ()) for bits in (1, 2, 4, 8)),
    *((RGB, bits, WHOLE, 3, ()) for bits in (8, 16)),
    (GREY, 32, FRACTIONS, 1, ()), (NEGATIVE, 32, FRACTIONS, 1, ()),
    (GREY, 16, SIGNED, 1, ()), (GREY, 32, SIGNED, 1, ()),
}  # fmt: skip


@pytest.mark.parametrize("layout", list(layouts()), ids=str)
def test_pixels_are_right_or_refused(layout: Layout):
    photometric, bits, form, _, extra = layout
    values, share = stored(layout)
    palette = np.random.default_rng(1).integers(0, 256, (3, 2 ** min(bits, 8))) * 257
    truth = expected(layout, values, share, palette)
    read = 0
    for order, apart, deflated, mirrored in itertools.product("<>", *[(False, True)] * 3):
        data = tiff(
            values, bits=bits, photometric=photometric, order=order, form=form, extra=extra,
            apart=apart, deflated=deflated, mirrored=mirrored,
            palette=palette if photometric == PALETTE else None,
        )  # fmt: skip
        way = f"{order} {apart=} {deflated=} {mirrored=}"
        try:
            found = np.asarray(decode.decode(data, name=way)).astype(float)
        except ImageError as error:
            (problem,) = error.problems
            assert problem.kind == "unsupported", problem
            continue
        read += 1
        assert np.abs(found - truth).max() < NEAR, way
    assert read or layout not in READ


def refusal(values: np.ndarray, **settings: object) -> Problem:
    with pytest.raises(ImageError) as caught:
        decode.decode(tiff(values, **settings))
    return caught.value.problems[0]


def test_what_is_sound_and_not_read_is_told_from_damage():
    fractions = refusal(np.zeros((4, 4, 3), np.float32), bits=32, photometric=RGB, form=FRACTIONS)
    assert fractions.kind == "unsupported"
    assert fractions.message == (
        "cannot be decoded: this kind of TIFF cannot be read here: "
        "channels of 32-bit floating point numbers, 3 a pixel"
    )
    assert fractions.hint == "save it with 8 or 16 bits a channel, in grey or RGB"
    many = refusal(np.zeros((4, 4, 12), np.uint16), bits=16, photometric=GREY)
    assert many.detail == "channels of 16-bit whole numbers, 12 a pixel"
    sound = bytearray(tiff(np.zeros((4, 4, 1), np.uint8), bits=8, photometric=GREY))
    at = sound.index(b"\x03\x01\x03\0")  # the compression
    sound[at + 8 : at + 10] = (9999).to_bytes(2, "little")
    with pytest.raises(ImageError, match="cannot be read here: compression 9999"):
        decode.decode(bytes(sound))


def test_whole_numbers_of_12_bits_are_scaled_by_their_own_range():
    ramp = np.arange(4096, dtype=np.uint16).reshape(64, 64, 1)
    found = np.asarray(decode.decode(tiff(ramp, bits=12, photometric=GREY)))
    assert np.array_equal(found[..., 0], np.rint(ramp[..., 0] * (255 / 4095)))


def test_whole_numbers_above_2_to_the_31_do_not_wrap():
    values = np.array([[[0], [2**31 - 1], [2**31], [2**32 - 1]]], np.uint32)
    found = np.asarray(decode.decode(tiff(values, bits=32, photometric=GREY)))
    assert found[0, :, 0].tolist() == [0, 127, 128, 255]


def test_the_hook_into_pillow_is_there():
    assert Tiff._setup is not TiffImagePlugin.TiffImageFile._setup
    assert callable(TiffImagePlugin.TiffImageFile._setup)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, kind: int, depth: int, rows: list[bytes], key: tuple[int, ...]):
    """A PNG of raw rows with the colour that stands for nothing."""
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
        found = first_channel(png(8, 1, 0, depth, [row], (key,)))
        assert found == [255 if v == key else v * 255 // most for v in values], key


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
