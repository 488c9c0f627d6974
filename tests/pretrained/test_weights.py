"""Where weights are looked for, in which order, and what a run keeps about them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from builders.weight_files import SMALL, draw, promise, write_small

from tlcli.errors import WeightsError
from tlcli.networks.bases import BASES
from tlcli.pretrained import weight_sources
from tlcli.pretrained.tensors import tensor_fingerprint, tensor_shapes, weighted_layers
from tlcli.pretrained.verification_records import (
    RECORDS,
    Verification,
    write_record,
)
from tlcli.pretrained.weight_access import WeightsAccess
from tlcli.pretrained.weight_cache import (
    Provenance,
    weights_file_name,
    weights_folder,
    write_weights,
)
from tlcli.pretrained.weight_files import read_weights
from tlcli.pretrained.weight_sources import published_weights
from tlcli.pretrained.weights import (
    WeightSource,
    describe_weights,
    find_weights,
    load_weights,
    verify_file,
)
from tlcli.recipe.load import load_recipe
from tlcli.system import files

#: A file with the ImageNet weights of VGG16, where there is one.
SHARED = os.environ.get("TLCLI_TEST_VGG16")


@pytest.fixture
def find(write_recipe: Callable[..., Path]) -> Callable[..., WeightSource]:
    def find(choice: str = "imagenet", name: str = SMALL.name) -> WeightSource:
        text = f"data: {{dir: p}}\nbase:\n  name: {name}\n  weights: {choice}\n"
        chosen = load_recipe(write_recipe(text, "r.yaml"))
        where = chosen.where("base", "weights")
        access = WeightsAccess.from_options()
        return find_weights(BASES[name], chosen.base.weights, where, access)

    return find


def messages(source: WeightSource) -> list[str]:
    return [problem.message for problem in source.notes]


PROOF = Verification("https://elsewhere/w.h5", "published hash", "ab" * 16)


def write_to_cache(base: str = SMALL.name, seed: int = 0, *, recorded: bool = True) -> Path:
    """Random weights in tlcli's cache, which say that they were verified; and a record of that."""
    folder = weights_folder(files.cache_folder())
    values = draw(base, seed)
    provenance = Provenance("elsewhere", tensor_fingerprint(values), "published hash")
    if recorded:
        write_record(folder, base, provenance.fingerprint, PROOF)
    write_weights(folder / weights_file_name(base), BASES[base], values, provenance)
    return folder / weights_file_name(base)


@pytest.fixture
def hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[bytes, str]:
    """The bytes of a file that the table takes for the official one, and its name."""
    path = tmp_path / "official.weights.h5"
    write_small(path, seed=9)
    entry = weight_sources._table()[SMALL.name]
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    table = {**weight_sources._table(), SMALL.name: {**entry, "hashes": [digest]}}
    monkeypatch.setattr(weight_sources, "_table", lambda: table)
    return path.read_bytes(), published_weights(SMALL.name).file


def test_random_and_paths(find, tmp_path: Path):
    assert find("random") == WeightSource("random")
    assert (str(find("random")), messages(find("random"))) == ("random weights", [])
    path = promise(tmp_path / "w.h5", SMALL.name)
    assert find("w.h5") == WeightSource("file", path)
    assert (str(find("w.h5")), messages(find("w.h5"))) == (str(path), [])
    with pytest.raises(WeightsError) as caught:
        find("missing.h5")
    assert str(caught.value).startswith("r.yaml:4: base.weights: no such weights file: ")


def test_no_weights_on_this_machine(find, monkeypatch: pytest.MonkeyPatch):
    source = find()
    folder = weights_folder(files.cache_folder())
    assert source == WeightSource("network", None, folder)
    assert str(source) == "ImageNet weights"
    keras = Path(os.environ["KERAS_HOME"]) / "models"
    assert messages(source) == [
        f"none in tlcli's cache ({folder})",
        f"none in Keras' cache ({keras})",
    ]
    assert str(source.notes[0]).startswith("weights of MobileNetV3Small: none in ")
    monkeypatch.setenv("TLCLI_OFFLINE", "1")
    with pytest.raises(WeightsError) as caught:
        find()
    assert str(caught.value) == (
        "r.yaml:4: base.weights: the weights of MobileNetV3Small are not on this machine, and "
        "tlcli is offline; leave out --offline and TLCLI_OFFLINE, or get a file and run "
        "`tlcli weights import FILE --base MobileNetV3Small`"
    )


def test_the_order_of_places(find, hashed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data, name = hashed
    keras = Path(os.environ["KERAS_HOME"]) / "models" / name
    keras.parent.mkdir(parents=True)
    keras.write_bytes(data)
    assert find().path == keras
    assert messages(find())[-1] == f"{keras} in Keras' cache, verified by published hash"
    cached = write_to_cache()
    assert find().path == cached
    assert messages(find()) == [f"{cached} in tlcli's cache, verified by published hash"]
    named = tmp_path / "named"
    monkeypatch.setenv("TLCLI_WEIGHTS", str(named))
    assert messages(find())[0] == f"none in TLCLI_WEIGHTS ({named})"
    named.mkdir()
    write_small(named / "mobilenetv3small-mine-notop.weights.h5", seed=3)
    assert messages(find()) == [
        f"{named}/mobilenetv3small-mine-notop.weights.h5 in TLCLI_WEIGHTS, not verified"
    ]
    (named / name).write_bytes(data)
    assert find().path == named / name


def test_several_files_for_a_base(find, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TLCLI_WEIGHTS", str(tmp_path))
    first = tmp_path / "mobilenetv3small-a-notop.weights.h5"
    second = tmp_path / "mobilenetv3small-b-notop.weights.h5"
    write_small(first)
    write_small(second)
    assert find().path == first  # the same numbers
    write_small(second, seed=1)
    with pytest.raises(WeightsError) as caught:
        find()
    assert str(caught.value) == (
        f"TLCLI_WEIGHTS: several files in {tmp_path} may hold the weights of MobileNetV3Small, "
        f"with different numbers: {first.name}, {second.name}; "
        "keep one of them there, or rename it to mobilenetv3small_imagenet_notop.weights.h5"
    )
    own = tmp_path / "mobilenetv3small_imagenet_notop.weights.h5"
    write_small(own, seed=2)
    assert find().path == own  # its name is no guess


def test_wrong_files(find, hashed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data, name = hashed
    keras = Path(os.environ["KERAS_HOME"]) / "models" / name
    keras.parent.mkdir(parents=True)
    keras.write_bytes(data[:-100])
    assert find().kind == "network"
    assert messages(find())[-1] == (f"skipped in Keras' cache: {keras} is not a complete HDF5 file")
    monkeypatch.setenv("TLCLI_WEIGHTS", str(tmp_path / "named"))
    (tmp_path / "named").mkdir()
    path = tmp_path / "named" / name
    write_small(path)
    with pytest.raises(WeightsError) as caught:
        find()
    assert str(caught.value) == (
        f"TLCLI_WEIGHTS: {path} has the name of the official file, but not its hash; "
        "delete it, or run `tlcli weights fetch MobileNetV3Small`"
    )
    promise(path, "VGG19")
    with pytest.raises(WeightsError) as caught:
        find()
    assert str(caught.value).startswith(
        f"TLCLI_WEIGHTS: {path} is VGG19; the recipe asks for MobileNetV3Small; "
    )


def test_a_changed_file_in_the_cache(find):
    import h5py

    path = write_to_cache()
    with h5py.File(path, "a") as file:
        file["layers/conv2d/vars/0"][0] += 1
    with pytest.raises(WeightsError) as caught:
        find()
    assert str(caught.value) == (
        f"{path}: its tensors have changed since it was written; "
        "delete it and run `tlcli weights fetch MobileNetV3Small`"
    )


SAYS = "not verified (the file itself says: by published hash)"


def test_what_a_file_says_of_itself_vouches_for_nothing(find):
    """As in the caches of version 0.1.0, and in any file into which somebody has written it."""
    path = write_to_cache(recorded=False)
    assert find().path == path  # it is used
    assert messages(find()) == [f"{path} in tlcli's cache, {SAYS}"]
    model = SMALL.build((32, 32), seed=1)
    load_weights(model, SMALL, find())
    record = describe_weights(model, SMALL, find())
    assert record["source"] == str(path)
    assert (record["verified"], record["published"]) == ("", "")
    assert record["stated"] == "published hash"


@pytest.mark.parametrize("damage", ["", "{}", "[]", "verified", "base", "fingerprint"])
def test_a_record_that_is_damaged_or_of_others_vouches_for_nothing(find, damage: str):
    path = write_to_cache()
    (record,) = (path.parent / RECORDS).iterdir()
    assert messages(find()) == [f"{path} in tlcli's cache, verified by published hash"]
    values = json.loads(record.read_text())
    changed = json.dumps({**values, damage: "x"}) if damage in values else damage
    record.write_text(changed)
    assert messages(find()) == [f"{path} in tlcli's cache, {SAYS}"]


def test_a_record_is_of_numbers_not_of_names(find, tmp_path: Path, monkeypatch):
    """The same tensors in another form of file are as good; others under the same name are not."""
    write_to_cache().unlink()
    monkeypatch.setenv("TLCLI_WEIGHTS", str(tmp_path))
    path = tmp_path / weights_file_name(SMALL.name)
    write_small(path)
    assert messages(find()) == [f"{path} in TLCLI_WEIGHTS, verified by published hash"]
    write_small(path, seed=1)
    assert messages(find()) == [f"{path} in TLCLI_WEIGHTS, not verified"]


def test_the_name_of_the_official_file_needs_its_hash(find, hashed, tmp_path: Path, monkeypatch):
    """Whatever the file says of itself."""
    monkeypatch.setenv("TLCLI_WEIGHTS", str(tmp_path / "named"))
    values = draw(SMALL.name)
    provenance = Provenance("elsewhere", tensor_fingerprint(values), "published hash")
    path = tmp_path / "named" / hashed[1]
    write_weights(path, SMALL, values, provenance)
    with pytest.raises(WeightsError, match="has the name of the official file, but not its hash"):
        find()


def test_other_tensors_than_those_of_imagenet(find, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("TLCLI_WEIGHTS", str(tmp_path))
    path = promise(tmp_path / "vgg16-notop.h5", "VGG16")
    with pytest.raises(WeightsError) as caught:
        find(name="VGG16")
    actual = tensor_fingerprint(read_weights(path, BASES["VGG16"], "x"))[:12]
    assert str(caught.value) == (
        "TLCLI_WEIGHTS: these are not the ImageNet weights of VGG16: their fingerprint is "
        f"{actual}..., not 367e97357726...; get the right ones with `tlcli weights fetch VGG16`"
    )
    assert find(str(path), "VGG16").path == path  # one's own weights are one's own choice


@pytest.mark.skipif(not SHARED, reason="TLCLI_TEST_VGG16 names no file")
def test_the_fingerprint_of_vgg16():
    provenance = verify_file(Path(SHARED or ""), BASES["VGG16"], "x", Path("nowhere"))
    assert provenance.verified == "fingerprint"


def test_what_is_loaded_is_recorded(find):
    path = write_to_cache()
    model = SMALL.build((32, 32), seed=1)
    source = find()
    before = model.get_weights()[0]
    load_weights(model, SMALL, WeightSource("random"))
    np.testing.assert_array_equal(model.get_weights()[0], before)
    load_weights(model, SMALL, source)
    expected = {
        "source": PROOF.source,
        "file": str(path),
        "fingerprint": tensor_fingerprint(draw(SMALL.name)),
        "verified": "published hash",
        "published": PROOF.published,
        "stated": "published hash",
    }
    assert describe_weights(model, SMALL, source) == expected
    fetched = WeightSource("network", None, path.parent)
    load_weights(model, SMALL, fetched)  # it is in the cache by now
    assert describe_weights(model, SMALL, fetched) == {**expected, "stated": ""}
    record = describe_weights(model, SMALL, WeightSource("random"))
    assert (record["source"], record["file"], record["verified"]) == ("random weights", "", "")


def test_the_fingerprint_is_that_of_its_definition():
    values = [np.float32([[1, 2]]), np.float32(3)]
    written = b"(1, 2)" + np.array([1, 2], "<f4").tobytes() + b"()" + np.array(3, "<f4").tobytes()
    assert tensor_fingerprint(values) == hashlib.sha256(written).hexdigest()
    turned = [np.asfortranarray(np.float32([[1, 2], [3, 4]]))]
    assert tensor_fingerprint(turned) == tensor_fingerprint([np.float32([[1, 2], [3, 4]])])


@pytest.mark.parametrize("base", BASES)
def test_the_table_of_tensors_is_that_of_the_bases(base: str):
    sizes = [int(np.prod(shape)) for shape in tensor_shapes(base)]
    assert sum(sizes) == BASES[base].parameters
    names = [layer.name for layer in weighted_layers(base)]
    order = {name: position for position, name in enumerate(BASES[base].layers)}
    assert [order[name] for name in names] == sorted(order[name] for name in names)
