"""What is found in a network's graph, and what is said of names that are not there."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from builders.networks import network, noise, save, thin_vgg16
from PIL import Image

from tlcli.errors import RunError
from tlcli.explain import explained_model
from tlcli.images import decode
from tlcli.images.loader import View
from tlcli.networks.bases import BASES
from tlcli.pretrained.weights import WeightSource
from tlcli.runs import directory
from tlcli.runs.calibration_record import CalibrationRecord, write_calibration_record
from tlcli.system import files

pytestmark = pytest.mark.usefixtures("thin_vgg16")

NAMES = ("cats", "dogs", "eels")

#: The ends of the last blocks, where they are not the top of the base.
BELOW_POOLING = {
    "VGG16": "block5_conv3", "VGG19": "block5_conv4", "LeNet5": "conv2", "SmallConvNet": "conv4"
}  # fmt: skip


@pytest.fixture(scope="module")
def opened(tmp_path_factory) -> explained_model.ExplainedModel:
    path = tmp_path_factory.mktemp("run") / "model.keras"
    with thin_vgg16():
        return explained_model.open_run(save(network(size=(32, 32)), path, NAMES))


@pytest.mark.parametrize(
    "name",
    [name if name == "VGG16" else pytest.param(name, marks=pytest.mark.slow) for name in BASES],
)
def test_the_last_block_of_every_base(name, tmp_path):
    row = BASES[name]
    side = max(row.smallest_size, 64)
    expected = BELOW_POOLING.get(name, row.top.name)
    assert (
        explained_model.open_base(row, WeightSource("random"), (side, side)).last_block == expected
    )
    path = save(network(name, (side, side)), tmp_path / "model.keras", NAMES)
    assert explained_model.open_run(path).last_block == expected


def test_a_layer_is_found_by_its_name_and_near_misses_are_offered(opened):
    assert opened.grid("block3_conv1").name == "block3_conv1"
    with pytest.raises(explained_model.UnknownName) as caught:
        opened.grid("block3_conv9")
    assert "--layer: " in str(caught.value)
    assert "has no layer 'block3_conv9'; did you mean 'block3_conv" in str(caught.value)
    with pytest.raises(explained_model.UnknownName) as caught:
        opened.grid("head_dense_1")
    assert str(caught.value) == (
        "--layer: 'head_dense_1' gives 8 numbers, not a grid of activations; "
        "use one of the layers below it, such as 'block5_conv3'"
    )
    assert "pixels" not in opened.grids


def test_a_class_is_found_by_its_name(opened):
    assert opened.class_number("dogs") == 1
    with pytest.raises(
        explained_model.UnknownName, match=r"--class: 'dog' .* did you mean 'dogs'\?"
    ):
        opened.class_number("dog")


@pytest.mark.parametrize("classes", [2, 3])
def test_logits_lead_to_what_the_model_says(tmp_path, classes):
    built = network(size=(32, 32), classes=classes)
    explained = explained_model.open_run(save(built, tmp_path / "model.keras", NAMES[:classes]))
    from tlcli.networks.framework import keras

    pixels = noise(3, 32, 32)
    logits = keras.Model(explained.model.inputs[0], explained.logits)(pixels, training=False)
    expected = built.whole(pixels, training=False).numpy()
    if classes == 2:
        expected = np.concatenate([1 - expected, expected], axis=1)
    np.testing.assert_allclose(explained.probabilities(np.asarray(logits)), expected, atol=1e-5)


def test_the_calibration_of_the_run_is_applied(tmp_path):
    path = save(network(size=(32, 32), classes=2), tmp_path / directory.MODEL, NAMES[:2])
    record = CalibrationRecord(temperature=2.0, fitted_on="logits")
    write_calibration_record(directory.Run(tmp_path), record)
    alone = explained_model.open_run(path)  # no run lies there, as `predict` sees it, too
    assert alone.probabilities(np.array([[3.0]]))[0, 1] == pytest.approx(1 / (1 + np.exp(-3)))
    files.write_json(tmp_path / directory.RECORD, {})
    explained = explained_model.open_run(path)
    assert explained.probabilities(np.array([[3.0]]))[0, 1] == pytest.approx(1 / (1 + np.exp(-1.5)))
    raw = explained_model.open_run(path, raw=True)
    assert raw.probabilities(np.array([[3.0]]))[0, 1] == pytest.approx(1 / (1 + np.exp(-3)))


def test_mixed_precision_is_left_behind(tmp_path):
    built = network(size=(32, 32), precision="mixed_bfloat16")
    explained = explained_model.open_run(save(built, tmp_path / "model.keras", NAMES))
    assert {layer.compute_dtype for layer in explained.model.layers} == {"float32"}
    plain = network(size=(32, 32))
    plain.whole.set_weights(built.whole.get_weights())
    pixels = noise(2, 32, 32)
    np.testing.assert_allclose(explained.model(pixels), plain.whole(pixels), atol=1e-6)


def test_models_that_are_not_laid_out_as_ours(tmp_path):
    built = network(size=(32, 32))
    path = save(built, tmp_path / "two.keras", NAMES[:2])
    with pytest.raises(RunError, match="has 3 outputs for 2 classes"):
        explained_model.open_run(path)
    from tlcli.networks.framework import keras

    whole, built_on = built.whole, tmp_path / "base.keras"
    logits = keras.Model(built.base.input, built.head(built.base.output))
    object.__setattr__(built, "whole", logits)
    with pytest.raises(
        RunError, match="does not end in softmax or sigmoid; use a model that tlcli has written"
    ):
        explained_model.open_run(save(built, built_on, NAMES))
    object.__setattr__(built, "whole", whole)
    with zipfile.ZipFile(tmp_path / "bare.keras", "w") as archive:
        card = {"classes": ["a"], "image_size": [32, 32], "resize": "pad"}
        card["decoder"] = decode.DECODER_VERSION
        archive.writestr(directory.MODEL_CARD, files.json_text(card))
    with pytest.raises(RunError, match="does not say which base it is built on"):
        explained_model.open_run(tmp_path / "bare.keras")


def test_the_probabilities_of_mixed_precision_are_those_of_predict(tmp_path):
    """Heat is computed in float32; what the network answers is what it answers elsewhere."""
    from tlcli.evaluation.predict import Predictor
    from tlcli.explain.explain import Explainer

    built = network(size=(32, 32), precision="mixed_bfloat16")
    variable = built.head.layers[-1].kernel
    variable.assign(200 * variable)  # so that a different precision shows
    path = save(built, tmp_path / "model.keras", NAMES)
    paths = []
    for number, pixels in enumerate(noise(3, 32, 32)):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels.astype(np.uint8)).save(paths[-1])
    predicted = list(Predictor(path).predict(paths))
    explained = list(Explainer(explained_model.open_run(path)).explain(map(View, paths)))
    for answer, explanation in zip(predicted, explained, strict=True):
        assert (explanation.name, explanation.predicted) == (answer.label, answer.label)
        assert explanation.probability == pytest.approx(answer.probability, abs=1e-6)
