"""Decoding and resizing, against pixels worked out with NumPy."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import sys
import threading
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from builders import corpus
from PIL import Image, ImageCms, ImageFile, TiffImagePlugin, features

from tlcli.errors import DataError, ImageError
from tlcli.images import decode, formats

#: What an EXIF orientation asks a viewer to do to the stored pixels.
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).transpose(1, 0, 2),
    8: lambda stored: np.rot90(stored, 1),
}


def noise(height: int = 6, width: int = 9, channels: int = 3) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def decoded(data: bytes) -> np.ndarray:
    image = decode.decode(data)
    assert image.mode == "RGB"
    return np.asarray(image)


def over_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return np.rint(colours * share + 255 * (1 - share))


def close(actual: np.ndarray, expected: np.ndarray, within: int = 1) -> bool:
    return np.abs(actual.astype(int) - expected.astype(int)).max() <= within


def message(source: Path | bytes, name: str | None = None) -> str:
    with pytest.raises(ImageError) as caught:
        decode.decode(source, name=name)
    (problem,) = caught.value.problems
    assert problem.hint
    return problem.message


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_lossless_formats_give_their_pixels_back(format: str, options: dict[str, object]):
    pixels = noise()
    assert np.array_equal(decoded(encoded(Image.fromarray(pixels), format, **options)), pixels)


def test_an_interlaced_png_decodes_like_a_plain_one():
    # Adam7 by hand, 3 x 2 grey: pass 1 holds (0,0), pass 6 (0,1), pass 4 (0,2), pass 7 row 1.
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 3, 2, 8, 0, 0, 0, 1)
    passes = bytes([0, 10]) + bytes([0, 30]) + bytes([0, 20]) + bytes([0, 40, 50, 60])
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    data += chunk(b"IDAT", zlib.compress(passes)) + chunk(b"IEND", b"")
    assert decoded(data)[..., 0].tolist() == [[10, 20, 30], [40, 50, 60]]


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_is_read():
    flat = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    assert close(decoded(encoded(Image.fromarray(flat), "AVIF", quality=100)), flat, within=3)


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_heif_is_read_where_its_plugin_is_installed(brand: bytes):
    plugin = pytest.importorskip("pillow_heif")
    flat = np.full((64, 48, 3), (200, 40, 90), np.uint8)
    stream = io.BytesIO()
    plugin.from_pillow(Image.fromarray(flat)).save(stream, format="HEIF", quality=95)
    data = bytearray(stream.getvalue())
    data[8:12] = brand  # mif1 may be AVIF as well: the other brands of the file tell
    assert close(decoded(bytes(data)), flat, within=4)
    assert "HEIF" in message(bytes(data[: len(data) // 2]))


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_in_a_general_container_is_not_taken_for_heif():
    data = bytearray(encoded(Image.new("RGB", (16, 16), "white"), "AVIF"))
    assert b"avif" in data[12:40]
    data[8:12] = b"mif1"
    assert decoded(bytes(data)).min() > 250


def test_heif_without_the_plugin(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    with pytest.raises(ImageError) as caught:
        decode.decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", name="IMG_1.HEIC")
    (problem,) = caught.value.problems
    assert problem.message == "cannot be decoded: HEIF cannot be read here"
    assert problem.hint == "run `pip install pillow-heif` to read it, or convert it to JPEG"


def test_the_content_decides_and_not_the_suffix(tmp_path: Path):
    pixels = noise()
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(Image.fromarray(pixels), "PNG"))
    assert np.array_equal(np.asarray(decode.decode(path)), pixels)


@pytest.mark.parametrize("orientation", sorted(UPRIGHT))
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied_once(format: str, orientation: int):
    pixels = noise()
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(Image.fromarray(pixels), format, exif=exif, **options)
    assert np.array_equal(decoded(data), UPRIGHT[orientation](pixels))


@pytest.mark.parametrize("orientation", sorted(UPRIGHT))
def test_exif_orientation_of_jpeg(orientation: int):
    pixels = noise(16, 24)
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain = np.asarray(Image.open(io.BytesIO(encoded(Image.fromarray(pixels), "JPEG"))))
    data = encoded(Image.fromarray(pixels), "JPEG", exif=exif)
    assert np.array_equal(decoded(data), UPRIGHT[orientation](plain))


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"]
)
def test_broken_exif_does_not_matter(exif: bytes):
    assert decoded(encoded(Image.fromarray(noise(16, 16)), "JPEG", exif=exif)).shape == (16, 16, 3)


def test_orientation_of_deep_grey():
    exif = Image.Exif()
    exif[0x0112] = 6
    grey = (noise(4, 7, channels=1).astype(np.uint16)) * 257
    actual = decoded(encoded(Image.fromarray(grey), "PNG", exif=exif))
    assert np.array_equal(actual[..., 0], np.rot90(grey // 257, -1))


def test_alpha_is_laid_over_white():
    pixels = noise(channels=4)
    actual = decoded(encoded(Image.fromarray(pixels), "PNG"))
    assert close(actual, over_white(pixels[..., :3], pixels[..., 3]))


def test_grey_with_alpha_is_laid_over_white():
    grey, alpha = noise(channels=2).transpose(2, 0, 1)
    image = Image.merge("LA", [Image.fromarray(np.ascontiguousarray(c)) for c in (grey, alpha)])
    expected = over_white(np.repeat(grey[..., None], 3, axis=2), alpha)
    assert close(decoded(encoded(image, "PNG")), expected)


@pytest.mark.parametrize(
    ("transparency", "alpha"),
    [(2, [255, 255, 0]), (b"\x80\x00", [128, 0, 255])],
    ids=["one index", "a table"],
)
def test_a_palette_with_transparency(transparency: int | bytes, alpha: list[int]):
    palette = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    image = Image.new("P", (3, 1))
    image.putpalette(palette.tobytes())
    image.putdata([0, 1, 2])
    actual = decoded(encoded(image, "PNG", transparency=transparency))
    assert close(actual, over_white(palette[None], np.array([alpha])))


def test_a_transparent_colour_of_an_rgb_png_is_white():
    pixels = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    data = encoded(Image.fromarray(pixels), "PNG", transparency=(4, 5, 6))
    assert decoded(data).tolist() == [[[1, 2, 3], [255, 255, 255]]]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "CMYK", "L", "1", "I;16", "F", "I", "RGB"])
def test_bands_make_no_difference(mode: str, monkeypatch: pytest.MonkeyPatch):
    pixels = noise(37, 23, 4)
    deep = {"I;16": np.uint16, "F": np.float32, "I": np.int32}
    if mode in deep:
        image = Image.fromarray(pixels[..., 0].astype(deep[mode]) * 200)
    else:
        plain = Image.fromarray(pixels)
        image = plain if mode == "RGBA" else plain.convert("RGB").convert(mode)
        if mode == "LA":
            image.putalpha(plain.getchannel("A"))
    options = {"transparency": 3} if mode in ("P", "L") else {}
    data = encoded(image, "TIFF" if mode in ("CMYK", "F", "I") else "PNG", **options)
    whole = decoded(data)
    monkeypatch.setattr(decode.srgb, "BAND", 60)
    assert np.array_equal(decoded(data), whole)


def test_one_bit_images():
    bits = noise(channels=1) > 127
    expected = np.repeat(bits[..., None] * 255, 3, axis=2)
    assert np.array_equal(decoded(encoded(Image.fromarray(bits), "PNG")), expected)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_and_not_clipped(format: str):
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    actual = decoded(encoded(Image.fromarray(ramp), format))
    expected = np.rint(ramp / 257)
    assert np.array_equal(actual, np.repeat(expected[..., None], 3, axis=2))


def test_big_endian_16_bit_grey():
    ramp = np.linspace(0, 65535, 60).astype(">u2").reshape(6, 10)
    tags = [(256, 10), (257, 6), (258, 16), (259, 1), (262, 1), (273, 122), (277, 1), (278, 6)]
    tags.append((279, ramp.nbytes))
    entries = b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in tags)
    head = b"MM\0*" + struct.pack(">I", 8) + struct.pack(">H", len(tags)) + entries + bytes(4)
    assert len(head) == 122
    assert np.array_equal(decoded(head + ramp.tobytes())[..., 0], np.rint(ramp / 257.0))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 257, 65535]], np.int32), [0, 1, 255]),
        (np.array([[-50, 0, 200]], np.int32), [0, 51, 255]),
        (np.array([[0, 70000, 350000]], np.int32), [0, 51, 255]),
        (np.array([[70000, 70000]], np.int32), [0, 0]),
        (np.array([[0, 0.2, 1]], np.float32), [0, 51, 255]),
        (np.array([[0, 40, 255]], np.float32), [0, 40, 255]),
        (np.array([[0, 257, 60000]], np.float32), [0, 1, 233]),
        (np.array([[-1, 0, 3]], np.float32), [0, 64, 255]),
        (np.array([[np.nan, np.inf, 1]], np.float32), [0, 0, 255]),
    ],
)
def test_grey_of_other_depths(values: np.ndarray, expected: list[int]):
    assert decoded(encoded(Image.fromarray(values), "TIFF"))[0, :, 0].tolist() == expected


def test_deep_tiff_whose_0_is_white():
    values = np.array([[0, 257, 65535]], np.uint16)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] = 0
    data = encoded(Image.fromarray(values), "TIFF", tiffinfo=tags)
    assert Image.open(io.BytesIO(data)).tag_v2[262] == 0
    assert decoded(data)[0, :, 0].tolist() == [255, 254, 0]


def test_deep_grey_with_a_colour_for_nothing():
    image = Image.fromarray(np.array([[0, 514, 65535]], np.uint16))
    data = encoded(image, "PNG", transparency=514)
    pixels, facts = decode.examine(data)
    assert np.asarray(pixels)[0, :, 0].tolist() == [0, 255, 255]
    assert facts.transparent
    assert not decode.examine(encoded(image, "PNG", transparency=77))[1].transparent


def test_an_alpha_channel_that_hides_nothing_is_not_told():
    image = Image.fromarray(noise()).convert("RGBA")
    assert not decode.examine(encoded(image, "PNG"))[1].transparent
    image.putpixel((0, 0), (1, 2, 3, 254))
    assert decode.examine(encoded(image, "PNG"))[1].transparent


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk(format: str):
    inks = [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255)]
    light = [(255, 255, 255), (0, 255, 255), (255, 0, 255), (255, 255, 0), (0, 0, 0)]
    for ink, expected in zip(inks, light, strict=True):
        data = encoded(Image.new("CMYK", (8, 8), ink), format)
        assert close(decoded(data)[4, 4], np.array(expected), within=3)


def test_lab():
    image = Image.new("LAB", (2, 2), (255, 128, 128))  # neutral, and as light as can be
    assert close(decoded(encoded(image, "TIFF")), np.full((2, 2, 3), 255), within=2)


def tinted_profile() -> bytes:
    """An RGB profile whose red and blue primaries are those of sRGB, swapped."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile = profile.replace(b"s\0R\0G\0B", b"s\0W\0A\0P").replace(
        b"\0s\0R\0G\0B", b"\0S\0W\0A\0P"
    )
    count = struct.unpack(">I", profile[128:132])[0]
    for entry in range(132, 132 + 12 * count, 12):
        name = bytes(profile[entry : entry + 4])
        profile[entry : entry + 4] = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}.get(name, name)
    return bytes(profile)


def test_an_embedded_profile_is_converted_to_srgb():
    profile = tinted_profile()
    image = Image.new("RGB", (4, 4), (200, 100, 50))
    assert close(
        decoded(encoded(image, "PNG", icc_profile=profile))[0, 0], np.array([50, 100, 200])
    )
    see_through = Image.new("RGBA", (4, 4), (200, 100, 50, 0))
    assert decoded(encoded(see_through, "PNG", icc_profile=profile)).min() == 255


def grey_profile() -> bytes:
    """A grey profile with a gamma of 461 / 256, which is 1.8."""
    white = struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    tags = b"XYZ \0\0\0\0" + white + b"curv" + struct.pack(">IIHH", 0, 1, 461, 0)
    table = struct.pack(">I", 2) + b"wtpt" + struct.pack(">2I", 156, 20)
    table += b"kTRC" + struct.pack(">2I", 176, 14)
    head = struct.pack(">I4sI", 128 + len(table) + len(tags), b"none", 0x02100000)
    head += b"mntrGRAYXYZ " + struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp"
    return (head + bytes(28) + white).ljust(128, b"\0") + table + tags


@pytest.mark.parametrize("deep", [False, True])
def test_a_grey_profile_is_converted_to_srgb(deep: bool):
    grey = np.arange(256, dtype=np.uint8)[None]
    stored = grey.astype(np.uint16) * 257 if deep else grey
    data = encoded(Image.fromarray(stored), "PNG", icc_profile=grey_profile())
    light = (grey / 255) ** (461 / 256)
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert close(decoded(data)[..., 1], np.rint(255 * expected), within=2)
    assert not close(grey, np.rint(255 * expected), within=15)


@pytest.mark.parametrize(
    "profile",
    [
        b"not a profile",
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()[:300],
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
    ],
    ids=["garbage", "cut off", "sRGB", "another colour space"],
)
def test_profiles_that_change_nothing(profile: bytes):
    pixels = noise()
    assert np.array_equal(
        decoded(encoded(Image.fromarray(pixels), "PNG", icc_profile=profile)), pixels
    )


@pytest.mark.parametrize("format", ["GIF", "TIFF", "WEBP", "PNG"])
def test_the_first_frame_counts(format: str):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert decoded(data)[0, 0].tolist() == [255, 0, 0]


def test_a_stereo_jpeg_gives_its_first_picture():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black")]
    data = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert decoded(data).min() > 250


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {}),
    ],
)
def test_a_truncated_file_is_refused(format: str, options: dict[str, object], share: float):
    whole = encoded(Image.fromarray(noise(40, 50)), format, **options)
    text = message(whole[: int(share * len(whole))])
    assert text.startswith("cannot be decoded: ")
    assert "truncated" in text
    assert format in text


@pytest.mark.parametrize(
    "short",
    [
        corpus.deep_tiff(">", t257=29),
        corpus.tiled_tiff(t257=33),
        corpus.planar_tiff(t257=31),
    ],
    ids=["one strip", "tiles", "planes"],
)
def test_a_tiff_without_data_for_its_last_rows_is_refused(short: bytes, tmp_path: Path):
    height = Image.open(io.BytesIO(short)).height
    assert message(short) == (
        "cannot be decoded: truncated: the strips of this TIFF do not fill its size: "
        f"40 x {height} pixels"
    )
    path = tmp_path / "short.tif"
    path.write_bytes(short)
    assert decode.sniff(path) is not None  # the header is enough to tell


def test_truncation_is_told_from_damage():
    whole = encoded(Image.fromarray(noise(40, 50)), "PNG")
    assert message(whole[:4000]) == "cannot be decoded: truncated: the PNG data end early"
    assert message(whole[:20]) == "cannot be decoded: the PNG header is truncated or damaged"
    spoilt = bytearray(whole)
    spoilt[100:2000] = bytes(1900)
    assert message(bytes(spoilt)).startswith("cannot be decoded: damaged PNG data: ")


@pytest.mark.parametrize(
    ("data", "expected", "hint"),
    [
        (b"", "empty file (0 bytes)", "replace"),
        (b"<!DOCTYPE html><html>", "not an image: it starts with '<!DOCTYPE html><'", "web page"),
        (b"\n <svg xmlns=", "not an image: it starts with '\\n <svg xmlns='", "markup"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "not an image: it starts with '%!PS-Adobe-3.0 E'", "JPEG"),
        (b"%PDF-1.7", "not an image: it starts with '%PDF-1.7'", "JPEG"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, expected: str, hint: str):
    with pytest.raises(ImageError) as caught:
        decode.decode(data, name="upload")
    (problem,) = caught.value.problems
    assert problem.where == "upload"
    assert problem.message == f"cannot be decoded: {expected}"
    assert hint in problem.hint


def test_formats_that_are_no_photos_are_refused():
    for format in ("PPM", "ICO", "TGA", "PCX", "EPS", "PDF"):
        assert "not an image" in message(encoded(Image.new("RGB", (16, 16)), format))


def test_files_that_cannot_be_opened(tmp_path: Path):
    folder, dangling, pipe = tmp_path / "x.jpg", tmp_path / "link.jpg", tmp_path / "pipe.jpg"
    folder.mkdir()
    dangling.symlink_to(tmp_path / "gone.jpg")
    os.mkfifo(pipe)
    assert message(folder) == "cannot be decoded: it is a folder"
    assert message(tmp_path / "no.jpg") == "cannot be decoded: no such file"
    assert message(dangling) == "cannot be decoded: a link to a file that does not exist"
    assert message(pipe) == "cannot be decoded: not a regular file"
    assert message(folder / "below.jpg") == "cannot be decoded: no such file"
    assert message(tmp_path / ("x" * 300)) == "cannot be decoded: file name too long"
    assert "null" in message(tmp_path / "a\0b")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_permission_denied(tmp_path: Path):
    path = tmp_path / "mine.png"
    path.touch(mode=0o000)
    assert message(path) == "cannot be decoded: permission denied"


def test_the_path_is_told(tmp_path: Path):
    path = tmp_path / "photo.jpg"
    path.touch()
    with pytest.raises(DataError, match=r"photo\.jpg: cannot be decoded: empty file"):
        decode.decode(path)


def test_pixel_bombs_are_refused_by_their_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = message(png_claiming(20_000, 10_001))
    assert text == "cannot be decoded: too many pixels: 20000 x 10001 pixels"
    allowed = tmp_path / "allowed.png"
    allowed.write_bytes(png_claiming(20_000, 10_000))
    assert decode.sniff(allowed) is None
    # Nobody else's setting moves the limit.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert "too many pixels" in message(png_claiming(2**31 - 1, 2**31 - 1))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert decoded(encoded(Image.fromarray(noise()), "PNG")).shape == (6, 9, 3)


def test_process_wide_settings_of_pillow_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 89_478_485)
    decoded(encoded(Image.fromarray(noise()), "PNG"))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    # Only this one is raised, to what tlcli itself allows, and never lowered.
    assert Image.MAX_IMAGE_PIXELS == 100_000_000
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10**9)
    decoded(encoded(Image.fromarray(noise()), "PNG"))
    assert Image.MAX_IMAGE_PIXELS == 10**9


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_a_raised_pixel_limit_holds_for_every_format(format: str, monkeypatch: pytest.MonkeyPatch):
    data = encoded(Image.fromarray(noise()), format)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # of the 54 that there are
    monkeypatch.setenv("TLCLI_PIXEL_LIMIT", "60")
    assert decoded(data).shape == (6, 9, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    monkeypatch.setenv("TLCLI_PIXEL_LIMIT", "50")
    assert "too many pixels" in message(data)


@pytest.mark.parametrize("format", ["TIFF", "WEBP", "GIF"])
def test_pillows_own_limit_does_not_come_first(format: str, monkeypatch: pytest.MonkeyPatch):
    """By default it would refuse TIFF, WebP and GIF of 179 to 200 million pixels."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 26)  # of 54 pixels, twice as many are refused
    monkeypatch.setattr(formats, "PIXEL_LIMIT", 54)
    assert decoded(encoded(Image.fromarray(noise()), format)).shape == (6, 9, 3)


def test_huge_images_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch):
    data = encoded(Image.fromarray(noise(40, 50)), "PNG")
    inside, most = [], []
    to_srgb = decode.srgb.to_srgb

    def counted(image: Image.Image, depth: object) -> tuple[Image.Image, bool]:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.01)
        inside.pop()
        return to_srgb(image)

    monkeypatch.setattr(decode.srgb, "to_srgb", counted)
    monkeypatch.setattr(decode, "_HUGE", 1999)
    threads = [threading.Thread(target=decode.decode, args=(data,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6


KINDS = [
    (b"", "truncated"), (b"<html>", "no image"), (png_claiming(10**6, 10**6), "too large"),
    (png_claiming(300, 300), "truncated"), (png_claiming(9, 9)[:20], "damaged"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "kind"), KINDS, ids=[kind for _, kind in KINDS])
def test_programs_can_tell_faults_apart(data: bytes, kind: str):
    with pytest.raises(ImageError) as caught:
        decode.decode(data)
    (problem,) = caught.value.problems
    assert problem.kind == kind
    assert problem.message == problem.general + (f": {problem.detail}" if problem.detail else "")


def test_warnings_of_pillow_stay_inside():
    exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01"  # five entries announced, none there
    data = encoded(Image.new("L", (8, 8)), "JPEG", exif=exif)
    with pytest.warns(UserWarning):
        Image.open(io.BytesIO(data)).getexif()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        decode.decode(data)
    assert not caught


def test_threads_decode_alike():
    data = encoded(Image.fromarray(noise(40, 50)), "PNG")
    expected, agreements = decoded(data), []
    threads = [
        threading.Thread(target=lambda: agreements.append(np.array_equal(decoded(data), expected)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert agreements == [True] * 8


def columns(*greys: int, height: int = 4, each: int = 4) -> Image.Image:
    """Upright stripes, `each` pixels wide."""
    row = np.repeat(np.array(greys, np.uint8), each)
    return Image.fromarray(np.repeat(np.tile(row, (height, 1))[..., None], 3, axis=2))


def test_squash_uses_every_pixel():
    actual = np.asarray(decode.fit(columns(0, 100, 200, height=8), 4, 6, "squash"))
    assert actual.shape == (4, 6, 3)
    # Half size: a bilinear filter of twice its usual support, (1, 3, 3, 1) / 8 on each row.
    row = np.pad(np.repeat([0.0, 100.0, 200.0], 4), 1, mode="edge")
    expected = [row[i : i + 4] @ np.array([1, 3, 3, 1]) / 8 for i in range(0, 12, 2)]
    assert close(actual[0, 1:-1, 0], np.rint(expected[1:-1]))


def test_a_reduction_averages_instead_of_aliasing():
    board = Image.fromarray(np.tile(np.array([[0, 255], [255, 0]], np.uint8), (64, 64)))
    actual = np.asarray(decode.fit(board.convert("RGB"), 8, 8, "squash"))
    assert close(actual, np.full((8, 8, 3), 127), within=3)


@pytest.mark.parametrize("upright", [False, True])
def test_crop_keeps_the_centre(upright: bool):
    image = columns(0, 90, 180, 255)  # 16 x 4: the middle 4 columns are half 90, half 180
    if upright:
        image = image.transpose(Image.Transpose.TRANSPOSE)
    actual = np.asarray(decode.fit(image, 4, 4, "crop"))[..., 0]
    assert (actual.T if upright else actual).tolist() == [[90, 90, 180, 180]] * 4


def test_crop_to_another_shape():
    image = columns(0, 90, 180, 255)
    assert np.asarray(decode.fit(image, 4, 8, "crop"))[0, :, 0].tolist() == [90] * 4 + [180] * 4
    assert np.asarray(decode.fit(image, 2, 16, "crop")).shape == (2, 16, 3)


@pytest.mark.parametrize("upright", [False, True])
def test_pad_keeps_everything_on_black(upright: bool):
    image = Image.new("RGB", (16, 8), "white")
    if upright:
        image = image.transpose(Image.Transpose.TRANSPOSE)
    actual = np.asarray(decode.fit(image, 16, 16, "pad"))[..., 0]
    expected = np.zeros((16, 16))
    expected[4:12] = 255
    assert np.array_equal(actual.T if upright else actual, expected)


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 7), (333, 1000), (224, 224)])
def test_every_shape_comes_out_at_the_size_asked_for(resize: decode.Resize, size: tuple[int, int]):
    actual = decode.fit(Image.new("RGB", size, "white"), 31, 47, resize)
    assert actual.size == (47, 31)
    if resize != "pad":
        assert np.asarray(actual).min() == 255


def test_load_gives_writable_bytes_in_height_width_channels(tmp_path: Path):
    path = tmp_path / "a.png"
    pixels = noise(6, 9)
    path.write_bytes(encoded(Image.fromarray(pixels), "PNG"))
    actual = decode.load_image(path, height=6, width=9, resize="squash")
    assert actual.dtype == np.uint8
    assert np.array_equal(actual, pixels)
    actual[0, 0] = 0


def test_verify_and_sniff(tmp_path: Path):
    whole = encoded(Image.fromarray(noise(40, 50)), "PNG")
    good, cut, html = tmp_path / "good.png", tmp_path / "cut.png", tmp_path / "html.png"
    good.write_bytes(whole)
    cut.write_bytes(whole[:3000])
    html.write_bytes(b"<html>")
    digest = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in (good, cut, html)}
    assert decode.verify(good, digest[good]) is None
    assert decode.sniff(good) is None
    assert decode.sniff(cut) is None  # its header is whole
    problem = decode.verify(cut, digest[cut])
    assert problem is not None
    assert str(problem).startswith(f"{cut}: cannot be decoded: truncated: the PNG data end early")
    for problem in (decode.verify(html, digest[html]), decode.sniff(html)):
        assert problem is not None
        assert "not an image" in problem.message
    other = decode.verify(good, digest[cut])
    assert other is not None and other.kind == "changed"
