"""Heat in the right place of the photo, in colours that keep their order."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tlcli.explain import heatmap
from tlcli.images import decode
from tlcli.images.loader import PixelSettings


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize("size", [(120, 60), (60, 120), (64, 64), (101, 37)])
def test_heat_lands_where_the_network_saw_it(resize, size):
    """A bright spot in a photo, seen by the network, comes back as heat on the spot."""
    width, height = size
    photo = np.zeros((height, width), np.uint8)
    down, across = height // 2 - height // 8, width // 2 + width // 10
    photo[down - 3 : down + 3, across - 3 : across + 3] = 255
    pixel_settings = PixelSettings(64, 64, resize)
    fitted = decode.fit(Image.fromarray(photo).convert("RGB"), 64, 64, resize)
    laid, _ = heatmap.stretch_to_photo(np.float32(fitted)[:, :, 0] / 255, size, pixel_settings)
    rows, columns = np.mgrid[:height, :width] + 0.5
    assert (laid * rows).sum() / laid.sum() == pytest.approx(down, abs=1)
    assert (laid * columns).sum() / laid.sum() == pytest.approx(across, abs=1)


def test_a_coarse_grid_covers_the_photo_evenly():
    laid, visible = heatmap.stretch_to_photo(
        np.array([[0, 0], [0, 1]], np.float32), (40, 20), PixelSettings(32, 32, "squash")
    )
    assert laid.shape == (20, 40) and visible.all()
    assert laid[-1, -1] == 1 and laid[0, 0] == 0
    assert laid[10:, 20:].mean() > 3 * laid[:10, 20:].mean()


def test_what_a_crop_leaves_out_is_dark_and_cold():
    photo = Image.new("RGB", (90, 30), (200, 100, 50))
    pixel_settings = PixelSettings(32, 32, "crop")
    laid, visible = heatmap.stretch_to_photo(
        np.ones((4, 4), np.float32), photo.size, pixel_settings
    )
    assert visible.sum() == 30 * 30 and not visible[:, :30].any() and not visible[:, 60:].any()
    assert not laid[~visible].any()
    pixels = np.asarray(heatmap.overlay_heat(photo, np.zeros((4, 4), np.float32), pixel_settings))
    assert pixels[15, 5].tolist() == [70, 35, 18]
    assert pixels[15, 45].tolist() == [200, 100, 50]


def test_no_heat_leaves_the_photo_and_full_heat_hides_most_of_it():
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))
    pixel_settings = PixelSettings(32, 32, "squash")
    cold = heatmap.overlay_heat(photo, np.zeros((3, 3), np.float32), pixel_settings)
    np.testing.assert_array_equal(np.asarray(cold), np.asarray(photo))
    hot = np.asarray(
        heatmap.overlay_heat(photo, np.ones((3, 3), np.float32), pixel_settings), float
    )
    expected = 0.25 * np.asarray(photo, float) + 0.75 * heatmap.heat_colours(np.array(1.0))
    np.testing.assert_allclose(hot, expected, atol=0.51)


def test_hotter_is_lighter():
    colours = heatmap.heat_colours(np.linspace(0, 1, 256)) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(colours) > -0.5).all() and colours[-1] > colours[0] + 200


def test_the_scale_is_as_wide_as_asked():
    assert heatmap.draw_scale(300, "nothing", "most").width == 300


def test_the_scale_of_an_overlay_has_its_colours():
    """Those that the same heat has over a grey photo."""
    grey = Image.new("RGB", (300, 2), (heatmap.GREY,) * 3)
    heat = np.tile(np.linspace(0, 1, 300, dtype=np.float32), (2, 1))
    settings = PixelSettings(2, 300, "squash")
    laid = np.asarray(heatmap.overlay_heat(grey, heat, settings), int)[0]
    scale = np.asarray(heatmap.draw_scale(300, "nothing", "most", overlay=True), int)[3]
    assert abs(laid - scale).max() <= 2
    assert scale[0].tolist() == [heatmap.GREY] * 3
