"""The table of bases against the installed Keras."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders.scripts import load_script

from tlcli.errors import BoundaryError
from tlcli.networks import bases
from tlcli.networks.bases import BASES, PRETRAINED
from tlcli.networks.framework import keras

ROOT = Path(__file__).parents[2]
FAST = ("VGG16", pytest.param("ResNet50", marks=pytest.mark.slow), "InceptionV3")


def keras_module(name: str) -> Any:
    """The module of Keras that holds a base, with its own `preprocess_input`."""
    return importlib.import_module(getattr(keras.applications, name).__module__)


def plain(name: str, size: int) -> Any:
    """The base as Keras builds it, nothing in front."""
    if not BASES[name].pretrained:
        return BASES[name].build_plain((size, size))
    keras.utils.clear_session(free_memory=False)
    builder = getattr(keras.applications, name)
    return builder(include_top=False, weights=None, input_shape=(size, size, 3))


@pytest.fixture(scope="module")
def generator() -> Any:
    return load_script("scripts/boundaries.py")


@pytest.mark.parametrize(
    "name",
    ["VGG16", *(pytest.param(name, marks=pytest.mark.slow) for name in list(BASES)[1:])],
)
def test_the_table_says_what_the_installed_keras_builds(generator: Any, name: str) -> None:
    table = json.loads((ROOT / "tlcli/networks/boundaries.json").read_text("utf-8"))
    assert generator.measure(BASES[name]) == table[name]


def test_the_table_is_laid_out_as_the_generator_writes_it(generator: Any) -> None:
    text = (ROOT / "tlcli/networks/boundaries.json").read_text("utf-8")
    assert "\n".join(generator.lines(json.loads(text))) + "\n" == text
    assert list(json.loads(text)) == list(bases.names())


def test_clean_boundaries_are_those_known() -> None:
    # And the pixels.
    assert len(BASES["VGG16"].boundaries) == 18 + 1
    assert len(BASES["ResNet50"].boundaries) == 38 + 1
    assert len(BASES["InceptionV3"].boundaries) == 28 + 1
    assert [boundary.name for boundary in BASES["NASNetMobile"].boundaries] == [
        "pixels",
        "stem_conv1",
        "stem_bn1",
        "normal_concat_12",
        "activation_187",
    ]


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_a_row_holds_together(base: bases.PretrainedBase) -> None:
    top = base.top
    assert (top.parameters_above, top.trainable_above, top.batch_norm_above) == (0, 0, 0)
    assert top.practical
    pixels = base.boundaries[0]
    for lower, upper in zip(base.boundaries, base.boundaries[1:], strict=False):
        assert lower.parameters_above >= upper.parameters_above
        assert lower.practical == (
            pixels.trainable_above > lower.trainable_above > upper.trainable_above
            or lower.name in (pixels.name, base.default_boundary)
        )
    assert min(top.shape(base.smallest_size, base.smallest_size)) >= 1
    if not base.pretrained:
        assert base.default_boundary == pixels.name
        assert bases.identify_by_parameters(base.parameters) is None
        return
    if base.default_boundary is not None:
        default = base.boundary(base.default_boundary)
        assert 0 < default.trainable_above < base.parameters
    assert bases.identify_by_parameters(base.parameters) == (base, False)
    assert bases.identify_by_parameters(base.parameters_with_classifier) == (base, True)


def test_known_numbers() -> None:
    vgg = BASES["VGG16"]
    assert (vgg.parameters, vgg.parameters_with_classifier) == (14_714_688, 138_357_544)
    block5 = vgg.boundary("block4_pool")
    assert block5.shape(150, 150) == (9, 9, 512)
    assert block5.parameters_above == block5.trainable_above == 7_079_424
    assert block5.batch_norm_above == 0
    resnet = BASES["ResNet50"].boundary("conv4_block6_out")
    # 20 kernels and biases, and 10 batch norms of which half the weights are statistics.
    assert resnet.parameters_above == resnet.trainable_above + 2 * resnet.batch_norm_above
    assert bases.identify_by_parameters(1) is None


def test_practical_boundaries_are_the_tops_of_equal_work() -> None:
    names = [boundary.name for boundary in BASES["VGG16"].boundaries if boundary.practical]
    assert names[:4] == ["pixels", "block1_conv1", "block1_pool", "block2_conv1"]
    names = [boundary.name for boundary in BASES["ResNet50"].boundaries if boundary.practical]
    assert names[:3] == ["pixels", "pool1_pool", "conv2_block1_out"]


@pytest.mark.parametrize("name", FAST)
def test_names_and_shapes_are_those_of_the_built_model(generator: Any, name: str) -> None:
    base, size = BASES[name], (97, 119)
    keras.layers.Conv2D(1, 1)  # moves the counter in names such as `conv2d_3`
    model = base.build(size)
    known = [layer.name for layer in model.layers[1:] if layer.name != "preprocess"]
    assert sorted(base.layers) == sorted(known)
    clean = [boundary.name for boundary in base.boundaries]
    assert ["pixels", *generator.clean_boundaries(model)[-len(clean) + 1 :]] == clean
    for boundary in base.boundaries:
        assert model.get_layer(boundary.name).output.shape[1:] == boundary.shape(*size)
    assert model.count_params() == base.parameters


@pytest.mark.slow
@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_shapes_hold_for_other_sizes(base: bases.PretrainedBase) -> None:
    for size in ((97, 118), (151, 83)):
        model = base.build(size)
        for boundary in base.boundaries:
            assert model.get_layer(boundary.name).output.shape[1:] == boundary.shape(*size)


@pytest.mark.parametrize("base", PRETRAINED.values(), ids=PRETRAINED)
def test_preprocessing_is_that_of_keras(base: bases.PretrainedBase) -> None:
    levels = np.arange(256, dtype="float32")
    photo = np.stack([levels, levels[::-1], np.roll(levels, 100)], -1).reshape(1, 16, 16, 3)
    pixels = keras.Input((16, 16, 3))
    # Keras 3.13 refuses a model without a layer, as it is where a base takes pixels as they are.
    preprocessed = keras.layers.Identity()(base.preprocess(pixels))
    actual = keras.Model(pixels, preprocessed)(photo).numpy()
    expected = keras_module(base.name).preprocess_input(photo.copy())
    if base.convention == "efficientnet":
        # Its own scaling comes inside the network: as far as its Normalization, which holds the
        # deviation as if it were a variance, and the result of the whole is known.
        mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        actual = (actual / 255 - mean) / np.sqrt(deviation)
        expected = (expected / 255 - mean) / deviation
    span = expected.max() - expected.min()
    assert np.abs(actual - expected).max() <= 1e-6 * span


def test_preprocessing_stays_in_float32() -> None:
    before = keras.config.dtype_policy()
    model = BASES["VGG16"].build((32, 32), seed=0, precision="mixed_bfloat16")
    assert keras.config.dtype_policy() == before
    assert model.get_layer("preprocess").compute_dtype == "float32"
    assert model.get_layer("block1_conv1").compute_dtype == "bfloat16"
    assert model.input.name == "pixels" and model.input.dtype == "float32"


@pytest.mark.slow
def test_efficientnet_is_the_network_keras_builds_for_its_imagenet_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras leaves a layer out unless it fetches the weights itself."""
    source = plain("EfficientNetB0", 40)
    generator = np.random.default_rng(0)
    for layer in source.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            values = [
                value + generator.uniform(0, 0.2, value.shape) for value in layer.get_weights()
            ]
            layer.set_weights(values)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    source.get_layer("normalization").set_weights([mean, deviation, np.array(0)])
    file = tmp_path / "source.weights.h5"
    source.save_weights(file)
    module = keras_module("EfficientNetB0")
    monkeypatch.setattr(module.file_utils, "get_file", lambda *_, **__: str(file))
    original = keras.applications.EfficientNetB0(include_top=False, input_shape=(40, 40, 3))
    network = BASES["EfficientNetB0"].build((40, 40))
    network.load_weights(file)
    photo = generator.uniform(0, 255, (2, 40, 40, 3)).astype("float32")
    expected = original(photo, training=False).numpy()
    difference = np.abs(network(photo, training=False).numpy() - expected).max()
    assert difference < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(
    "name", ["VGG16", *(pytest.param(name, marks=pytest.mark.slow) for name in list(BASES)[1:])]
)
def test_a_weights_file_gives_the_tensors_of_the_plain_base(name: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    base = BASES[name]
    source = plain(name, base.smallest_size)
    source.set_weights([value + 0.5 for value in source.get_weights()])
    source.save_weights(tmp_path / "some.weights.h5")
    source.load_weights(tmp_path / "some.weights.h5")
    model = base.build((base.smallest_size + 8, base.smallest_size + 1), seed=3)
    model.load_weights(tmp_path / "some.weights.h5")
    loaded, expected = model.get_weights(), source.get_weights()
    assert len(loaded) == len(expected)
    for left, right in zip(loaded, expected, strict=True):
        assert (left == right).all()
    assert {layer.name for layer in source.layers[1:]} <= {layer.name for layer in model.layers}


def test_random_weights_have_a_seed() -> None:
    def kernel(seed: int) -> Any:
        model = BASES["VGG16"].build((32, 32), seed=seed)
        return model.get_layer("block5_conv3").get_weights()[0]

    assert (kernel(4) == kernel(4)).all()
    assert (kernel(4) != kernel(5)).any()


@pytest.mark.parametrize(
    ("base", "name", "words"),
    [
        (
            "InceptionV3",
            "mixed9_0",
            "freeze_until: 'mixed9_0' is inside a block: paths run around it; the clean boundaries "
            "just before and after it are 'mixed8' and 'mixed9'",
        ),
        (
            "ResNet50",
            "conv5_block1_1_conv",
            "freeze_until: 'conv5_block1_1_conv' is inside a block: paths run around it; the clean "
            "boundaries just before and after it are 'conv4_block6_out' and 'conv5_block1_add'",
        ),
        (
            "VGG16",
            "fc1",
            "freeze_until: 'fc1' is above the top of the base; the last boundary is 'block5_pool'",
        ),
        (
            "ResNet50",
            "avg_pool",
            "freeze_until: 'avg_pool' is above the top of the base; the last boundary is "
            "'conv5_block3_out'",
        ),
        (
            "VGG16",
            "block4_pol",
            "freeze_until: VGG16 has no boundary 'block4_pol'; did you mean 'block4_pool' or "
            "'block5_pool' or 'block3_pool'?",
        ),
        (
            "VGG16",
            "xyz",
            "freeze_until: VGG16 has no boundary 'xyz'; `tlcli bases VGG16` lists boundaries",
        ),
    ],
)
def test_the_error_about_a_boundary_that_is_not_clean_says_why(
    base: str, name: str, words: str
) -> None:
    with pytest.raises(BoundaryError) as caught:
        BASES[base].boundary(name)
    assert str(caught.value) == words


def test_a_boundary_error_is_placed_where_the_caller_says() -> None:
    with pytest.raises(BoundaryError, match=r"^stages\[1\].freeze_until: "):
        BASES["VGG16"].boundary("fc2", where="stages[1].freeze_until")


def test_lookup_ignores_case_only() -> None:
    assert bases.lookup("resnet50V2") is BASES["ResNet50V2"]
    assert bases.lookup("ResNet") is None


def test_the_table_needs_no_tensorflow() -> None:
    code = (
        "import sys, tlcli.networks.bases as b; b.names(); "
        "b.BASES['VGG16'].boundary('block4_pool');"
        "assert not {'tensorflow', 'keras', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.slow  # of VGG16, test_train has it
@pytest.mark.parametrize(
    "name", ["VGG16", "InceptionResNetV2", "ConvNeXtTiny", "EfficientNetB0", "MobileNetV3Small"]
)
def test_a_saved_model_loads_with_plain_keras_in_safe_mode(name: str, tmp_path: Path) -> None:
    base = BASES[name]
    size = base.smallest_size
    model = base.build((size, size), seed=0)
    pooled = keras.layers.GlobalAveragePooling2D()(model.output)
    whole = keras.Model(model.input, keras.layers.Dense(2)(pooled))
    photo = np.random.default_rng(0).uniform(0, 255, (1, size, size, 3)).astype("float32")
    whole.save(tmp_path / "model.keras")
    np.save(tmp_path / "photo.npy", photo)
    code = (
        "import numpy, keras; model = keras.saving.load_model('model.keras', safe_mode=True);"
        "numpy.save('out.npy', model.predict(numpy.load('photo.npy'), verbose=0))"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True, timeout=300
    )
    expected = whole.predict(photo, verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=1e-5, atol=1e-6)
