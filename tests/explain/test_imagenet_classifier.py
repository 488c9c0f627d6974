"""A base with its ImageNet classifier: the same scores as Keras' own, from files of both forms."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from builders.networks import noise
from builders.weight_files import SMALL

from tlcli.errors import WeightsError
from tlcli.explain import imagenet_classifier
from tlcli.networks.bases import BASES
from tlcli.networks.framework import keras
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.pretrained.weights import keras_weights_folder


@pytest.fixture(scope="module")
def whole():
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(5)
    return keras.applications.MobileNetV3Small(weights=None)


def write(model, path):
    """Keras' older form for a bare .h5, its newer one for .weights.h5."""
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        with h5py.File(path, "w") as file:
            keras.src.legacy.saving.legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return path


@pytest.mark.parametrize(
    "name", ["small.h5", pytest.param("small.weights.h5", marks=pytest.mark.slow)]
)
def test_the_scores_are_those_of_keras(whole, tmp_path, name):
    opened = imagenet_classifier.open_classifier(
        SMALL, WeightsAccess(), write(whole, tmp_path / name)
    )
    pixels = noise(2, 224, 224)
    expected = whole(pixels, training=False).numpy()  # this base rescales by itself
    result = opened.probabilities(opened.model(pixels, training=False).numpy())
    np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-7)
    assert opened.last_block == SMALL.top.name
    assert opened.classes[281] == "281"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ResNet50", "ConvNeXtTiny", "EfficientNetB0", "MobileNet"])
def test_other_bases(name, tmp_path):
    row = BASES[name]
    keras.utils.clear_session(free_memory=False)
    whole = getattr(keras.applications, name)(weights=None)
    opened = imagenet_classifier.open_classifier(
        row, WeightsAccess(), write(whole, tmp_path / "whole.h5")
    )
    shown = keras.Model(opened.model.inputs[0], [opened.model.layers[-1].output])
    pixels = noise(1, row.native_size, row.native_size)
    inner = keras.Model(whole.inputs[0], whole.layers[-1].output)
    expected = inner(np.asarray(row.preprocess(pixels)), training=False).numpy()
    result = opened.probabilities(shown(pixels, training=False).numpy())
    np.testing.assert_allclose(result, expected, rtol=1e-2, atol=1e-6)


def test_names_come_from_keras_own_file_and_twins_keep_their_numbers():
    folder = keras_weights_folder()
    folder.mkdir(parents=True)
    table = {str(n): [f"n{n}", "crane" if n in (134, 517) else f"thing{n}"] for n in range(1000)}
    (folder / imagenet_classifier.INDEX).write_text(json.dumps(table))
    result = imagenet_classifier._names(WeightsAccess())
    assert (result[281], result[134], result[517]) == ("thing281", "crane (134)", "crane (517)")


def test_the_official_names():
    assert (
        imagenet_classifier.official_file_name(BASES["VGG16"])
        == "vgg16_weights_tf_dim_ordering_tf_kernels.h5"
    )
    assert imagenet_classifier.official_file_name(BASES["MobileNet"]) == "mobilenet_1_0_224_tf.h5"
    assert (
        imagenet_classifier.official_file_name(SMALL)
        == "weights_mobilenet_v3_small_224_1.0_float.h5"
    )
    assert imagenet_classifier.official_file_name(BASES["EfficientNetB0"]) == "efficientnetb0.h5"
    assert imagenet_classifier.official_file_name(BASES["NASNetMobile"]) == "nasnet_mobile.h5"


def test_weights_that_are_not_there(cli, tmp_path, whole, photos):
    photo = next(photos.rglob("*.png"))
    done = cli("explain", photo, "--base", "vgg16")
    assert done.exit_code == 1
    assert (
        "--base VGG16: the weights of VGG16 with its ImageNet classifier are not on this machine; "
        "name a file with --weights, or put https://"
    ) in done.stderr
    done = cli("explain", photo, "--base", SMALL.name, "--weights", tmp_path / "none.h5")
    assert "--weights: no such weights file" in done.stderr
    # A file without the classifier.
    small = keras.applications.MobileNetV3Small(weights=None, include_top=False)
    path = write(small, tmp_path / "notop.weights.h5")
    with pytest.raises(WeightsError, match="does not hold the ImageNet classifier of MobileNetV3"):
        imagenet_classifier.open_classifier(SMALL, WeightsAccess(), path)
    # One under the official name that is another.
    write(whole, tmp_path / imagenet_classifier.official_file_name(SMALL))
    with pytest.raises(WeightsError, match="has the name of the official file, but not its hash"):
        imagenet_classifier.open_classifier(SMALL, WeightsAccess(folder=tmp_path))


@pytest.mark.slow
def test_a_photo_is_explained_by_a_base(whole, tmp_path, photos, cli):
    path = write(whole, tmp_path / "small.weights.h5")
    out = tmp_path / "sheet.png"
    words = ("--base", SMALL.name, "--weights", path, "--class", 281, "--out", out)
    done = cli("explain", next(photos.rglob("*.png")), *words)
    assert done.exit_code == 0, done.stderr
    assert out.is_file() and done.stdout.splitlines()[2].split()[0] == "281"
