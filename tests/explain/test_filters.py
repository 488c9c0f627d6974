"""Patterns of filters: stronger responses than at the start, the same each time, each by itself."""

from __future__ import annotations

import numpy as np
import pytest
from builders.networks import thin_vgg16

from tlcli.explain import explained_model, filters
from tlcli.networks.bases import BASES
from tlcli.networks.framework import keras
from tlcli.pretrained.weights import WeightSource

pytestmark = pytest.mark.usefixtures("thin_vgg16")

LAYER = "block2_conv1"
ASCENT = filters.Ascent(32, steps=8)


@pytest.fixture(scope="module")
def opened() -> explained_model.ExplainedModel:
    with thin_vgg16():
        return explained_model.open_base(BASES["VGG16"], WeightSource("random"), (48, 40))


@pytest.fixture(scope="module")
def small(opened) -> explained_model.ExplainedModel:
    with thin_vgg16():
        return filters.resized_base(opened, ASCENT.side)


def responses(small, pictures) -> np.ndarray:
    """The mean response of each filter to each picture, before the rectifier, by plain Keras."""
    layer = small.grid(LAYER)
    below = keras.Model(small.model.inputs[0], layer.input)(np.float32(pictures))
    return np.asarray(layer.convolution_op(below, layer.kernel) + layer.bias).mean(axis=(1, 2))


def test_resizing_keeps_the_weights(opened, small):
    assert small.model.inputs[0].shape[1:3] == (32, 32)
    for layer in opened.model.layers:
        for mine, other in zip(
            layer.weights, small.grids[layer.name].weights if layer.weights else [], strict=True
        ):
            np.testing.assert_array_equal(mine, other)


def test_every_filter_responds_more_to_its_own_picture_than_to_its_start(small):
    numbers = [0, 3, 5, 9]
    begun = filters.paint_filters(small, LAYER, numbers, filters.Ascent(32, steps=0))
    grown = filters.paint_filters(small, LAYER, numbers, ASCENT)
    assert grown.shape == (4, 32, 32, 3) and grown.dtype == np.uint8
    own = np.diagonal(responses(small, grown)[:, numbers])
    assert (own > np.diagonal(responses(small, begun)[:, numbers])).all()
    # And more than to the pictures of the others.
    assert (responses(small, grown)[:, numbers].argmax(axis=0) == np.arange(4)).all()
    assert small.grid(LAYER).activation is keras.activations.relu, "left as it was"


def test_the_same_seed_paints_the_same_and_filters_do_not_mind_each_other(small):
    short = filters.Ascent(32, steps=2)
    first = filters.paint_filters(small, "block1_conv2", [3, 5], short)
    np.testing.assert_array_equal(
        filters.paint_filters(small, "block1_conv2", [3, 5], short), first
    )
    alone = filters.paint_filters(small, "block1_conv2", [5], short)
    np.testing.assert_allclose(np.float32(alone[0]), np.float32(first[1]), atol=1)
    other = filters.paint_filters(
        small, "block1_conv2", [3, 5], filters.Ascent(32, steps=2, seed=1)
    )
    assert (other != first).any()


def test_the_beginning_is_the_inverse_transform_of_scaled_coefficients():
    coefficients = filters._random_coefficients(filters.Ascent(16), [2])
    down, across = np.fft.fftfreq(16)[:, None], np.fft.rfftfreq(16)[None]
    scaled = (coefficients[:, 0] + 1j * coefficients[:, 1]) * 16 / 4
    scaled = scaled / np.maximum(np.hypot(down, across), 1 / 16)
    planes = np.fft.irfft2(scaled, (16, 16))
    colours = np.einsum("nchw,cr->nhwr", planes, filters._AXES * filters._SPREAD[:, None])
    expected = 255 / (1 + np.exp(-colours))
    np.testing.assert_allclose(filters._picture(coefficients, 16), expected, atol=0.01)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0-2,5", [0, 1, 2, 5]), ("7", [7]), ("3, 3-4", [3, 4]), (None, list(range(16)))],
)
def test_filters_by_number(opened, text, numbers):
    assert filters.filter_numbers(opened, LAYER, text) == numbers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a",
            "--filters: 'a' is not the number of a filter; write numbers and ranges, as in 0-15,40",
        ),
        ("1-", "'1-' is not the number of a filter"),
        ("", "'' is not the number of a filter"),
        ("5-2", "'5-2' is out of range; block2_conv1 has filters 0 to 15"),
        ("16", "'16' is out of range"),
    ],
)
def test_filters_that_the_layer_does_not_have(opened, text, message):
    with pytest.raises(explained_model.UnknownName) as caught:
        filters.filter_numbers(opened, LAYER, text)
    assert message in str(caught.value)


def test_higher_layers_get_larger_pictures(opened):
    sides = [filters.default_side(opened, f"block{block}_conv1") for block in (1, 3, 4, 5)]
    assert sides == [48, 48, 96, 128]


def test_the_command(cli, tmp_path):
    out = tmp_path / "f.png"
    words = ("--base", "VGG16", "--weights", "random", "--layer", "block1_conv1", "--size", 32)
    done = cli("visualize", "filters", *words, "--filters", "0-4", "--steps", 1, "--out", out)
    assert (done.exit_code, done.stdout) == (0, f"{out}\n"), done.stderr
    out.write_text("mine")
    again = cli("visualize", "filters", *words, "--out", out)
    assert again.exit_code == 1
    assert f"--out {out}: exists already; name another, or replace it with --force" in again.stderr
    unknown = cli("visualize", "filters", *words[:4], "--layer", "block9_conv1")
    assert unknown.exit_code == 1
    assert "VGG16 has no layer 'block9_conv1'; did you mean 'block" in unknown.stderr
