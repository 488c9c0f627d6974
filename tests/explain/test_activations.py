"""Channels of layers: the numbers of plain Keras, in order, each on its own scale."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from builders.networks import network, save, thin_vgg16
from PIL import Image

from tlcli.explain import activations, explained_model
from tlcli.images import decode
from tlcli.networks.bases import BASES
from tlcli.networks.framework import keras
from tlcli.pretrained.weights import WeightSource


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "model.keras"
    with thin_vgg16():
        return save(network(size=(40, 48)), path, ("a", "b", "c"), resize="pad")


def test_activations_are_those_of_keras(model, photos):
    photo = next(photos.rglob("*.png"))
    opened = explained_model.open_run(model)
    layers = activations.photo_activations(opened, photo, ["block1_conv2", "block4_pool"])
    pixels = np.float32(decode.load_image(photo, height=40, width=48, resize="pad"))[None]
    plain = keras.saving.load_model(model, compile=False)
    for channels in layers:
        expected = keras.Model(plain.inputs[0], plain.get_layer(channels.layer).output)(pixels)
        np.testing.assert_allclose(channels.values, expected[0], rtol=1e-4, atol=1e-3)


def test_the_layers_shown_by_default(model):
    opened = explained_model.open_run(model)
    assert activations.chosen_layers(opened, ()) == [
        "block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3"
    ]  # fmt: skip
    assert activations.chosen_layers(opened, ("block1_pool", "block1_pool")) == ["block1_pool"]
    with pytest.raises(
        explained_model.UnknownName, match="'head_logits' gives 3 numbers, not a grid"
    ):
        activations.chosen_layers(opened, ("head_logits",))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("ResNet50", "conv5_block3_out"),
        ("InceptionV3", "mixed10"),
        ("MobileNetV2", "out_relu"),
    ],
)
def test_other_bases_show_about_a_layer_for_each_halving(name, last):
    opened = explained_model.open_base(BASES[name], WeightSource("random"))
    layers = activations.chosen_layers(opened, ())
    assert layers[-1] == last and 4 <= len(layers) <= 6
    sides = [opened.grid(name).output.shape[1] for name in layers]
    assert all(below > 1.4 * above for below, above in pairwise(sides))


def test_tiles_stand_in_order_and_fill_their_own_scale():
    values = np.zeros((40, 40, 30), np.float32)
    values[:, 20:, 1] = 1e-6  # faint, and yet seen in full
    values[:, :, 2] = 7  # the same everywhere
    tile = activations.Channels("x", values)
    assert tile.silent == 29
    tiles = np.asarray(activations._tiles(values))
    left = activations.GUTTER
    assert tiles.shape == (2 * 41 - 1, left + 20 * 41 - 1, 3)  # 20 and 10 channels
    numbers = tiles[:, :left].min(axis=(1, 2)) < 200  # of the first in each row: 0, 20
    assert numbers[:20].any() and numbers[41:61].any() and not numbers[20:41].any()
    tiles = tiles[:, left:]
    dark, bright = tiles[5, 5].tolist(), tiles[5, 41 + 30].tolist()
    assert tiles[5, 41 + 5].tolist() == dark and tiles[5, 82 + 5].tolist() == dark
    assert sum(bright) > sum(dark) + 300


@pytest.mark.parametrize(("side", "shown"), [(7, 49), (14, 42), (24, 48), (56, 56), (112, 96)])
def test_small_channels_are_enlarged_by_a_whole_number(side: int, shown: int):
    tiles = activations._tiles(np.zeros((side, side, 2), np.float32))
    assert tiles.size == (activations.GUTTER + 2 * (shown + 1) - 1, shown)


def test_the_command(model, photos, cli, tmp_path):
    photo, out = next(photos.rglob("*.png")), tmp_path / "sheet.png"
    done = cli("visualize", "activations", photo, "--run", model, "--out", out, "--json")
    assert done.exit_code == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["sheet"] == str(out)
    assert value["layers"][0]["shape"] == [40, 48, 8]
    with Image.open(out) as sheet:
        assert sheet.format == "PNG" and sheet.width > 1000
    (tmp_path / "bad.jpg").write_text("<html>")
    bad = cli("visualize", "activations", tmp_path / "bad.jpg", "--run", model)
    assert bad.exit_code == 1 and "not an image" in bad.stderr
    both = cli("visualize", "activations", photo, "--run", model, "--base", "VGG16")
    assert both.exit_code == 2 and "--run and --base: give only one of them" in both.stderr
    both = cli("visualize", "filters", model, "--base", "VGG16", "--layer", "block1_conv1")
    assert both.exit_code == 2 and "RUN and --base: give only one of them" in both.stderr
    both = cli("visualize", "filters", model, "--run", model, "--layer", "block1_conv1")
    assert both.exit_code == 2 and "RUN and --run: name the run once" in both.stderr
    unknown = cli("visualize", "filters", model, "--layer", "block9")
    assert unknown.exit_code == 1 and "block9" in unknown.stderr
    unknown = cli("visualize", "activations", photo, "--base", "VGG61")
    assert "--base VGG61: is not a base tlcli knows; did you mean 'VGG" in unknown.stderr
