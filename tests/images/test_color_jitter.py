"""Colours against Pillow, scipy, TensorFlow and Keras' legacy generator."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter
from scipy.stats import kstest

from tlcli.images import color_jitter
from tlcli.images.color_jitter import ColorDraws
from tlcli.networks.framework import keras
from tlcli.recipe.augment import Augment
from tlcli.system.stateless_random import RandomAddresses


def photo() -> Any:
    """Every colour of the middle of the range, so that nothing is clipped on the way."""
    return np.random.default_rng(0).integers(60, 196, (24, 31, 3), dtype="uint8")


def changed(pixels: Any, **values: float) -> Any:
    plain = {
        "brightness": 1.0, "channel_shift": 0.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0,
        "grey": False, "sigma": 0.0,
    }  # fmt: skip
    drawn = ColorDraws(**{name: np.array([value]) for name, value in {**plain, **values}.items()})
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32)
    before = planes.copy()
    result = color_jitter.change_colours(planes, drawn, 0)
    assert (planes == before).all(), "the photo is left alone"
    return result.transpose(1, 2, 0)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.25])
def test_brightness_contrast_and_saturation_are_pillows(factor: float):
    image = Image.fromarray(photo())
    for name, enhance in (
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ):
        expected = np.asarray(enhance(image).enhance(factor), np.float32)
        # Pillow works in whole numbers: the mean, the grey and the result are rounded or cut.
        assert np.abs(changed(photo(), **{name: factor}) - expected).max() < 1.6


@pytest.mark.parametrize("values", [{"brightness": 0.7}, {"channel_shift": -20.0}])
def test_brightness_and_channel_shift_are_those_of_keras_generator(values: dict[str, float]):
    generator = keras.src.legacy.preprocessing.image.ImageDataGenerator()
    names = {"channel_shift": "channel_shift_intensity"}
    pixels = photo().astype("float32")
    pixels[0, 0], pixels[0, 1] = 0, 255  # Keras clips to the photo's own range, here all of it
    expected = generator.apply_transform(
        pixels, {names.get(name, name): value for name, value in values.items()}
    )
    assert np.abs(changed(pixels, **values) - expected).max() <= 1  # Keras cuts off fractions


def test_hue_keeps_luma_and_grey_and_turns_as_far_as_it_says():
    pixels = np.random.default_rng(1).integers(110, 146, (20, 20, 3), dtype="uint8")
    for turns in (0.1, -0.25, 0.5):
        result = changed(pixels, hue=turns)
        np.testing.assert_allclose(
            result @ color_jitter.LUMA, pixels @ color_jitter.LUMA, atol=1e-3
        )
        np.testing.assert_allclose(changed(result, hue=-turns), pixels, atol=1e-3)
    grey = np.full((4, 4, 3), 99, "uint8")
    np.testing.assert_allclose(changed(grey, hue=0.3), 99, atol=1e-3)
    # A third of a turn takes red to about where green is on the wheel of HSV, or blue.
    red = np.full((1, 1, 3), (160, 110, 110), "uint8")
    hues = {
        round(3 * colorsys.rgb_to_hsv(*changed(red, hue=turns)[0, 0] / 255)[0]) % 3
        for turns in (1 / 3, -1 / 3)
    }
    assert hues == {1, 2}


def test_grey_is_pillows():
    expected = np.asarray(Image.fromarray(photo()).convert("L"), np.float32)
    result = changed(photo(), grey=True, saturation=1.4, hue=0.2)
    assert np.abs(result - expected[..., None]).max() <= 1


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
def test_blur_is_scipys_gaussian(sigma: float):
    pixels = photo().astype("float32")
    expected = gaussian_filter(pixels, (sigma, sigma, 0), mode="nearest", truncate=4.0)
    np.testing.assert_allclose(changed(pixels, sigma=sigma), expected, atol=1e-3)


def test_all_at_once_is_one_after_the_other():
    """Where nothing is clipped; the order is the documented one."""
    values = {
        "channel_shift": 5.0, "brightness": 0.9, "contrast": 0.8, "saturation": 0.7, "hue": 0.07,
    }  # fmt: skip
    step = photo().astype("float32")
    for name, value in values.items():
        step = changed(step, **{name: value})
    np.testing.assert_allclose(changed(photo(), **values), step, atol=1e-3)


def test_pixels_stay_in_range():
    pixels = np.random.default_rng(0).integers(0, 256, (24, 31, 3), dtype="uint8")
    for values in ({"brightness": 9.0}, {"channel_shift": -255.0}, {"contrast": 10.0},
                   {"saturation": 10.0}, {"hue": 0.5}, {"sigma": 2.0}):  # fmt: skip
        result = changed(pixels, **values)
        assert result.min() >= 0 and result.max() <= 255


def test_distributions_are_those_of_the_settings():
    settings = Augment(
        brightness_range=(0.5, 1.2), channel_shift_range=30, contrast=0.3, saturation=(0, 2),
        hue=0.1, grayscale=0.2, blur=0.4,
    )  # fmt: skip
    at = RandomAddresses(0, [str(n) for n in range(10_000)], [1 + n % 4 for n in range(10_000)])
    drawn = color_jitter.draw(settings, at)
    ranges = {
        "brightness": (0.5, 1.2), "channel_shift": (-30, 30), "contrast": (0.7, 1.3),
        "saturation": (0, 2), "hue": (-0.1, 0.1),
    }  # fmt: skip
    for name, (low, high) in ranges.items():
        values = getattr(drawn, name)
        assert low <= values.min() and values.max() <= high
        assert kstest(values, "uniform", (low, high - low)).pvalue > 1e-4
    assert abs(drawn.grey.mean() - 0.2) < 0.02
    assert abs((drawn.sigma > 0).mean() - 0.4) < 0.025
    blurred = drawn.sigma[drawn.sigma > 0]
    assert kstest(blurred, "uniform", (0.1, 1.9)).pvalue > 1e-4
