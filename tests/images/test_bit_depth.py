"""Photos of 10, 12 or 14 bits in files of 16, in every layout, against NumPy."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from builders.tiffs import tiff
from PIL import Image

from tlcli.errors import ImageError
from tlcli.images import decode


def values(bits: int, channels: int, seed: int = 0) -> np.ndarray:
    """Numbers of so many bits, the largest among them, uint16 (20, 30, channels)."""
    numbers = np.random.default_rng(seed).integers(0, 1 << bits, (20, 30, channels))
    numbers[3, 5] = (1 << bits) - 1
    return numbers.astype(np.uint16)


def png(pixels: np.ndarray) -> bytes:
    """A 16-bit PNG, written by hand: Pillow writes none in colour. Rows differ in their filters."""
    height, width, channels = pixels.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = pixels.astype(">u2").tobytes()
    stride, step = width * channels * 2, channels * 2
    lines = []
    for number in range(height):
        row = np.frombuffer(rows, np.uint8)[number * stride : (number + 1) * stride].astype(int)
        left = np.concatenate([np.zeros(step, int), row[:-step]])
        above = np.zeros(stride, int)
        if number:
            above = np.frombuffer(rows, np.uint8)[(number - 1) * stride : number * stride]
        predicted = (0 * row, left, above.astype(int), (left + above) // 2)[number % 4]
        lines.append(bytes([number % 4]) + ((row - predicted) % 256).astype(np.uint8).tobytes())
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(lines))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


def scaled(pixels: np.ndarray, bits: int) -> np.ndarray:
    """8-bit RGB, white at 2**bits - 1."""
    eight = np.rint(pixels * (255 / ((1 << bits) - 1)))
    return np.broadcast_to(eight, (*pixels.shape[:2], 3)).astype(np.uint8)


@pytest.mark.parametrize("depth", ["as given", "auto"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_colour(bits, channels, depth):
    pixels = values(bits, channels)
    image = decode.decode(png(pixels), depth=bits if depth == "as given" else "auto")
    np.testing.assert_array_equal(np.asarray(image), scaled(pixels, bits))


@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3])
def test_tiff(channels, order, deflated):
    pixels = values(12, channels)
    photometric = 1 if channels == 1 else 2
    data = tiff(pixels, bits=16, photometric=photometric, order=order, deflated=deflated)
    np.testing.assert_array_equal(np.asarray(decode.decode(data, depth=12)), scaled(pixels, 12))


def test_a_layout_whose_low_bytes_cannot_be_had_is_refused():
    data = tiff(values(12, 3), bits=16, photometric=2, apart=True)
    with pytest.raises(ImageError, match=r"data\.depth cannot be applied to this kind of file"):
        decode.decode(data, depth=12)


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_keeps_its_own_range(channels):
    pixels = values(12, channels)
    pixels[..., -1] = 65535
    pixels[:5, :, -1] = 0  # white shows through
    image = np.asarray(decode.decode(png(pixels), depth=12))
    np.testing.assert_array_equal(image[5:], scaled(pixels[..., :-1], 12)[5:])
    assert (image[:5] == 255).all()


def test_without_a_depth_all_bits_count():
    pixels = values(12, 3)
    image = np.asarray(decode.decode(png(pixels)))
    assert image.max() == 15  # sixteen levels
    np.testing.assert_array_equal(image, pixels >> 8)


def test_photos_with_more_bits_are_refused():
    for channels in (1, 3):
        with pytest.raises(ImageError) as raised:
            decode.decode(png(values(14, channels)), name="x.png", depth=12)
        assert str(raised.value) == (
            "x.png: cannot be decoded: its values do not fit data.depth: 12: they reach 16,383; "
            "use data.depth: auto, or the depth of the camera"
        )


def test_photos_of_8_bits_stay_as_they_are():
    pixels = np.random.default_rng(1).integers(0, 50, (20, 30, 3)).astype(np.uint8)
    path = Path("plain.png")
    Image.fromarray(pixels).save(path)
    for depth in (10, "auto"):
        np.testing.assert_array_equal(np.asarray(decode.decode(path, depth=depth)), pixels)


RECIPE = "data: {dir: photos}\nbase: {name: VGG16, weights: random, image_size: 32}\n"


@pytest.fixture
def deep_photos():
    """Two classes of 12-bit photos in 16-bit files."""
    for split, count in (("train", 6), ("val", 3), ("test", 3)):
        for label, name in enumerate(("dim", "lit")):
            for number in range(count):
                pixels = values(12, 3, seed=1000 * len(split) + 100 * label + number)
                path = Path("photos") / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(png(pixels // (1 if label else 3)))
    Path("recipe.yaml").write_text(RECIPE)


def test_check_says_that_photos_use_few_of_their_bits(deep_photos, cli):
    done = cli("check", "--config", "recipe.yaml")
    assert done.exit_code == 0
    assert (
        "24 photos: uses a quarter of its 16 bits or less, and comes out dark: test/dim/0.png, "
        in done.stderr
    )
    assert "set data.depth to the bits of the camera (10, 12, 14), or to auto" in done.stderr
    findings = json.loads(cli("check", "--config", "recipe.yaml", "--json").stdout)["findings"]
    assert {finding["kind"]: finding["count"] for finding in findings}["few bits"] == 24
    done = cli("check", "--config", "recipe.yaml", "--set", "data.depth=12", "--json")
    assert "few bits" not in {finding["kind"] for finding in json.loads(done.stdout)["findings"]}
    done = cli("check", "--config", "recipe.yaml", "--set", "data.depth=10")
    assert "its values do not fit data.depth: 10" in done.stdout + done.stderr
    assert done.exit_code == 1


def test_every_command_reads_a_run_s_photos_alike(deep_photos, cli):
    """Rows, and predictions of the saved model, are those of the scaled photos."""
    done = cli("finetune", "--config", "recipe.yaml", "--set", "data.depth=12",
               "--set", "stages=[{name: head, epochs: 1}]", "--out", "run")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    photos = sorted(Path("photos/test").rglob("*.png"))
    lines = cli("predict", "--raw", *photos, "--run", "run", "--format", "jsonl").stdout
    from tlcli.networks.framework import keras

    model = keras.models.load_model("run/model.keras")
    for photo, line in zip(photos, lines.splitlines(), strict=True):
        label, number = photo.parent.name == "lit", int(photo.stem)
        pixels = values(12, 3, seed=1000 * len("test") + 100 * label + number)
        image = Image.fromarray(scaled(pixels // (1 if label else 3), 12))
        x = np.asarray(decode.fit(image, 32, 32, "squash"), np.float32)[None]
        lit = float(model(x, training=False).numpy()[0, 0])
        answer = json.loads(line)
        expected = lit if answer["label"] == "lit" else 1 - lit
        assert answer["probability"] == pytest.approx(expected, abs=1e-5)
    assert cli("explain", photos[0], "--run", "run").exit_code == 0


def test_a_depth_is_another_address_and_another_recipe(parts):
    from tlcli.features import addresses
    from tlcli.networks.bases import BASES
    from tlcli.networks.network import build_network
    from tlcli.recipe.settings import Head

    network = build_network(BASES["VGG16"], (32, 32), Head(), 3, seed=0)
    depths = ("null", "12", "auto")
    recipes = [parts(f"data.depth={depth}")[0] for depth in depths]
    folders = {
        addresses.trunk_address(network.row, recipe, "block4_pool", "w").folder(Path("store"))
        for recipe in recipes
    }
    assert len(folders) == len({recipe.fingerprint() for recipe in recipes}) == 3
    assert recipes[0].fingerprint() == parts()[0].fingerprint()
