"""Weights files of every form give the same tensors; what is none gets one clear line each."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np
import pytest
from builders.weight_files import HINT, SMALL, draw, refusal, write_small

from tlcli.errors import WeightsError
from tlcli.networks.bases import BASES
from tlcli.pretrained.tensors import weighted_layers
from tlcli.pretrained.weight_cache import Provenance, write_weights
from tlcli.pretrained.weight_files import read_weights
from tlcli.pretrained.weight_formats import UnreadableWeightsError, open_weights_file
from tlcli.pretrained.weights import WeightSource, load_weights


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """A file of those bytes."""

    def write(data: bytes, name: str = "w.h5") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def test_a_base_that_is_a_layer_of_the_saved_model(tmp_path: Path):
    values = write_small(tmp_path / "w.weights.h5")
    with h5py.File(tmp_path / "whole.weights.h5", "w") as whole:
        with h5py.File(tmp_path / "w.weights.h5") as base:
            base.copy("layers", whole, "layers/functional/layers")
        whole["layers/dense/vars/0"] = np.zeros(5, "f4")
        whole["optimizer/vars/0"] = np.zeros(50, "f4")
    for actual, expected in zip(
        read_weights(tmp_path / "whole.weights.h5", SMALL, "x"), values, strict=True
    ):
        np.testing.assert_array_equal(actual, expected)


def test_half_precision_is_widened(tmp_path: Path):
    values = draw(SMALL.name)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        places = [p for layer in weighted_layers(SMALL.name) for p in layer.paths]
        for place, value in zip(places, values, strict=True):
            file[place] = value.astype("f2")
    tensors = read_weights(tmp_path / "w.h5", SMALL, "x")
    assert {tensor.dtype for tensor in tensors} == {np.dtype("f4")}
    np.testing.assert_array_equal(tensors[0], values[0].astype("f2").astype("f4"))


def _same(tensors: list[np.ndarray], values: list[np.ndarray]) -> None:
    for actual, expected in zip(tensors, values, strict=True):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize(
    "name",
    [
        "MobileNetV3Small",
        pytest.param("VGG16", marks=pytest.mark.slow),
        pytest.param("ResNet50", marks=pytest.mark.slow),
        pytest.param("InceptionV3", marks=pytest.mark.slow),
        pytest.param("EfficientNetB0", marks=pytest.mark.slow),
        pytest.param("ConvNeXtTiny", marks=pytest.mark.slow),
    ],
)
def test_all_forms_that_keras_writes_give_the_same_bits(name: str, tmp_path: Path):
    from tlcli.networks.framework import keras

    row = BASES[name]
    side = max(32, row.smallest_size)
    builder = getattr(keras.applications, name)
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(5)
    plain = builder(include_top=False, weights=None, input_shape=(side, side, 3))
    generator = np.random.default_rng(5)
    values = [abs(generator.standard_normal(v.shape)).astype("f4") for v in plain.weights]
    plain.set_weights(values)
    values = [v for n in row.layers for v in plain.get_layer(n).get_weights()]
    plain.save_weights(tmp_path / "new.weights.h5")
    plain.save(tmp_path / "legacy_notop.h5", include_optimizer=False)
    whole = builder(include_top=True, weights=None, input_shape=(side, side, 3), classes=3)
    # Layers with weights come in the same order, under other names where names are numbered.
    weighted = [[layer for layer in model.layers if layer.weights] for model in (plain, whole)]
    for layer, counterpart in zip(*weighted, strict=False):
        counterpart.set_weights(layer.get_weights())
    whole.save(tmp_path / "legacy_whole.h5", include_optimizer=False)
    whole.save_weights(tmp_path / "whole.weights.h5")
    whole.save(tmp_path / "whole.keras")
    keras.Sequential([keras.Input((side, side, 3)), plain, keras.layers.Dense(2)]).save(
        tmp_path / "nested.keras"
    )
    forms = sorted(tmp_path.iterdir())
    assert len(forms) == 6
    for path in forms:
        _same(read_weights(path, row, "x"), values)
    kept = tmp_path / "kept.weights.h5"
    write_weights(kept, row, values, Provenance("a test", "", ""))
    plain.set_weights([value + 1 for value in plain.get_weights()])
    plain.load_weights(kept)  # plain Keras takes what tlcli keeps
    _same([v for n in row.layers for v in plain.get_layer(n).get_weights()], values)
    model = row.build((side, side), seed=99)
    load_weights(model, row, WeightSource("file", forms[0]))
    _same([v for n in row.layers for v in model.get_layer(n).get_weights()], values)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("VGG16"),
        pytest.param("ResNet50", marks=pytest.mark.slow),
        pytest.param("InceptionV3", marks=pytest.mark.slow),
    ],
)
def test_onnx_gives_the_same_bits(name: str, tmp_path: Path):
    onnx = pytest.importorskip("onnx")
    values = draw(name)
    left = iter(values)
    nodes, kept = [], []
    for layer in weighted_layers(name):
        inputs = [f"model/{layer.name}/{n}:0" for n in range(len(layer.shapes))]
        for tensor_name in inputs:
            value = next(left)
            value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
            kept.append(onnx.numpy_helper.from_array(np.ascontiguousarray(value), tensor_name))
        kind = "Conv" if layer.kind == "conv2d" else "BatchNormalization"
        nodes.append(onnx.helper.make_node(kind, ["x", *inputs], [f"{layer.name}_out"]))
    # Names tell the layers apart, whatever order an exporter has chosen.
    graph = onnx.helper.make_graph(nodes[::-1], "g", [], [], kept[::-1])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "w.onnx")
    tensors = read_weights(tmp_path / "w.onnx", BASES[name], "x")
    for actual, expected in zip(tensors, values, strict=True):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "FILE is empty"),
        (b"not found\n", "FILE is text, not weights"),
        ("nicht gefunden: ä".encode() * 50, "FILE is text, not weights"),
        (b"<!DOCTYPE html><html>sign in</html>", "FILE is a web page, not weights"),
        (
            pickle.dumps([np.zeros(3)]),
            "FILE is a pickle, which can run code when it is opened; tlcli never opens one",
        ),
        (b"\x93NUMPY\x01\x00\xff", "FILE is not a weights file that tlcli can read"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "FILE is not a complete HDF5 file"),
        (b"PK\x03\x04" + bytes(50), "FILE is not a complete archive"),
        (b"\x08\x07\x3a\xff\x01", "FILE is not a complete ONNX file: it breaks off"),
        (b"\x08\x07\x12\x00", "FILE is not a complete ONNX file: it holds no graph"),
    ],
)
def test_what_is_no_weights_file(file: Callable[..., Path], data: bytes, message: str):
    assert refusal(file(data)) == f"base.weights: {message}; {HINT}"


def test_a_zip_of_something_else(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "w.keras", "w") as archive:
        archive.writestr("photo.jpg", b"x")
    assert refusal(tmp_path / "w.keras") == (
        f"base.weights: FILE is a zip archive without the weights of a Keras model; {HINT}"
    )


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_with_two_of_them(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "w.keras", "w") as archive:
        archive.writestr("model.weights.h5", b"x")
        archive.writestr("model.weights.h5", b"y")
    assert refusal(tmp_path / "w.keras") == (
        f"base.weights: FILE is a zip archive with several files model.weights.h5; {HINT}"
    )


@pytest.mark.parametrize("alike", [False, True])
def test_copies_of_a_base_in_an_onnx_file(tmp_path: Path, alike: bool):
    onnx = pytest.importorskip("onnx")
    nodes, kept = [], []
    for name, seed in (("left", 0), ("right", 0 if alike else 1)):
        values = iter(draw("VGG16", seed))
        for layer in weighted_layers("VGG16"):
            inputs = [f"{name}/{layer.name}/{n}:0" for n in range(2)]
            for tensor_name in inputs:
                value = next(values)
                value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
                array = np.ascontiguousarray(value)
                kept.append(onnx.numpy_helper.from_array(array, tensor_name))
            nodes.append(onnx.helper.make_node("Conv", ["x", *inputs], ["y"]))
    graph = onnx.helper.make_graph(nodes, "g", [], [], kept)
    onnx.save(onnx.helper.make_model(graph), tmp_path / "w.onnx")
    if alike:
        _same(read_weights(tmp_path / "w.onnx", BASES["VGG16"], "x"), draw("VGG16"))
    else:
        assert refusal(tmp_path / "w.onnx") == (
            "base.weights: FILE holds the weights of VGG16 2 times, with different numbers, from "
            "left/block1_conv1/0:0, right/block1_conv1/0:0; "
            "save those that are meant in a file of their own"
        )


def test_a_file_that_broke_off(tmp_path: Path):
    write_small(tmp_path / "w.weights.h5")
    with zipfile.ZipFile(tmp_path / "w.keras", "w") as archive:
        archive.write(tmp_path / "w.weights.h5", "model.weights.h5")
    for name, message in (("w.weights.h5", "complete HDF5 file"), ("w.keras", "complete archive")):
        whole = (tmp_path / name).read_bytes()
        for share in (0.1, 0.5, 0.99):
            cut = tmp_path / "cut"
            cut.write_bytes(whole[: int(len(whole) * share)])
            assert refusal(cut) == f"base.weights: FILE is not a {message}; {HINT}"


def test_a_compressed_archive_with_a_spoilt_byte(tmp_path: Path):
    write_small(tmp_path / "w.weights.h5")
    with zipfile.ZipFile(tmp_path / "w.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "w.weights.h5", "model.weights.h5")
    whole = bytearray((tmp_path / "w.keras").read_bytes())
    for place in range(60, len(whole) - 100, len(whole) // 40):
        whole[place] ^= 0xFF
        (tmp_path / "spoilt").write_bytes(whole)
        assert refusal(tmp_path / "spoilt") == (
            f"base.weights: FILE is not a complete archive; {HINT}"
        )
        whole[place] ^= 0xFF


def test_files_outside_are_never_read(tmp_path: Path):
    write_small(tmp_path / "secret.h5")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["empty"] = h5py.Empty("f4")
        file["text"] = "abc"
        file["circle"] = h5py.SoftLink("/circle")
        file["layers"] = h5py.ExternalLink("secret.h5", "/layers")
    with pytest.raises(WeightsError, match="holds 1 parameters, MobileNetV3Small has"):
        read_weights(tmp_path / "w.h5", SMALL, "x")
    with h5py.File(tmp_path / "v.h5", "w") as file:
        for layer in weighted_layers(SMALL.name):
            for place, shape in zip(layer.paths, layer.shapes, strict=True):
                virtual = h5py.VirtualLayout(shape, "f4")
                virtual[...] = h5py.VirtualSource("secret.h5", place, shape)
                file.create_virtual_dataset(place, virtual)
    with pytest.raises(WeightsError, match="holds 0 parameters, MobileNetV3Small has"):
        read_weights(tmp_path / "v.h5", SMALL, "x")


def test_a_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with (
            ExitStack() as stack,
            pytest.raises(UnreadableWeightsError, match="is not a regular file"),
        ):
            open_weights_file(path, stack)
