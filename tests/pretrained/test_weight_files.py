"""The weights of a base are told from those of another; wrong ones get one clear line each."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from builders.weight_files import HINT, SMALL, VGG16, draw, promise, refusal

from tlcli.errors import WeightsError
from tlcli.networks import bases
from tlcli.networks.bases import BASES, PRETRAINED
from tlcli.pretrained.tensors import tensor_shapes, weighted_layers
from tlcli.pretrained.weight_files import base_from_file_name, read_weights

#: A base of each family whose layers are named in a way of their own.
FAMILIES = ("VGG16", "ResNet50", "Xception", "MobileNetV3Small", "DenseNet121", "EfficientNetB0")


@pytest.mark.parametrize(
    "base",
    [
        name if name in FAMILIES else pytest.param(name, marks=pytest.mark.slow)
        for name in PRETRAINED
    ],
)
def test_every_base_is_recognised_by_its_layers(tmp_path: Path, base: str):
    path = promise(tmp_path / "w.h5", base, keras_3=base not in ("Xception", "DenseNet121"))
    read_weights(path, BASES[base], "x")
    row = BASES["VGG16" if base != "VGG16" else "VGG19"]
    with pytest.raises(WeightsError) as caught:
        read_weights(path, row, "x")
    assert str(caught.value).startswith(f"x: {path} is {base}; the recipe asks for {row.name}; ")


@pytest.mark.parametrize("keras_3", [True, False])
def test_a_classifier_is_left_out(tmp_path: Path, keras_3: bool):
    more = [VGG16.parameters_with_classifier - VGG16.parameters]
    path = promise(tmp_path / "w.h5", "VGG16", keras_3=keras_3, more=more)
    read_weights(path, VGG16, "x")
    assert [tensor.shape for tensor in read_weights(path, VGG16, "x")] == tensor_shapes("VGG16")
    path = promise(tmp_path / "w2.h5", "VGG16", keras_3=keras_3, more=[7, 8])
    read_weights(path, VGG16, "x")


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
        read_weights(path, VGG16, "x")


def test_a_folder_names_its_files(tmp_path: Path):
    for name in ("b.h5", "a.weights.h5", "notes.txt"):
        (tmp_path / name).touch()
    assert refusal(tmp_path) == (
        "base.weights: FILE is a folder; name one of the files in it: a.weights.h5, b.h5"
    )


def test_a_web_address(cli, photos: Path, write_recipe):
    words = "https://example.org/w.h5 is a web address; tlcli reads files: "
    words += "download it and name the file"
    with pytest.raises(WeightsError) as caught:
        read_weights(Path("https://example.org/w.h5"), VGG16, "--weights")
    assert str(caught.value) == f"--weights: {words}"
    text = f"data: {{dir: {photos}}}\nbase: {{name: VGG16, weights: 'https://example.org/w.h5'}}\n"
    done = cli("check", "--config", write_recipe(text, "r.yaml"))
    assert done.exit_code == 1
    assert f"error: r.yaml:2: base.weights: {words}\n" in done.stderr


def _changed(path: Path, change: Callable[[list[np.ndarray]], None]) -> str:
    """The refusal of weights of the smallest base in which something was changed."""
    values = draw(SMALL.name)
    change(values)
    with h5py.File(path, "w") as file:
        places = [p for layer in weighted_layers(SMALL.name) for p in layer.paths]
        for place, value in zip(places, values, strict=True):
            file[place] = value
    try:
        read_weights(path, SMALL, "base.weights")
    except WeightsError as error:
        message = str(error)
        assert message.startswith(f"base.weights: {path}: ")
        assert message.endswith(
            "; the file is damaged, or was saved by a training that failed; name another one"
        )
        return message.removeprefix(f"base.weights: {path}: ").partition(";")[0]
    return ""


def _set(number: int, position: object, value: float) -> Callable[[list[np.ndarray]], None]:
    def change(values: list[np.ndarray]) -> None:
        values[number] = values[number].astype("f8")
        values[number][position] = value

    return change


#: Of the smallest base: the first kernel (3, 3, 3, 16), then the four tensors of a batch norm.
@pytest.mark.parametrize(
    ("number", "position", "value", "message"),
    [
        (0, (1, 1, 2, 7), np.nan, "0 (3 x 3 x 3 x 16) of layer conv holds numbers that are not "
                                  "finite"),
        (0, (1, 1, 2, 7), -np.inf, "0 (3 x 3 x 3 x 16) of layer conv holds numbers that are not "
                                   "finite"),
        (0, (1, 1, 2, 7), 1e300, "0 (3 x 3 x 3 x 16) of layer conv holds numbers that are not "
                                 "finite"),
        (0, ..., 0, "0 (3 x 3 x 3 x 16) of layer conv holds one value alone, 0"),
        (0, ..., 0.25, "0 (3 x 3 x 3 x 16) of layer conv holds one value alone, 0.25"),
        (2, 3, np.nan, "1 (16) of layer conv_bn holds numbers that are not finite"),
        (4, 3, -1, "3 (16) of layer conv_bn holds a variance below 0"),
        (0, (..., 3), 0, ""),  # a filter that has died
        (1, ..., 1, ""),
        (2, ..., 0, ""),
        (3, 3, -1, ""),
        (4, ..., 1, ""),
    ],
)  # fmt: skip
def test_numbers_are_looked_at(
    tmp_path: Path, number: int, position: object, value: float, message: str
):
    expected = f"tensor {message}" if message else ""
    assert _changed(tmp_path / "w.h5", _set(number, position, value)) == expected


def test_many_impossible_tensors_are_one_line(tmp_path: Path):
    def change(values: list[np.ndarray]) -> None:
        for value in values:
            value[...] = 0

    assert _changed(tmp_path / "w.h5", change).startswith(
        "tensor 0 (3 x 3 x 3 x 16) of layer conv holds one value alone, 0, and "
    )


def test_check_refuses_weights_with_nan(cli, photos: Path, write_recipe, tmp_path: Path):
    _changed(tmp_path / "w.h5", _set(0, 0, np.nan))
    base = f"base: {{name: {SMALL.name}, weights: w.h5, image_size: 48}}\n"
    done = cli("check", "--config", write_recipe(f"data: {{dir: {photos}}}\n{base}", "r.yaml"))
    assert done.exit_code == 1
    assert f"error: r.yaml:2: base.weights: {tmp_path / 'w.h5'}: tensor 0 (3 x 3 x 3 x 16) of " in (
        done.stderr
    )


@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("form", ["new", "old"])
def test_several_candidates_in_a_file(tmp_path: Path, form: str, alike: bool):
    """A model with two copies of the base, as a network for pairs of photos may have."""
    copies = [draw(SMALL.name), draw(SMALL.name, 0 if alike else 1)]
    path = tmp_path / "pair.weights.h5"
    with h5py.File(path, "w") as file:
        for name, values in zip(("left", "right"), copies, strict=True):
            layers = weighted_layers(SMALL.name)
            places = [place for layer in layers for place in layer.paths]
            if form == "new":
                names = [f"layers/{name}/{place}" for place in places]
            else:
                names = [f"{name}/{place.replace('/', '_')}" for place in places]
                file.create_group(name).attrs["weight_names"] = [
                    place.partition("/")[2].encode() for place in names
                ]
            for place, value in zip(names, values, strict=True):
                file[place] = value
        if form == "old":
            file.attrs["layer_names"] = [b"left", b"right"]
    if alike:
        np.testing.assert_array_equal(read_weights(path, SMALL, "x")[0], copies[0][0])
        return
    with pytest.raises(WeightsError) as caught:
        read_weights(path, SMALL, "base.weights")
    first = "layers/{}/layers/conv2d/vars/0" if form == "new" else "{}/layers_conv2d_vars_0"
    assert str(caught.value) == (
        f"base.weights: {path} holds the weights of MobileNetV3Small 2 times, with different "
        f"numbers, from {first.format('left')}, {first.format('right')}; "
        "save those that are meant in a file of their own"
    )


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
