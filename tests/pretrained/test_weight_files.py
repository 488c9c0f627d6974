"""The weights of a base are told from those of another; wrong ones get one clear line each."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import pytest
from builders.weight_files import HINT, VGG16, promise, refusal

from tlcli.errors import WeightsError
from tlcli.networks import bases
from tlcli.networks.bases import BASES
from tlcli.pretrained.tensors import tensor_shapes
from tlcli.pretrained.weight_files import base_from_file_name, check_weights_file, read_weights


@pytest.mark.parametrize("base", BASES)
def test_every_base_is_recognised_by_its_layers(tmp_path: Path, base: str):
    path = promise(tmp_path / "w.h5", base, keras_3=base not in ("Xception", "DenseNet121"))
    check_weights_file(path, BASES[base], "x")
    row = BASES["VGG16" if base != "VGG16" else "VGG19"]
    with pytest.raises(WeightsError) as caught:
        check_weights_file(path, row, "x")
    assert str(caught.value).startswith(f"x: {path} is {base}; the recipe asks for {row.name}; ")


@pytest.mark.parametrize("keras_3", [True, False])
def test_a_classifier_is_left_out(tmp_path: Path, keras_3: bool):
    more = [VGG16.parameters_with_classifier - VGG16.parameters]
    path = promise(tmp_path / "w.h5", "VGG16", keras_3=keras_3, more=more)
    check_weights_file(path, VGG16, "x")
    assert [tensor.shape for tensor in read_weights(path, VGG16, "x")] == tensor_shapes("VGG16")
    path = promise(tmp_path / "w2.h5", "VGG16", keras_3=keras_3, more=[7, 8])
    check_weights_file(path, VGG16, "x")


@pytest.mark.parametrize(
    ("base", "more", "message"),
    [
        ("ResNet50", [], "FILE is ResNet50; the recipe asks for VGG16"),
        (
            "ResNet50",
            [2_049_000],
            "FILE is ResNet50 with its classifier; the recipe asks for VGG16",
        ),
        ("VGG19", [], "FILE is VGG19; the recipe asks for VGG16"),
        ("VGG19", [12], "FILE is VGG19; the recipe asks for VGG16"),
    ],
)
@pytest.mark.parametrize("keras_3", [True, False])
def test_another_network(tmp_path: Path, base: str, more: list[int], message: str, keras_3: bool):
    path = promise(tmp_path / "w.h5", base, keras_3=keras_3, more=more)
    assert refusal(path) == f"base.weights: {message}; {HINT}"


def test_an_unknown_network(tmp_path: Path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.create_dataset("layers/a/vars/0", shape=(12_345,), dtype="f4")
        file.create_dataset("optimizer/vars/0", shape=(9,), dtype="f4")
    assert refusal(tmp_path / "w.h5") == (
        f"base.weights: FILE holds 12,345 parameters, VGG16 has 14,714,688; {HINT}"
    )
    with h5py.File(tmp_path / "same.h5", "w") as file:
        file.create_dataset("layers/a/vars/0", shape=(14_714_688,), dtype="f4")
    assert refusal(tmp_path / "same.h5") == (
        f"base.weights: FILE has as many parameters as VGG16, but not its layers; {HINT}"
    )


def test_what_is_no_file(tmp_path: Path):
    relative = "check the path; relative paths start at the recipe's folder"
    assert refusal(tmp_path / "no.h5") == (f"base.weights: no such weights file: FILE; {relative}")
    assert refusal(tmp_path / "Imagenet") == (
        "base.weights: no such weights file: FILE; did you mean 'imagenet'?"
    )
    (tmp_path / "folder").mkdir()
    assert refusal(tmp_path / "folder") == f"base.weights: FILE is a folder; {HINT}"


def test_a_bug_of_tlcli_is_not_reported_as_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = promise(tmp_path / "w.h5", "VGG16")

    def fail(parameters: int) -> None:
        raise KeyError(parameters)

    monkeypatch.setattr(bases, "identify_by_parameters", fail)
    with pytest.raises(KeyError):
        check_weights_file(path, VGG16, "x")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all files")
def test_a_file_that_may_not_be_read(tmp_path: Path):
    path = tmp_path / "w.h5"
    path.write_bytes(b"x")
    path.chmod(0)
    assert refusal(path) == "base.weights: FILE cannot be read: permission denied"


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", "VGG16"),
        ("vgg16_weights_tf_dim_ordering_tf_kernels.h5", None),
        ("resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5", "ResNet50V2"),
        ("inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5", "InceptionV3"),
        ("mobilenet_1_0_224_tf_no_top.h5", "MobileNet"),
        ("weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5", "MobileNetV3Large"),
        ("efficientnetv2-b0_notop.h5", "EfficientNetV2B0"),
        ("vgg16_imagenet_notop.weights.h5", "VGG16"),
        ("unet_notop.h5", None),
    ],
)
def test_names_that_mean_a_base(name: str, base: str | None):
    assert base_from_file_name(Path(name)) == base
