"""Data that end early: in zeros, or in the grey that libjpeg puts in their place."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from tlcli.errors import ImageError
from tlcli.images import decode, truncation


def photo(width: int = 320, height: int = 240) -> Image.Image:
    """Waves under noise, so that data are spread over the whole file."""
    down, across = np.mgrid[:height, :width]
    waves = [np.sin(across / (9 + n)) * 60 + np.cos(down / (13 - n)) * 60 + 128 for n in range(3)]
    noise = np.random.default_rng(0).normal(0, 6, (height, width, 3))
    return Image.fromarray(np.clip(np.stack(waves, -1) + noise, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


KINDS = [("WEBP", {}), ("WEBP", {"quality": 40}), ("AVIF", {}), ("HEIF", {})]


@pytest.mark.parametrize(("format", "options"), KINDS, ids=str)
def test_half_a_download_in_a_file_of_full_size(format: str, options: dict[str, object]):
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    if format == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    whole = encoded(photo(), format, **options)
    decode.decode(whole)
    for share in (0.5, 0.7):
        kept = whole[: int(share * len(whole))]
        with pytest.raises(ImageError, match=r"truncated|damaged") as caught:
            decode.decode(kept.ljust(len(whole), b"\0"))
        assert caught.value.problems[0].kind in ("truncated", "damaged")


def test_zeros_behind_the_end_of_a_webp_do_no_harm():
    for options in ({}, {"lossless": True}):
        whole = encoded(photo(), "WEBP", **options)
        decode.decode(whole + bytes(100_000))


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_flat_bottom_is_no_missing_end(grey: int):
    """A lossy WebP ends in zeros where the image is flat: of 1,000 x 1,000, in thousands."""
    flat = np.full((1000, 1000, 3), grey, np.uint8)
    flat[:100] = np.asarray(photo(1000, 100))
    zeros = 0
    fast = {"quality": 0, "method": 0}
    for options in ({"quality": 100, "method": 0}, fast, {**fast, "lossless": True}):
        whole = encoded(Image.fromarray(flat), "WEBP", **options)
        decode.decode(whole)
        zeros = max(zeros, len(whole) - len(whole.rstrip(b"\0")))
    assert zeros > 1000


def display_p3() -> bytes:
    """An RGB profile that changes colours: sRGB under another name."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"s\0R\0G\0B", b"o\0t\0h\0e").replace(b"\0s\0R\0G\0B", b"\0o\0t\0h\0e")


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


CUT = [
    *(("RGB", {"exif": turned(number)}) for number in range(1, 9)),
    ("L", {}), ("CMYK", {}), ("RGB", {"icc_profile": display_p3()}),
    ("RGB", {"restart_marker_rows": 1}), ("RGB", {"subsampling": 0}),
]  # fmt: skip


def words(value: object) -> str:
    """The name of a parameter, which is the same in every process."""
    if isinstance(value, dict):
        return "-".join(f"{key}" for key in value) or "plain"
    return str(value)


@pytest.mark.parametrize(("mode", "options"), CUT, ids=words)
def test_an_early_end_mark_leaves_grey_wherever_the_stored_end_is(
    mode: str, options: dict[str, object]
):
    whole = encoded(photo().convert(mode), "JPEG", **options)
    assert not decode.examine(whole)[1].cut
    assert decode.examine(whole[: len(whole) // 2] + b"\xff\xd9")[1].cut


def test_grey_at_another_edge_is_no_missing_end():
    picture = np.asarray(photo()).copy()
    picture[:40] = 128
    assert not decode.examine(encoded(Image.fromarray(picture), "JPEG"))[1].cut
    picture[-40:] = 128
    assert decode.examine(encoded(Image.fromarray(picture), "JPEG"))[1].cut
    assert not decode.examine(encoded(Image.fromarray(picture), "PNG"))[1].cut
    assert not truncation.ends_in_grey(Image.open(io.BytesIO(encoded(photo(32, 8), "JPEG"))))
