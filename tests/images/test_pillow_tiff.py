"""Every layout of TIFF that Pillow lists, against NumPy: the right pixels, or a clear refusal."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from builders.tiffs import tiff
from PIL import Image, TiffImagePlugin

from tlcli.errors import ImageError, Problem
from tlcli.images import decode
from tlcli.images.pillow_tiff import Tiff

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
        variant = f"{order} {apart=} {deflated=} {mirrored=}"
        try:
            actual = np.asarray(decode.decode(data, name=variant)).astype(float)
        except ImageError as error:
            (problem,) = error.problems
            assert problem.kind == "unsupported", problem
            continue
        read += 1
        assert np.abs(actual - truth).max() < NEAR, variant
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
    actual = np.asarray(decode.decode(tiff(ramp, bits=12, photometric=GREY)))
    assert np.array_equal(actual[..., 0], np.rint(ramp[..., 0] * (255 / 4095)))


def test_whole_numbers_above_2_to_the_31_do_not_wrap():
    values = np.array([[[0], [2**31 - 1], [2**31], [2**32 - 1]]], np.uint32)
    actual = np.asarray(decode.decode(tiff(values, bits=32, photometric=GREY)))
    assert actual[0, :, 0].tolist() == [0, 127, 128, 255]


def test_the_hook_into_pillow_is_there():
    assert Tiff._setup is not TiffImagePlugin.TiffImageFile._setup
    assert callable(TiffImagePlugin.TiffImageFile._setup)
