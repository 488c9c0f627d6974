"""The networks of lessons: layers, shapes and parameters, as the summaries there print them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tlcli.errors import RecipeError
from tlcli.networks.bases import BASES, PRETRAINED
from tlcli.networks.framework import keras
from tlcli.networks.network import build_network
from tlcli.recipe.load import load_recipe
from tlcli.search.base_ranking import base_names
from tlcli.training.stage_plan import head_parameters

#: Layer by layer, the output without the batch, and the parameters; counted by hand.
CIFAR = [
    ("conv1", (30, 30, 32), 896),
    ("pool1", (15, 15, 32), 0),
    ("conv2", (13, 13, 64), 18_496),
    ("pool2", (6, 6, 64), 0),
    ("conv3", (4, 4, 64), 36_928),
    ("head_pool", (1024,), 0),
    ("head_dense_1", (64,), 65_600),
    ("head_logits", (10,), 650),
]
LENET = [
    ("conv1", (28, 28, 6), 6 * (5 * 5 * 3 + 1)),  # of three colours; in grey it has 156
    ("pool1", (14, 14, 6), 0),
    ("conv2", (10, 10, 16), 2_416),
    ("pool2", (5, 5, 16), 0),
    ("head_pool", (400,), 0),
    ("head_dense_1", (120,), 48_120),
    ("head_dense_2", (84,), 10_164),
    ("head_logits", (10,), 850),
]
CATS_DOGS = [
    ("conv1", (148, 148, 32), 896),
    ("pool1", (74, 74, 32), 0),
    ("conv2", (72, 72, 64), 18_496),
    ("pool2", (36, 36, 64), 0),
    ("conv3", (34, 34, 128), 73_856),
    ("pool3", (17, 17, 128), 0),
    ("conv4", (15, 15, 128), 147_584),
    ("pool4", (7, 7, 128), 0),
    ("head_pool", (6272,), 0),
    ("head_dense_1", (512,), 3_211_776),
    ("head_dropout", (512,), 0),
    ("head_logits", (1,), 513),
]
_KERNELS = 3 * 3 * 64 * 64
RESIDUAL = [
    ("stem_conv", (32, 32, 64), 3 * 3 * 3 * 64),
    ("stem_bn", (32, 32, 64), 4 * 64),
    ("block1_1_conv", (32, 32, 64), _KERNELS),
    ("block1_2_bn", (32, 32, 64), 4 * 64),
    ("block1_out", (32, 32, 64), 0),
    ("block1_pool", (16, 16, 64), 0),
    ("block2_2_conv", (16, 16, 64), _KERNELS),
    ("block2_pool", (8, 8, 64), 0),
    ("block3_out", (8, 8, 64), 0),
    ("head_pool", (64,), 0),
    ("head_logits", (10,), 650),
]


@pytest.fixture
def build(write_recipe: Callable[..., Any]) -> Callable[..., Any]:
    """The network of a recipe that names a base and nothing else, for so many classes."""

    def build(name: str, classes: int) -> Any:
        recipe = load_recipe(write_recipe(f"data: {{dir: .}}\nbase: {{name: {name}}}\n"))
        size = recipe.base.image_size
        assert recipe.base.weights == "random"
        network = build_network(BASES[recipe.base.name], size, recipe.head, classes, seed=1)
        in_head = head_parameters(recipe.head, network.row, size, classes)
        assert network.whole.count_params() == network.row.parameters + in_head
        return network

    return build


@pytest.mark.parametrize(
    ("name", "classes", "table", "total"),
    [
        ("CifarConvNet", 10, CIFAR, 122_570),
        ("LeNet5", 10, LENET, 61_706 + 300),  # 61,706 in grey
        ("SmallConvNet", 2, CATS_DOGS, 3_453_121),
        ("SmallResNet", 10, RESIDUAL, 1_728 + 256 + 6 * (_KERNELS + 256) + 650),
    ],
)
def test_the_summary_is_that_of_the_lesson(build, name: str, classes: int, table, total: int):
    whole = build(name, classes).whole
    assert whole.count_params() == total
    rows = {layer.name: (layer.output.shape[1:], layer.count_params()) for layer in whole.layers}
    assert [(layer, *rows[layer]) for layer, _, _ in table] == table
    if name != "SmallResNet":
        others = ("pixels", "preprocess", "probabilities")
        assert [layer for layer in rows if layer not in others] == [layer for layer, _, _ in table]


def test_it_computes_what_keras_computes(build):
    """A Sequential model with the same weights, as the lesson has it: pixels / 255 and onwards."""
    network = build("CifarConvNet", 10)
    layers = keras.layers
    plain = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    plain.set_weights(network.whole.get_weights())
    x = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.float32)
    expected = plain(x / 255, training=False)
    np.testing.assert_allclose(network.whole(x, training=False), expected, rtol=1e-4, atol=1e-6)


def test_a_recipe_may_change_the_head_that_a_network_comes_with(write_recipe):
    text = "data: {dir: .}\nbase: {name: lenet5, image_size: 32}\nhead: {dropout: 0.25}\n"
    recipe = load_recipe(write_recipe(text))
    assert recipe.head.model_dump() == {
        "pooling": "flatten", "hidden": (120, 84), "dropout": 0.25, "l2": 0.0, "normalize": False,
        "multi_layer": False,
    }  # fmt: skip
    (stage,) = recipe.stages
    assert (stage.name, stage.freeze_until, stage.learning_rate) == ("scratch", "pixels", 1e-3)
    again = load_recipe(write_recipe(recipe.as_yaml(), "again.yaml"))
    assert again.fingerprint() == recipe.fingerprint()


@pytest.mark.parametrize("weights", ["imagenet", "w.h5"])
def test_there_are_no_weights_for_it(write_recipe, weights: str):
    text = f"data: {{dir: .}}\nbase:\n  name: SmallConvNet\n  weights: {weights}\n"
    with pytest.raises(RecipeError) as caught:
        load_recipe(write_recipe(text))
    assert str(caught.value).endswith(
        "recipe.yaml:4: base.weights: SmallConvNet has no pretrained weights; it is trained from "
        "scratch, with `weights: random`"
    )


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (("weights", "fetch", "lenet5"), "weights"),
        (("explain", "--base", "LeNet5", "photo.png"), "--base"),
        (("visualize", "filters", "--base", "LeNet5", "--layer", "conv1"), "--base"),
    ],
)
def test_a_command_that_needs_weights_says_that_there_are_none(cli, words, place: str):
    done = cli(*words)
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == (
        f"error: {place}: LeNet5 has no pretrained weights; "
        "it is trained from scratch, with `weights: random`"
    )


def test_lists_of_weights_and_rankings_are_of_pretrained_bases(cli):
    listed = cli("weights", "list").stdout
    assert "VGG16" in listed and "LeNet5" not in listed
    assert base_names("all") == list(PRETRAINED)
