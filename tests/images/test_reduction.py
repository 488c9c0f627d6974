"""Large images decoded at reduced scale, against the full decode resampled by plain Pillow."""

from __future__ import annotations

import functools
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from tlcli.errors import DataError, ImageError
from tlcli.images import decode


@functools.cache
def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Detail at every scale, as photos have: noise of falling strength, and edges."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((height, width, 3), np.float32)
    cells = 4
    while cells < 2 * max(width, height):
        shape = (max(1, cells * height // width), cells)
        layer = rng.normal(0, 1, (*shape, 3)) * 160 / np.sqrt(cells)
        for channel in range(3):
            coarse = Image.fromarray(layer[..., channel].astype(np.float32))
            pixels[..., channel] += np.asarray(coarse.resize((width, height)))
        cells *= 2
    down, across = np.mgrid[:height, :width]
    pixels[(across - width / 3) ** 2 + (down - height / 2) ** 2 < (height / 4) ** 2] += 90
    return Image.fromarray(np.clip(pixels + 110, 0, 255).astype(np.uint8))


def save(path: Path, image: Image.Image, orientation: int = 1, **options: object) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif, **{"quality": 92, **options})
    return path


def plainly(path: Path, height: int, width: int, resize: decode.Resize) -> np.ndarray:
    """Every pixel decoded, and resampled at once."""
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    box = (0.0, 0.0, float(image.width), float(image.height))
    size = (width, height)
    if resize == "crop":
        scale = max(width / image.width, height / image.height)
        left = (image.width - width / scale) / 2
        top = (image.height - height / scale) / 2
        box = (max(left, 0), max(top, 0), image.width - left, image.height - top)
    elif resize == "pad":
        scale = min(width / image.width, height / image.height)
        size = (round(image.width * scale), round(image.height * scale))
    whole = np.asarray(image.resize(size, Image.Resampling.BILINEAR, box=box))
    canvas = np.zeros((height, width, 3), np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    canvas[top : top + size[1], left : left + size[0]] = whole
    return canvas


def differences(path: Path, height: int, width: int, resize: decode.Resize) -> np.ndarray:
    actual = decode.load_image(path, height=height, width=width, resize=resize).astype(int)
    return np.abs(actual - plainly(path, height, width, resize))


@pytest.fixture
def decoded_sizes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The sizes of what is handed to `fit`."""
    sizes = []
    fit = decode.fit

    def spy(image, *rest):
        sizes.append(image.size)
        return fit(image, *rest)

    monkeypatch.setattr(decode, "fit", spy)
    return sizes


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize("target", [(32, 32), (24, 48), (100, 70)])
@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"subsampling": 0}, {"mode": "L"}, {"mode": "CMYK"}],
    ids=["4:2:0", "progressive", "4:4:4", "grey", "CMYK"],
)
def test_a_reduced_decode_is_close_to_the_full_one(
    tmp_path: Path, options: dict[str, object], target: tuple[int, int], resize: decode.Resize
):
    image = photo(803, 601).convert(str(options.get("mode", "RGB")))
    rest = {key: value for key, value in options.items() if key != "mode"}
    levels = differences(save(tmp_path / "a.jpg", image, **rest), *target, resize)
    assert levels.mean() < 1
    assert np.percentile(levels, 99.9) <= 10


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
def test_parts_of_pixels_at_the_edge_keep_their_place(
    tmp_path: Path, decoded_sizes: list, orientation: int, resize: decode.Resize
):
    # An eighth of 65 x 81 is 8.1 x 10.1, decoded as 9 x 11. Taking the last pixels for whole ones,
    # or at the wrong side, is 20 levels off on a slope; Pillow weighs them by their centres.
    for slope in (np.linspace(0, 255, 65)[None, :], np.linspace(0, 255, 81)[:, None]):
        pixels = np.broadcast_to(slope, (81, 65)).astype(np.uint8)
        path = save(tmp_path / "a.jpg", Image.fromarray(pixels), orientation, quality=100)
        assert differences(path, 3, 3, resize).max() <= 6
    assert sorted(decoded_sizes[0]) == [9, 11]


@pytest.mark.parametrize(
    ("target", "decoded"),
    [(45, (150, 113)), (46, (300, 225)), (91, (600, 450)), (181, (1200, 900))],
)
def test_the_reduction_leaves_enough_pixels(
    tmp_path: Path, decoded_sizes: list, target: int, decoded: tuple[int, int]
):
    path = save(tmp_path / "a.jpg", Image.new("RGB", (1200, 900)))
    decode.load_image(path, height=target, width=target, resize="squash")
    assert decoded_sizes == [decoded]
    assert min(decoded) >= decode.GAP * target


def test_the_shape_asked_for_counts_and_not_the_longer_side(tmp_path: Path, decoded_sizes: list):
    path = save(tmp_path / "a.jpg", Image.new("RGB", (1600, 200)), orientation=6)
    # Upright 200 x 1600: squashed, the short side allows nothing; padded, the long one decides.
    decode.load_image(path, height=64, width=64, resize="squash")
    decode.load_image(path, height=64, width=64, resize="crop")
    decode.load_image(path, height=64, width=64, resize="pad")
    decode.load_image(path, height=64, width=8, resize="squash")
    assert decoded_sizes == [(200, 1600), (200, 1600), (25, 200), (25, 200)]


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_photos_near_the_size_asked_for_are_resampled_in_one_step(tmp_path: Path, suffix: str):
    path = save(tmp_path / f"a.{suffix}", photo(400, 300))
    assert differences(path, 64, 81, "squash").max() == 0


def test_other_formats_are_averaged_in_blocks(tmp_path: Path):
    path = save(tmp_path / "a.png", photo(803, 601))
    levels = differences(path, 48, 48, "squash")
    assert 0 < levels.max() <= 10
    assert levels.mean() < 1


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (5000, 3), (7, 4000), (4001, 9)])
@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
def test_extreme_shapes(tmp_path: Path, size: tuple[int, int], resize: decode.Resize):
    path = save(tmp_path / "a.jpg", Image.new("RGB", size, "white"), orientation=6)
    actual = decode.load_image(path, height=31, width=47, resize=resize)
    assert actual.shape == (31, 47, 3)
    assert actual.max() == 255


@pytest.mark.parametrize("progressive", [False, True])
def test_a_reduced_decode_misses_no_truncation(tmp_path: Path, progressive: bool):
    stream = io.BytesIO()
    photo(640, 480).save(stream, "JPEG", quality=90, progressive=progressive)
    whole, path = stream.getvalue(), tmp_path / "a.jpg"
    for percent in range(5, 100, 5):
        path.write_bytes(whole[: len(whole) * percent // 100])
        with pytest.raises(ImageError, match="truncated"):
            decode.load_image(path, height=24, width=24, resize="squash")
    path.write_bytes(whole[:-2])
    with pytest.raises(ImageError, match="truncated"):
        decode.load_image(path, height=24, width=24, resize="squash")


@pytest.mark.parametrize("side", [24, 400])
def test_half_a_download_in_a_file_of_full_size(tmp_path: Path, side: int):
    stream, thumbnail = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (16, 16)).save(thumbnail, "JPEG")
    # The end mark of a thumbnail in front of the pixels proves nothing.
    photo(640, 480).save(stream, "JPEG", exif=b"Exif\0\0" + thumbnail.getvalue())
    whole, path = stream.getvalue(), tmp_path / "a.jpg"
    path.write_bytes(whole + bytes(100_000))  # padding behind the end does no harm
    decode.load_image(path, height=side, width=side, resize="squash")
    path.write_bytes(whole[: len(whole) // 2].ljust(len(whole), b"\0"))
    with pytest.raises(ImageError, match="truncated: the JPEG data end early"):
        decode.load_image(path, height=side, width=side, resize="squash")


def test_the_pixel_limit_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = save(tmp_path / "a.png", Image.new("RGB", (30, 20)))
    monkeypatch.setenv("TLCLI_PIXEL_LIMIT", "600")
    decode.decode(path)
    monkeypatch.setenv("TLCLI_PIXEL_LIMIT", "599")
    with pytest.raises(ImageError) as caught:
        decode.decode(path)
    assert str(caught.value) == (
        f"{path}: cannot be decoded: too many pixels: 30 x 20 pixels; "
        "scale it down to 599 pixels or fewer, or raise TLCLI_PIXEL_LIMIT"
    )
    for wrong in ("many", "0", "-5", "1e9"):
        monkeypatch.setenv("TLCLI_PIXEL_LIMIT", wrong)
        with pytest.raises(DataError, match=f"TLCLI_PIXEL_LIMIT: '{wrong}' is not a number") as e:
            decode.decode(path)
        assert not isinstance(e.value, ImageError)  # not the fault of that photo
