"""The cut: trunk, tail and head, against plain Keras on the same weights."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from tlcli.errors import BoundaryError
from tlcli.images.loader import BATCH_SIZE
from tlcli.networks.bases import BASES
from tlcli.networks.conversion import compute_in_bfloat16
from tlcli.networks.framework import keras
from tlcli.networks.heads import build_head, copy_folded, set_moments
from tlcli.networks.network import build_network, compile_forward, forward_batch
from tlcli.recipe.settings import Head

#: The main bases at sizes that keep them quick, with the module of their preprocess_input.
MAIN = {
    "VGG16": (32, keras.applications.vgg16),
    "ResNet50": (32, keras.applications.resnet),
    "InceptionV3": (75, keras.applications.inception_v3),
}


def build(name: str, *, head: Head | None = None, classes: int = 2, seed: int = 3):
    size = MAIN[name][0]
    return build_network(BASES[name], (size, size), head or Head(), classes, seed=seed)


def pixels(size: int, count: int = 2):
    generator = np.random.default_rng(5)
    return generator.integers(0, 256, (count, size, size, 3)).astype(np.float32)


def randomize(model) -> None:
    """Give batch norm statistics that are not zeros and ones, so that mistakes show."""
    generator = np.random.default_rng(11)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for variable in layer.weights:
                noise = generator.uniform(0.8, 1.2, variable.shape)
                variable.assign(np.asarray(variable) * noise + 0.02)


@pytest.fixture(
    scope="module",
    params=[
        "VGG16",
        *(pytest.param(name, marks=pytest.mark.slow) for name in MAIN if name != "VGG16"),
    ],
)
def network(request):
    built = build(request.param)
    randomize(built.base)
    return built


def test_the_base_is_keras_own_network(network):
    size, module = MAIN[network.row.name]
    x = pixels(size)
    builder = getattr(keras.applications, network.row.name)
    keras.utils.clear_session(free_memory=False)
    plain = builder(include_top=False, weights=None, input_shape=(size, size, 3))
    plain.set_weights(network.base.get_weights())
    expected = plain(module.preprocess_input(x.copy()), training=False).numpy()
    actual = network.base(x, training=False).numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_tail_of_trunk_is_the_base_at_every_clean_boundary(network):
    x = pixels(MAIN[network.row.name][0])
    names = [boundary.name for boundary in network.row.boundaries]
    expected = network.base(x, training=False).numpy()
    activations = network.trunk(names)(x, training=False)
    for name, activation in zip(names, activations, strict=True):
        actual = network.tail(name)(activation, training=False).numpy()
        np.testing.assert_array_equal(actual, expected, err_msg=name)
        assert tuple(activation.shape[1:]) == network.shape(name)


def test_a_higher_boundary_from_a_lower_one_is_the_same(network):
    x = pixels(MAIN[network.row.name][0])
    names = [boundary.name for boundary in network.row.boundaries]
    low, high = names[len(names) // 2], names[-2]
    from_pixels = network.trunk([high])(x, training=False)
    stored = network.trunk([low])(x, training=False)
    derived = network.between(low, [high])(stored, training=False)
    np.testing.assert_array_equal(derived.numpy(), from_pixels.numpy())


def test_freezing_leaves_exactly_what_is_above_to_train(network):
    row = network.row
    boundary = row.boundary(row.default_boundary)
    trained = network.freeze(boundary.name)
    in_head = sum(int(np.prod(v.shape)) for v in network.head.trainable_variables)
    assert sum(int(np.prod(v.shape)) for v in trained) == boundary.trainable_above + in_head
    above = {layer.name for layer in network.layers_above(boundary.name)}
    for layer in network.base.layers:
        frozen = layer.name not in above or isinstance(layer, keras.layers.BatchNormalization)
        assert layer.trainable is not frozen or not layer.weights, layer.name

    with_batch_norm = network.freeze(boundary.name, batch_norm="train")
    assert (
        sum(int(np.prod(v.shape)) for v in with_batch_norm)
        == boundary.trainable_above + boundary.batch_norm_above + in_head
    )
    head_only = network.freeze(None)
    assert sum(int(np.prod(v.shape)) for v in head_only) == in_head


@pytest.mark.parametrize("batch_norm", ["frozen", "train"])
@pytest.mark.parametrize(
    "base", ["VGG16", pytest.param("ResNet50", marks=pytest.mark.slow), "MobileNetV2"]
)
def test_from_the_first_layer_on_what_trains_is_what_the_loop_of_the_lessons_sets(base, batch_norm):
    """Which is: go through the layers of Keras, and set `trainable` from a name on."""
    row = BASES[base]
    network = build_network(row, (32, 32), Head(), 2, seed=3)
    layers = [network.base.get_layer(name) for name in row.layers]
    for layer in layers[::5]:
        try:
            first = row.first_layer(layer.name)
        except BoundaryError:
            assert not any(above.weights for above in layers[layers.index(layer) :])
            continue
        variables = network.freeze(first.boundary.name, batch_norm=batch_norm, first=layer.name)
        expected, trained = [], False
        for other in layers:
            trained = trained or other is layer
            norm = isinstance(other, keras.layers.BatchNormalization)
            other.trainable = trained and (batch_norm == "train" or not norm)
            expected += other.trainable_variables
        in_head = network.head.trainable_variables
        assert [v.path for v in variables] == [v.path for v in [*expected, *in_head]]
        count = row.trained_parameters(first.boundary.name, layer.name, batch_norm)
        assert sum(int(np.prod(v.shape)) for v in expected) == count
        above = {other.name for other in network.layers_above(first.boundary.name)}
        frozen = [other.name for other in layers if other.weights and not other.trainable]
        if batch_norm == "train":
            assert tuple(name for name in frozen if name in above) == first.between


def test_in_a_training_step_only_batch_norm_that_trains_is_in_training_mode():
    """Against plain Keras without stochastic depth, in one call that trains everything else."""
    network = build_network(BASES["EfficientNetB0"], (32, 32), Head(), 2, seed=3)
    low, high = "block6b_add", "block6d_add"
    x = network.trunk([low])(pixels(32, 16), training=False)
    tail = network.tail(low)
    inference = tail(x, training=False).numpy()

    network.freeze(high)
    np.testing.assert_array_equal(network.training_tail(low)(x).numpy(), inference)

    network.freeze(high, batch_norm="train")
    before = tail.get_weights()
    first, second = (network.training_tail(low)(x).numpy() for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - inference).max() > 0.1
    statistics = tail.get_weights()

    tail.set_weights(before)
    for layer in tail.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    for _ in range(2):  # the statistics move with every call
        expected = tail(x, training=True).numpy()
    np.testing.assert_allclose(first, expected, rtol=1e-4, atol=1e-5)
    for actual, values in zip(statistics, tail.get_weights(), strict=True):
        np.testing.assert_allclose(actual, values, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("base", list(BASES))
def test_a_training_step_of_every_base_computes_what_keras_does_without_dropout(base, precision):
    row = BASES[base]
    side = row.smallest_size
    network = build_network(row, (side, side), Head(), 2, seed=3, precision=precision)
    boundary = row.default_boundary or row.boundaries[0].name
    x = network.trunk([boundary])(pixels(side, 8), training=False)
    network.freeze(boundary, batch_norm="train")
    tail = network.tail(boundary)
    before = tail.get_weights()
    actual, statistics = network.training_tail(boundary)(x).numpy(), tail.get_weights()
    tail.set_weights(before)
    for layer in tail.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    np.testing.assert_array_equal(actual, tail(x, training=True).numpy())
    for values, expected in zip(statistics, tail.get_weights(), strict=True):
        np.testing.assert_array_equal(values, expected)
    layers = network.whole.get_config()["layers"]
    assert max(len(layer["inbound_nodes"]) for layer in layers) == 1, "saved as it was built"


def test_the_checksum_covers_the_weights_up_to_the_boundary_and_no_others():
    def checksum(network):
        return network.checksums(["block4_pool", "block5_pool"])["block4_pool"]

    network = build("VGG16")
    before = checksum(network)
    assert before == checksum(build("VGG16"))
    assert before != checksum(build("VGG16", seed=4))
    above = network.base.get_layer("block5_conv1")
    above.set_weights([values + 1 for values in above.get_weights()])
    assert checksum(network) == before
    below = network.base.get_layer("block4_conv3")
    below.set_weights([values + 1 for values in below.get_weights()])
    assert checksum(network) != before


@pytest.mark.parametrize(
    ("head", "classes", "layers", "units"),
    [
        (Head(), 2, ["head_pool", "head_dense_1", "head_dropout", "head_logits"], 1),
        (Head(hidden=(), dropout=0), 5, ["head_pool", "head_logits"], 5),
        (
            Head(pooling="flatten", hidden=(8, 4), dropout=0.1),
            3,
            ["head_pool", "head_dense_1", "head_dense_2", "head_dropout", "head_logits"],
            3,
        ),
    ],
)
def test_the_head_is_what_the_recipe_says(head, classes, layers, units):
    network = build("VGG16", head=head, classes=classes)
    names = [layer.name for layer in network.head.layers if layer.name.startswith("head")]
    assert names == layers
    assert network.head.output.shape == (None, units)
    probabilities = network.whole(pixels(32), training=False).numpy()
    assert probabilities.shape == (2, units)
    if units > 1:
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


def test_pooling_is_numpys():
    x = pixels(64)
    for pooling, reduce in (("avg", np.mean), ("max", np.max)):
        network = build_network(
            BASES["VGG16"], (64, 64), Head(pooling=pooling, hidden=(), dropout=0), 3, seed=1
        )
        activations = network.base(x, training=False).numpy()
        kernel, bias = network.whole.get_layer("head_logits").get_weights()
        logits = reduce(activations, axis=(1, 2)) @ kernel + bias
        actual = network.head(activations, training=False).numpy()
        np.testing.assert_allclose(actual, logits, rtol=1e-4, atol=1e-5)


def test_two_dense_layers_of_one_size_do_not_start_alike():
    network = build("VGG16", head=Head(hidden=(512, 512)), classes=3)
    first = network.whole.get_layer("head_dense_1").get_weights()[0]
    second = network.whole.get_layer("head_dense_2").get_weights()[0]
    assert first.shape == second.shape
    assert np.abs(first - second).max() > 0.01


def test_mixed_precision_keeps_pixels_and_output_in_float32():
    network = build_network(BASES["VGG16"], (32, 32), Head(), 3, seed=1, precision="mixed_bfloat16")
    assert network.whole.output.dtype == "float32"
    assert network.base.output.dtype == "bfloat16"
    assert network.base.get_layer("preprocess").compute_dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"
    assert {layer.compute_dtype for layer in network.head.layers[1:]} == {"float32"}


def layers_without_identities(model) -> list:
    """The layers of a model as a file would describe them, without its own numbers."""
    text = re.sub(r'"shared_object_id": [0-9]+', "", json.dumps(model.get_config()["layers"]))
    return re.sub(r",? *}", "}", text).split('"class_name"')


@pytest.mark.parametrize("base", ["VGG16", pytest.param("EfficientNetB0", marks=pytest.mark.slow)])
def test_a_network_in_mixed_precision_is_copied_in_float32(base: str):
    """The copy is the network that float32 would have built, with the same weights."""
    size, head = (32, 32), Head(hidden=(8,))
    mixed = build_network(BASES[base], size, head, 3, seed=1, precision="mixed_bfloat16")
    plain = build_network(BASES[base], size, head, 3, seed=1)
    for network in (mixed, plain):
        network.freeze(BASES[base].default_boundary)
    plain.whole.set_weights(mixed.whole.get_weights())
    copy = mixed.in_float32
    assert copy is not mixed.whole
    assert layers_without_identities(copy) == layers_without_identities(plain.whole)
    assert [v.path for v in copy.weights] == [v.path for v in plain.whole.weights]
    x = pixels(32, 4)
    assert (copy(x).numpy() == plain.whole(x).numpy()).all()
    assert plain.in_float32 is plain.whole
    # And back: the same layers in bfloat16 answer what the network answered in mixed precision.
    again = compute_in_bfloat16(copy, BASES[base].layers)
    assert (again(x).numpy() == mixed.whole(x).numpy()).all()


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6,))
    low = keras.layers.Dense(5, activation="relu")(inputs)
    return keras.Model(inputs, [low, keras.layers.Dropout(0.5)(keras.layers.Dense(3)(low))])


@pytest.mark.parametrize("count", [0, 1, BATCH_SIZE, 2 * BATCH_SIZE + 3])
def test_outputs_are_those_of_the_model_in_inference(model, count: int):
    x = np.random.default_rng(0).standard_normal((count, 6)).astype(np.float32)
    outputs = compile_forward(model, BATCH_SIZE)(x)
    for actual, expected in zip(outputs, model(x, training=False), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_a_row_does_not_depend_on_those_beside_it(model):
    size = forward_batch()
    x = np.random.default_rng(0).standard_normal((size + 5, 6)).astype(np.float32)
    run = compile_forward(keras.Model(model.input, model.outputs[0]), size)
    (together,) = run(x)
    alone = np.concatenate([run(x[i : i + 1])[0] for i in range(len(x))])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize(("name", "size"), [("VGG16", 32), ("MobileNetV3Small", 37)])
def test_a_row_has_the_same_bits_at_every_place_in_a_batch(name: str, size: int):
    network = build_network(BASES[name], (size, size), Head(), 2, seed=1)
    run = compile_forward(network.trunk([network.row.top.name]), forward_batch())
    batch = pixels(size, count=forward_batch())
    (rows,), (turned,) = run(batch), run(batch[::-1])
    np.testing.assert_array_equal(rows, turned[::-1])


@pytest.mark.parametrize("hidden", [(), (4,)])
def test_a_trained_head_computes_the_same_when_it_begins_to_standardise(hidden):
    settings = Head(hidden=hidden, dropout=0, normalize=True)
    head = build_head((2, 2, 5), settings, 3, seed=1)
    rows = np.random.default_rng(0).normal(3, 2, (20, 2, 2, 5)).astype(np.float32)
    features = rows.mean(axis=(1, 2))
    before = head(rows).numpy()
    variance = features.var(axis=0)
    variance[2] = 0  # does not vary
    set_moments(head, features.mean(axis=0), variance, trained=True)
    np.testing.assert_allclose(head(rows), before, rtol=1e-4, atol=1e-5)
    plain = build_head((2, 2, 5), settings.model_copy(update={"normalize": False}), 3, seed=2)
    copy_folded(head, plain)
    np.testing.assert_allclose(plain(rows), before, rtol=1e-4, atol=1e-5)
    assert len(head.non_trainable_variables) == 2
