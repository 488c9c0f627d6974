"""Near-duplicates: found by hash and thumbnail, against all pairs compared by NumPy."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scipy.fft import dctn

from tlcli.data import near_duplicates
from tlcli.data.near_duplicates import BITS, SIDE, PreparedThumbnails


def photo(seed: int, width: int = 160, height: int = 120) -> Image.Image:
    """Blobs of colour, as of a blurred photo."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    image = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    image += rng.integers(-12, 13, image.shape)
    return Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def stack(*images: Image.Image) -> np.ndarray:
    return np.stack([near_duplicates.make_thumbnail(image) for image in images])


def pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return near_duplicates.find_pairs(PreparedThumbnails(first), PreparedThumbnails(second))


CHANGES = {
    "encoded again": lambda image: encoded(image, 60),
    "smaller": lambda image: encoded(image.resize((128, 96)), 90),
    "mirrored": lambda image: encoded(ImageOps.mirror(image), 90),
    "all of it": lambda image: encoded(ImageOps.mirror(image).resize((128, 96)), 60),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "grey": lambda image: image.convert("L").convert("RGB"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_changed_copies_are_found_and_nothing_else(change):
    photos = [photo(seed) for seed in range(30)]
    changed = [change(photos[number]) for number in range(0, 30, 3)]
    matches = pairs(stack(*photos), stack(*changed))
    assert matches.tolist() == [[3 * number, number] for number in range(10)]


def test_a_photo_turned_upside_down_is_another():
    assert pairs(stack(photo(1)), stack(ImageOps.flip(photo(1)))).size == 0


def test_plain_pictures_are_like_nothing():
    plain = [Image.new("RGB", (50, 50), colour) for colour in ("white", "black", "grey")]
    assert pairs(stack(*plain), stack(*plain)).size == 0
    assert pairs(np.empty((0, SIDE, SIDE), np.uint8), stack(photo(1))).shape == (0, 2)


def test_the_bands_miss_no_pair(monkeypatch: pytest.MonkeyPatch):
    # Thumbnails that differ by more and more noise, so that every number of bits occurs.
    rng = np.random.default_rng(0)
    first = stack(*(photo(seed) for seed in range(40)))
    noise = rng.normal(0, 1, (400, SIDE, SIDE)) * np.linspace(0, 25, 400)[:, None, None]
    second = np.clip(first[rng.integers(0, 40, 400)] + noise, 0, 255).astype(np.uint8)
    second[::2] = second[::2, :, ::-1]
    monkeypatch.setattr(near_duplicates, "_CHUNK", 100)
    monkeypatch.setattr(near_duplicates, "CORRELATION", 0.5)  # so that the bits decide
    matches = {(left, right) for right, left in pairs(second, first).tolist()}
    expected = set()
    bits = [_bits(values) for values in first]
    for right, whole in enumerate(second):
        for values in (whole, whole[:, ::-1]):
            other = _bits(values)
            for left in range(40):
                alike = np.corrcoef(first[left].ravel(), values.ravel())[0, 1] >= 0.5
                if alike and (bits[left] != other).sum() <= BITS:
                    expected.add((left, right))
    assert 200 < len(expected) < 400
    # A frequency right at the median may fall to either side of it in float32.
    assert len({right for _, right in matches} ^ {right for _, right in expected}) <= 2
    assert len(matches - expected) <= 2
    assert len(matches) == len({right for _, right in matches}), "one partner is named for each"


def _bits(values: np.ndarray) -> np.ndarray:
    """The hash by SciPy; the scale of the frequencies must be that of unnormalised cosines."""
    frequencies = dctn(values.astype(float) - values.mean(), type=2)[:8, :8].ravel()[1:]
    return frequencies > np.median(frequencies)


def like_scans(number: int, rng: np.random.Generator) -> np.ndarray:
    """Thumbnails of other subjects that look much alike, as X-rays do, so that hashes are near."""
    rows = np.arange(SIDE)
    basis = np.cos(np.pi * rows[:, None] * (2 * rows + 1) / (2 * SIDE))[:8]
    low = np.random.default_rng(7).normal(size=(8, 8)) + 0.3 * rng.normal(size=(number, 8, 8))
    low[:, 0, 0] = 0
    pictures = basis.T @ low @ basis
    return (128 + pictures * (45 / pictures.std())).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("rows", [16, 256])
@pytest.mark.parametrize("mirrored", [False, True])
def test_copies_among_thousands_of_the_same_kind_are_all_found(
    rows: int, mirrored: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(near_duplicates, "_ROWS", rows)
    rng = np.random.default_rng(1)
    scans = like_scans(4_000, rng)
    which = rng.choice(4_000, 60, replace=False)
    copies = np.clip(scans[which] + rng.integers(-2, 3, (60, SIDE, SIDE)), 0, 255).astype(np.uint8)
    matches = pairs(copies[:, :, ::-1] if mirrored else copies, scans)
    assert matches.tolist() == [[number, at] for number, at in enumerate(which.tolist())]


@pytest.mark.parametrize("gather", [0, 64, 10**9], ids=["looked up", "either", "multiplied"])
def test_bands_and_blocks_find_the_same(gather: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(near_duplicates, "_GATHER", gather)
    monkeypatch.setattr(near_duplicates, "CORRELATION", 0.95)
    rng = np.random.default_rng(2)
    first, second = (PreparedThumbnails(like_scans(number, rng)) for number in (300, 2_000))
    matched = []
    for match in (near_duplicates._match_bands, near_duplicates._match_blocks):
        partner = match(first.hashes, first.unit, second, np.full(300, -1))
        matched.append(partner >= 0)
        near = np.bitwise_count(first.hashes ^ second.hashes[partner])
        assert np.all(near[partner >= 0] <= BITS)
    assert 30 < matched[0].sum() < 280
    np.testing.assert_array_equal(*matched)


def test_frames_of_a_film_are_not_all_compared_with_each_other(monkeypatch: pytest.MonkeyPatch):
    compared = []
    count = np.bitwise_count

    def counting(bits):
        compared.append(bits.size)
        return count(bits)

    monkeypatch.setattr(near_duplicates, "_COLUMNS", 20)
    monkeypatch.setattr(np, "bitwise_count", counting)
    noise = np.random.default_rng(0).integers(-2, 3, (3_000, SIDE, SIDE))
    frames = np.clip(stack(photo(3)) + noise, 0, 255).astype(np.uint8)
    matches = pairs(frames[:2_000], frames[2_000:])
    np.testing.assert_array_equal(matches[:, 0], np.arange(2_000))
    assert max(compared) <= near_duplicates._ROWS * 20
    assert sum(compared) < 3 * 2_000 * 20, "not 2,000 times 1,000"
