"""Which boundary is meant by a number of layers, against the layers of Keras' own models."""

from __future__ import annotations

from typing import Any

import pytest

from tlcli.errors import BoundaryError
from tlcli.networks.bases import BASES
from tlcli.networks.boundaries import PIXELS, parse_layer_count
from tlcli.networks.framework import keras


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (15, 15), (-4, -4), (0, 0), (15.0, 15), ([-4], -4), ("15", 15), (" -4 ", -4), ("+3", 3),
        ("[:15]", 15), ([":-4"], -4), ("layers[:-4]", -4), ("model.layers[: 15]", 15),
        (True, None), (1.5, None), ([1, 2], None), ([], None), (None, None), ({"a": 1}, None),
        ("block4_pool", None), ("conv2d_4", None), ("", None), ("9" * 4_000, None),
    ],
)  # fmt: skip
def test_what_is_a_number_of_layers(value: Any, count: int | None):
    assert parse_layer_count(value) == count


@pytest.fixture(scope="module", params=["VGG16", "ResNet50", "MobileNetV2", "InceptionV3"])
def keras_model(request):
    keras.utils.clear_session(free_memory=False)
    builder = getattr(keras.applications, request.param)
    return request.param, builder(include_top=False, weights=None, input_shape=(96, 96, 3))


def layers_up_to(model, name: str) -> set[str]:
    """The layers with weights that the output of one depends on, that one included."""
    part = keras.Model(model.input, model.get_layer(name).output)
    return {layer.name for layer in part.layers if layer.weights}


def test_the_boundary_is_the_highest_below_which_keras_freezes_everything(keras_model):
    base, model = keras_model
    row, count = BASES[base], len(model.layers)
    needs = {b.name: layers_up_to(model, b.name) for b in row.boundaries if b.name != PIXELS}
    positions = {layer.name: place for place, layer in enumerate(model.layers)}
    for n in range(0, count + 3, 5):
        frozen = {layer.name for layer in model.layers[:n]}
        # A boundary without weights counts if it is one of the frozen layers itself.
        below = [name for name in needs if needs[name] <= frozen and name in frozen]
        for value in (n, n - count if 0 < n < count else n):
            message, hint = row.explain_boundary(value)
            if not below:
                assert message.endswith("freezes nothing")
                assert hint == "write `freeze_until: pixels`"
            elif needs[below[-1]] == needs[row.top.name]:
                assert message.endswith("leaves nothing of the base to train")
                assert hint == "a stage without freeze_until trains the head alone"
            else:
                assert hint == f"write `freeze_until: {max(below, key=positions.__getitem__)}`"
                assert ("inside a block" in message) == (model.layers[n - 1].name != below[-1])


def test_the_layer_that_keras_adds_with_the_weights_of_imagenet_is_counted():
    """EfficientNets have a second rescaling then: their layers are not where they are without."""
    row = BASES["EfficientNetB0"]
    at = row.layers.index("block5c_add")
    _, hint = row.explain_boundary(at + 3)  # the input, the rescaling, and the end of the slice
    assert hint == "write `freeze_until: block5c_add`"
    assert row.explain_boundary(at + 2)[1] != hint
    assert row.explain_boundary(at + 1 - len(row.layers))[1] == hint


def test_the_hint_is_what_the_user_would_write():
    with pytest.raises(BoundaryError) as caught:
        BASES["VGG16"].boundary("-4", where="--boundary", line="--boundary {}")
    assert str(caught.value) == (
        "--boundary: found -4, but boundaries have names: Keras' layers[:-4] of VGG16 without "
        "classifier ends with 'block4_pool'; write `--boundary block4_pool`"
    )


def test_pixels_are_the_lowest_boundary_of_every_base_and_freeze_nothing():
    for row in BASES.values():
        pixels = row.boundaries[0]
        assert pixels.name == "pixels" and row.boundary("none") is pixels and pixels.practical
        assert pixels.shape(150, 97) == (150, 97, 3)
        assert pixels.parameters_above == row.parameters
        assert row.lower_boundaries("pixels", "train") == []


def test_a_word_for_nothing_that_could_mean_everything_is_asked_back():
    with pytest.raises(BoundaryError) as caught:
        BASES["VGG16"].boundary("None")
    assert str(caught.value) == (
        "freeze_until: found 'None', which could mean either; "
        "`none` freezes no layer, `null` the whole base"
    )


def test_lower_boundaries_leave_more_to_train():
    for row in BASES.values():
        for boundary in row.boundaries[1:]:
            for batch_norm in ("frozen", "train"):
                lower = row.lower_boundaries(boundary.name, batch_norm)
                amounts = [row.boundary(name).trainable(batch_norm) for name in lower]
                assert amounts == sorted(amounts)
                assert all(amount > boundary.trainable(batch_norm) for amount in amounts)
        if row.default_boundary:
            assert row.default_boundary in row.lower_boundaries(row.top.name, "frozen")
