"""Filling the store: right numbers, nothing computed twice, nothing lost to a bad photo."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from builders.networks import thin_vgg16
from PIL import Image

from tlcli.data import dataset
from tlcli.data.hashing import hash_file
from tlcli.errors import DataError, StoreError
from tlcli.features import addresses, extraction, inventory
from tlcli.features.store import TrunkRows
from tlcli.images import decode
from tlcli.images.loader import PixelSettings, View, load_batches
from tlcli.networks.bases import BASES
from tlcli.networks.framework import keras
from tlcli.networks.network import build_network
from tlcli.recipe.load import load_recipe
from tlcli.recipe.settings import Head
from tlcli.system import locks

pytestmark = pytest.mark.usefixtures("thin_vgg16")

LOW, TOP = "block4_pool", "block5_pool"
RECIPE = """
data: {dir: PHOTOS}
base: {name: VGG16, weights: random, image_size: 32}
augment: {views: 2, rotation_range: 20, horizontal_flip: true}
batch_size: 8
"""


@pytest.fixture(scope="module")
def network():
    with thin_vgg16():
        return build_network(BASES["VGG16"], (32, 32), Head(), 2, seed=1)


@pytest.fixture
def loaded(photos, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.replace("PHOTOS", str(photos)), encoding="utf-8")
    return lambda *overrides: load_recipe(path, overrides)


@pytest.fixture
def open_rows():
    """Open the rows of some boundaries in a folder, and close them after the test."""
    opened = []

    def start(network, chosen, folder: Path, boundaries=(LOW, TOP)):
        rows = {
            name: TrunkRows(folder, addresses.trunk_address(network.row, chosen, name, checksum))
            for name, checksum in network.checksums(boundaries).items()
        }
        opened.extend(rows.values())
        return rows

    yield start
    for rows in opened:
        rows.close()


def views_of(photos: Path) -> list[View]:
    paths = sorted(photos.rglob("*.png"))
    return [View(str(path), hash_file(path)) for path in paths]


def rows_of(chosen, rows, views):
    keys = [addresses.row_key(chosen.augment, view.digest, view.number) for view in views]
    return rows.read(rows.locate(keys), np.arange(len(keys)))


def test_rows_are_the_activations_of_plain_keras(network, loaded, photos, tmp_path, open_rows):
    chosen, views = loaded(), views_of(photos)
    rows = open_rows(network, chosen, tmp_path / "store")
    report = extraction.extract(network, chosen, views, rows)

    plain = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    plain.set_weights(network.base.get_weights())
    x = np.stack(
        [decode.load_image(view.path, height=32, width=32, resize="squash") for view in views]
    ).astype(np.float32)
    x = keras.applications.vgg16.preprocess_input(x)
    for name in (LOW, TOP):
        expected = keras.Model(plain.input, plain.get_layer(name).output)(x).numpy()
        np.testing.assert_allclose(
            rows_of(chosen, rows[name], views), expected, rtol=1e-4, atol=1e-4
        )
    assert report.images == len(views)
    assert report.computed == {LOW: len(views), TOP: len(views)}


def test_a_second_extraction_computes_nothing(network, loaded, photos, tmp_path, open_rows):
    chosen, views = loaded(), views_of(photos)
    rows = open_rows(network, chosen, tmp_path / "store")
    extraction.extract(network, chosen, views, rows)
    again = extraction.extract(network, chosen, views, rows)
    assert again.images == 0
    assert again.computed == {LOW: 0, TOP: 0}
    assert again.stored == {LOW: len(views), TOP: len(views)}


def test_added_photos_are_the_only_ones_computed(network, loaded, photos, tmp_path, open_rows):
    chosen = loaded()
    views = views_of(photos)
    rows = open_rows(network, chosen, tmp_path / "store")
    extraction.extract(network, chosen, views[:-10], rows)
    report = extraction.extract(network, chosen, views, rows)
    assert report.images == 10
    assert report.computed == {LOW: 10, TOP: 10}


def test_a_row_does_not_depend_on_its_batch(network, loaded, photos, tmp_path, open_rows):
    """What a killed extraction leaves to compute is batched differently, with the same bits."""
    chosen, views = loaded(), views_of(photos)
    whole = open_rows(network, chosen, tmp_path / "whole")
    extraction.extract(network, chosen, views, whole)
    parts = open_rows(network, chosen, tmp_path / "parts")
    extraction.extract(network, chosen, views[3:9], parts)
    extraction.extract(network, chosen, views[::-1], parts)
    for name in (LOW, TOP):
        np.testing.assert_array_equal(
            rows_of(chosen, whole[name], views), rows_of(chosen, parts[name], views)
        )


def test_identical_files_are_computed_once(network, loaded, photos, tmp_path, open_rows):
    first = next(photos.rglob("*.png"))
    shutil.copy(first, first.with_name("copy.png"))
    chosen = loaded()
    index = dataset.read_index(chosen.data)
    views = addresses.views_of(index.items, chosen.augment, 0)
    assert len(views) == len(index.items) - 1
    rows = open_rows(network, chosen, tmp_path / "store")
    assert extraction.extract(network, chosen, views, rows).images == len(views)


def test_a_higher_boundary_is_computed_from_stored_rows(
    network, loaded, photos, tmp_path, open_rows
):
    chosen, views = loaded(), views_of(photos)
    folder = tmp_path / "store"
    extraction.extract(network, chosen, views, open_rows(network, chosen, folder, [LOW]))
    both = open_rows(network, chosen, folder)
    # With the photos gone, only the stored rows are left to compute from.
    shutil.rmtree(photos)
    report = extraction.extract(network, chosen, views, both)
    assert report.images == 0
    assert report.computed == {LOW: 0, TOP: len(views)}
    expected = network.tail(LOW)(rows_of(chosen, both[LOW], views), training=False).numpy()
    np.testing.assert_array_equal(rows_of(chosen, both[TOP], views), expected)


def test_nothing_is_computed_from_rows_below_batch_norm_that_is_folded(
    loaded, photos, tmp_path, open_rows
):
    """The rows above have the same bits, whatever the store has of the layer in between."""
    chosen, views = loaded("base.name=SmallResNet"), views_of(photos)
    network = build_network(BASES["SmallResNet"], (32, 32), Head(), 2, seed=1)
    for layer in network.base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([np.full(weight.shape, 0.7) for weight in layer.get_weights()])
    between, top = "stem_conv", network.row.top.name
    assert network.row.boundary(between).folded
    alone = open_rows(network, chosen, tmp_path / "alone", [top])
    extraction.extract(network, chosen, views, alone)
    folder = tmp_path / "store"
    extraction.extract(network, chosen, views, open_rows(network, chosen, folder, [between]))
    both = open_rows(network, chosen, folder, [between, top])
    report = extraction.extract(network, chosen, views, both)
    assert report.computed == {between: 0, top: len(views)}
    assert report.images == len(views)
    np.testing.assert_array_equal(
        rows_of(chosen, both[top], views), rows_of(chosen, alone[top], views)
    )


def test_pixels_are_stored_as_levels_and_are_those_of_every_base(
    network, loaded, photos, tmp_path, open_rows
):
    chosen, photo_views = loaded(), views_of(photos)
    views = [View(view.file, view.digest, number) for view in photo_views for number in (0, 1)]
    rows = open_rows(network, chosen, tmp_path / "store", ["pixels", TOP])
    report = extraction.extract(network, chosen, views, rows)
    assert report.images == len(views)
    stored = rows_of(chosen, rows["pixels"], views)
    assert stored.dtype == np.uint8
    (batch,) = load_batches([views], PixelSettings.from_recipe(chosen))
    np.testing.assert_array_equal(stored, np.rint(batch.pixels).astype(np.uint8))
    assert (batch.pixels[::2] == stored[::2]).all() and (batch.pixels[1::2] != stored[1::2]).any()
    # Activations come from the pixels before they are rounded.
    expected = network.trunk([TOP])(batch.pixels, training=False)
    np.testing.assert_allclose(rows_of(chosen, rows[TOP], views), expected, rtol=1e-4, atol=1e-4)

    other = build_network(BASES["MobileNet"], (32, 32), Head(), 2, seed=1)
    mixed = chosen.model_copy(update={"precision": "mixed_bfloat16"})
    addresses_of = [
        addresses.trunk_address(built.row, recipe, "pixels", weights).folder(tmp_path)
        for built, recipe, weights in (
            (network, chosen, "a"),
            (other, chosen, "b"),
            (other, mixed, "c"),
        )
    ]
    assert len(set(addresses_of)) == 1
    padded = loaded("base.resize=pad")
    assert (
        addresses.trunk_address(network.row, padded, "pixels", "a").folder(tmp_path)
        not in addresses_of
    )


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_photos_are_not_decoded_again_where_their_pixels_are_stored(
    network, loaded, photos, tmp_path, open_rows, dtype
):
    """Views are: their stored pixels are rounded, and would give other rows."""
    chosen = loaded(f"features.dtype={dtype}")
    views = [View(view.file, view.digest, number) for view in views_of(photos) for number in (0, 1)]
    alone = open_rows(network, chosen, tmp_path / "alone", [TOP])
    extraction.extract(network, chosen, views, alone)
    rows = open_rows(network, chosen, tmp_path / "store", ["pixels", TOP])
    extraction.extract(network, chosen, views, {"pixels": rows["pixels"]})
    report = extraction.extract(network, chosen, views, rows)
    assert report.computed == {"pixels": 0, TOP: len(views)}
    assert report.images == len(views) // 2
    expected = rows_of(chosen, alone[TOP], views)
    np.testing.assert_array_equal(rows_of(chosen, rows[TOP], views), expected)


def test_a_bad_photo_is_named_and_the_others_are_kept(network, loaded, photos, tmp_path, open_rows):
    chosen, bad = loaded(), sorted(photos.rglob("*.png"))[4]
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    views = views_of(photos)
    rows = open_rows(network, chosen, tmp_path / "store")
    with pytest.raises(DataError) as raised:
        extraction.extract(network, chosen, views, rows)
    named, advice = raised.value.problems
    assert named.where == str(bad)
    assert "truncated" in named.message
    assert "set data.on_bad_image=skip" in advice.hint
    assert rows[LOW].locate([(v.digest, "0") for v in views]).present.sum() == len(views) - 1

    skipping = loaded("data.on_bad_image=skip")
    report = extraction.extract(network, skipping, views, rows)
    assert set(report.unreadable) == {bad}
    assert report.images == 0


def test_many_bad_photos_are_one_line(network, loaded, photos, tmp_path, open_rows):
    views = views_of(photos)
    for view in views[:6]:
        view.path.write_bytes(view.path.read_bytes()[:-200])
    views = views_of(photos)
    rows = open_rows(network, loaded(), tmp_path / "store")
    with pytest.raises(DataError) as raised:
        extraction.extract(network, loaded(), views, rows)
    named, advice = raised.value.problems
    assert str(named).startswith(f"{photos}: 6 photos: cannot be decoded: truncated")
    assert "and 3 more" in named.message
    assert advice.message == "6 photos cannot be read"


@pytest.mark.parametrize("policy", ["error", "skip"])
@pytest.mark.parametrize("change", ["replaced", "truncated", "emptied"])
def test_a_photo_that_changes_after_it_was_hashed_gets_no_row(
    network, loaded, photos, tmp_path, open_rows, policy, change
):
    chosen, views = loaded(f"data.on_bad_image={policy}"), views_of(photos)
    changed, original = views[4].path, views[4].path.read_bytes()
    other = views[5].path.read_bytes()
    contents = {"replaced": other, "truncated": original[:-100], "emptied": b""}
    changed.write_bytes(contents[change])
    rows = open_rows(network, chosen, tmp_path / "store", [LOW])
    with pytest.raises(DataError) as raised:
        extraction.extract(network, chosen, views, rows)
    assert [str(problem) for problem in raised.value.problems] == [
        f"{changed}: has changed since this command listed it; "
        "leave the photos alone while a command runs, and run it again"
    ]
    present = rows[LOW].locate([(view.digest, "0") for view in views]).present
    assert present.tolist() == [index != 4 for index in range(len(views))]

    changed.write_bytes(original)
    extraction.extract(network, chosen, views, rows)
    clean = open_rows(network, chosen, tmp_path / "clean", [LOW])
    extraction.extract(network, chosen, views, clean)
    np.testing.assert_array_equal(
        rows_of(chosen, rows[LOW], views), rows_of(chosen, clean[LOW], views)
    )


def test_float16_rounds_and_refuses_what_does_not_fit(loaded, photos, tmp_path, open_rows):
    chosen, views = loaded("features.dtype=float16"), views_of(photos)
    network = build_network(BASES["VGG16"], (32, 32), chosen.head, 2, seed=1)
    rows = open_rows(network, chosen, tmp_path / "store", [TOP])
    extraction.extract(network, chosen, views, rows)
    stored = rows_of(chosen, rows[TOP], views)
    assert stored.dtype == np.float16

    last = network.base.get_layer("block5_conv3")
    last.set_weights([values + 1e6 for values in last.get_weights()])
    rows = open_rows(network, chosen, tmp_path / "other", [TOP])
    with pytest.raises(StoreError, match=r"does not fit float16; use float32 for this base"):
        extraction.extract(network, chosen, views, rows)


def test_activations_that_are_not_finite_are_refused(loaded, photos, tmp_path, open_rows):
    chosen, views = loaded(), views_of(photos)
    network = build_network(BASES["VGG16"], (32, 32), chosen.head, 2, seed=1)
    last = network.base.get_layer("block5_conv3")
    last.set_weights([values + 3e38 for values in last.get_weights()])
    rows = open_rows(network, chosen, tmp_path / "store", [TOP])
    with pytest.raises(StoreError) as caught:
        extraction.extract(network, chosen, views, rows)
    assert str(caught.value) == (
        f"base.weights: the base's activations at '{TOP}' are not finite numbers; "
        "name other weights"
    )
    assert not rows[TOP].locate([(view.digest, "0") for view in views]).present.any()


def test_a_full_disk_is_told_before_anything_is_computed(
    network, loaded, photos, tmp_path, monkeypatch, open_rows
):
    chosen, views = loaded(), views_of(photos)
    rows = open_rows(network, chosen, tmp_path / "store")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(StoreError) as raised:
        extraction.extract(network, chosen, views, rows)
    (problem,) = raised.value.problems
    needed = len(views) * (2 * 2 * 64 + 64) * 4  # an eighth of VGG16's 512 channels
    assert problem.message == f"the store needs {needed / 1000:.1f} kB, but only 1.0 kB is free"
    assert "fewer augment.views, features.dtype=float16, augment.views=live" in problem.hint


def test_views_in_the_store_are_those_of_augment(network, loaded, photos, tmp_path, open_rows):
    from tlcli.images import augment

    chosen, (first, *_) = loaded(), views_of(photos)
    views = [View(first.file, first.digest, number) for number in range(3)]
    rows = open_rows(network, chosen, tmp_path / "store", [TOP])
    extraction.extract(network, chosen, views, rows)
    photo = np.asarray(Image.open(first.path).convert("RGB").resize((32, 32), 2))
    pixels = augment.make_views(
        chosen.augment, np.stack([photo] * 3), [first.digest] * 3, [0, 1, 2]
    )
    expected = network.base(pixels, training=False).numpy()
    actual = rows_of(chosen, rows[TOP], views)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)
    assert np.abs(actual[1] - actual[0]).max() > 1e-3


def test_the_store_lists_and_forgets(network, loaded, photos, tmp_path, open_rows):
    chosen, views = loaded(), views_of(photos)
    folder = tmp_path / "store"
    rows = open_rows(network, chosen, folder, [TOP])
    extraction.extract(network, chosen, views, rows)
    (entry,) = inventory.list_trunks(folder)
    assert (entry.description["base"], entry.description["boundary"]) == ("VGG16", TOP)
    assert entry.rows == len(views)
    rows[TOP].close()
    inventory.remove_trunk(entry)
    assert inventory.list_trunks(folder) == []


def spoil(rows) -> None:
    """Flip bits of the first row of every shard of a trunk."""
    for path in rows.path.glob("rows-*.npy"):
        with path.open("r+b") as file:
            file.seek(128)
            before = file.read(100)
            file.seek(128)
            file.write(bytes(255 - byte for byte in before))


def test_rows_that_another_process_forgot_are_made_again(
    network, loaded, photos, tmp_path, open_rows, capsys
):
    chosen, views = loaded(), views_of(photos)
    rows = open_rows(network, chosen, tmp_path / "store", [TOP])
    extraction.extract(network, chosen, views, rows)
    expected, every = rows_of(chosen, rows[TOP], views), np.arange(len(views))
    spoil(rows[TOP])
    reader = extraction.RowReader(network, chosen, rows, TOP, views)
    other = open_rows(network, chosen, tmp_path / "store", [TOP])[TOP]
    other.forget(
        [addresses.row_key(chosen.augment, view.digest, 0) for view in (views[0], *views[3:5])]
    )
    np.testing.assert_array_equal(reader.read([0, 1]), expected[:2])
    np.testing.assert_array_equal(reader.read(every), expected), "they are where they were"
    late = extraction.RowReader(network, chosen, rows, TOP, views)
    np.testing.assert_array_equal(late.read(every), expected)
    assert "2 damaged or missing rows; computing again" in capsys.readouterr().err


def test_what_another_process_has_mended_is_taken(
    network, loaded, photos, tmp_path, open_rows, monkeypatch
):
    chosen, views = loaded(), views_of(photos)
    rows = open_rows(network, chosen, tmp_path / "store", [TOP])
    extraction.extract(network, chosen, views, rows)
    expected = rows_of(chosen, rows[TOP], views)
    readers = [extraction.RowReader(network, chosen, rows, TOP, views) for _ in range(2)]
    spoil(rows[TOP])
    np.testing.assert_array_equal(readers[0].read([0, 1, 2]), expected[:3])
    monkeypatch.setattr(rows[TOP], "append", None)  # nothing is left to compute
    np.testing.assert_array_equal(readers[1].read([0, 1, 2]), expected[:3])
    assert not (rows[TOP].path / locks.HOLDER_FILE).exists()
