"""Where weights come from, and how wrong files are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from tlcli import recipe, weights
from tlcli.bases import BASES
from tlcli.errors import WeightsError
from tlcli.weights import Source

VGG16 = BASES["VGG16"]
HINT = "name a Keras weights file of the base without its classifier"


def write(path: Path, numbers: int, *, optimizer: int = 0) -> Path:
    """An HDF5 file that promises that many numbers, and takes no room."""
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/a/vars/0", shape=(numbers - 3,), dtype="f4")
        file.create_dataset("layers/b/vars/0", shape=(3,), dtype="f4")
        if optimizer:
            file.create_dataset("optimizer/vars/0", shape=(optimizer,), dtype="f4")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        weights.check(path, VGG16, "base.weights")
    return str(caught.value).replace(str(path.parent), "HERE")


@pytest.fixture
def find(write_recipe: Callable[..., Path]) -> Callable[..., Source]:
    def find(wanted: str = "imagenet", name: str = "VGG16") -> Source:
        text = f"data: {{dir: p}}\nbase:\n  name: {name}\n  weights: {wanted}\n"
        return weights.find(recipe.load(write_recipe(text, "r.yaml")))

    return find


def test_the_right_file(tmp_path: Path):
    weights.check(write(tmp_path / "a.h5", VGG16.parameters), VGG16, "x")
    weights.check(write(tmp_path / "b.h5", VGG16.parameters, optimizer=99), VGG16, "x")


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (12_345, "HERE/w.h5 holds 12,345 parameters, VGG16 has 14,714,688"),
        (23_587_712, "HERE/w.h5 is ResNet50; the recipe asks for VGG16"),
        (138_357_544, "HERE/w.h5 is VGG16 with its classifier; the recipe asks for VGG16"),
        (25_636_712, "HERE/w.h5 is ResNet50 with its classifier; the recipe asks for VGG16"),
    ],
)
def test_the_wrong_network(tmp_path: Path, numbers: int, message: str):
    told = refusal(write(tmp_path / "w.h5", numbers))
    assert told == f"base.weights: {message}; {HINT}"


def test_what_is_no_weights_file(tmp_path: Path):
    relative = "check the path; relative ones start at the recipe's folder"
    assert refusal(tmp_path / "no.h5") == (
        f"base.weights: no such weights file: HERE/no.h5; {relative}"
    )
    assert refusal(tmp_path / "Imagenet") == (
        "base.weights: no such weights file: HERE/Imagenet; did you mean 'imagenet'?"
    )
    (tmp_path / "folder").mkdir()
    assert refusal(tmp_path / "folder") == f"base.weights: HERE/folder is a folder; {HINT}"
    (tmp_path / "text.h5").write_text("<html>not found</html>")
    assert refusal(tmp_path / "text.h5") == (
        f"base.weights: HERE/text.h5 is not a whole HDF5 file; {HINT}"
    )
    (tmp_path / "empty.h5").touch()
    assert refusal(tmp_path / "empty.h5") == (
        f"base.weights: HERE/empty.h5 is not a whole HDF5 file; {HINT}"
    )


def test_a_download_that_broke_off(tmp_path: Path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["layers/a/vars/0"] = np.zeros(VGG16.parameters // 100, "f4")
    whole = (tmp_path / "w.h5").read_bytes()
    for share in (0.1, 0.5, 0.99):
        (tmp_path / "cut.h5").write_bytes(whole[: int(len(whole) * share)])
        assert refusal(tmp_path / "cut.h5") == (
            f"base.weights: HERE/cut.h5 is not a whole HDF5 file; {HINT}"
        )


def test_odd_datasets_are_no_bug(tmp_path: Path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["empty"] = h5py.Empty("f4")
        file["text"] = "abc"
        file["circle"] = h5py.SoftLink("/circle")
        file["outside"] = h5py.ExternalLink("other.h5", "/a")
    assert "holds 1 parameters" in refusal(tmp_path / "w.h5")


def test_sources(find, tmp_path: Path):
    assert find("random") == Source("random")
    assert str(find("random")) == "random weights"
    assert find() == Source("keras")
    assert str(find()) == "ImageNet weights of Keras"
    path = write(tmp_path / "w.h5", VGG16.parameters)
    assert find("w.h5") == Source("file", path)
    assert str(find("w.h5")) == str(path)
    with pytest.raises(WeightsError) as caught:
        find("missing.h5")
    assert str(caught.value).startswith("r.yaml:4: base.weights: no such weights file: ")


#: File names that Keras gives to its downloads.
NAMES = {
    "VGG16": "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "ResNet50": "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "ResNet50V2": "resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "InceptionV3": "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "InceptionResNetV2": "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "MobileNet": "mobilenet_1_0_224_tf_no_top.h5",
    "MobileNetV2": "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
    "MobileNetV3Large": "weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
    "EfficientNetB0": "efficientnetb0_notop.h5",
    "EfficientNetV2B0": "efficientnetv2-b0_notop.h5",
    "NASNetMobile": "nasnet_mobile_no_top.h5",
}


def test_a_folder_of_weights(find, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("TLCLI_WEIGHTS", str(folder))
    assert find() == Source("keras")
    for name, file in NAMES.items():
        write(folder / file, BASES[name].parameters)
    write(folder / "vgg16_weights_tf_dim_ordering_tf_kernels.h5", 5)
    for name, file in NAMES.items():
        assert find(name=name) == Source("file", folder / file)
    assert find(name="VGG19") == Source("keras")
    write(folder / "VGG19-notop.h5", 12)
    with pytest.raises(WeightsError) as caught:
        find(name="VGG19")
    assert str(caught.value) == (
        f"TLCLI_WEIGHTS: {folder}/VGG19-notop.h5 holds 12 parameters, VGG19 has 20,024,384; {HINT}"
    )
    monkeypatch.setenv("TLCLI_WEIGHTS", str(tmp_path / "missing"))
    assert find() == Source("keras")


@pytest.mark.parametrize(
    "name", ["MobileNetV3Small", pytest.param("EfficientNetB0", marks=pytest.mark.slow)]
)
def test_what_keras_saves_is_recognised_and_loaded(name: str, tmp_path: Path):
    row = BASES[name]
    model = row.build((32, 32), seed=1)
    expected = model.get_weights()
    model.save_weights(tmp_path / "w.weights.h5")
    model.save(tmp_path / "legacy.h5", include_optimizer=False)
    for path in tmp_path.iterdir():
        weights.check(path, row, "x")
        model.set_weights([values + 1 for values in expected])
        weights.load(model, row, Source("random"))
        np.testing.assert_array_equal(model.get_weights()[0], expected[0] + 1)
        weights.load(model, row, Source("file", path))
        for one, other in zip(expected, model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    path = write(tmp_path / "other.weights.h5", row.parameters)
    with pytest.raises(WeightsError) as caught:
        weights.load(model, row, Source("file", path))
    assert str(caught.value).startswith(f"{path}: its layers do not fit {name}: ")
