"""Which view of which photo an epoch shows, and what comes with it."""

from __future__ import annotations

import numpy as np
import pytest

from tlcli.data import dataset
from tlcli.features import addresses, extraction
from tlcli.features.store import TrunkRows
from tlcli.images import augment
from tlcli.images.loader import PixelSettings, View, load_batches
from tlcli.networks.bases import BASES
from tlcli.networks.network import build_network
from tlcli.recipe.load import load_recipe
from tlcli.training.batches import LiveFeed, StoredFeed
from tlcli.training.mixing import Mix
from tlcli.training.order import Position, draw_picks, epoch_order

pytestmark = pytest.mark.usefixtures("thin_vgg16")

RECIPE = """
data: {dir: 'PHOTOS'}
base: {name: VGG16, weights: random, image_size: 32}
augment: {views: 2, rotation_range: 30}
batch_size: 8
"""


@pytest.fixture
def parts(photos, write_recipe, tmp_path):
    chosen = load_recipe(write_recipe(RECIPE.replace("PHOTOS", str(photos))))
    network = build_network(BASES["VGG16"], (32, 32), chosen.head, 3, seed=0)
    items = dataset.read_index(chosen.data).of("train")
    (checksum,) = network.checksums(["block5_pool"]).values()
    rows = TrunkRows(
        tmp_path, addresses.trunk_address(network.row, chosen, "block5_pool", checksum)
    )
    views = addresses.views_of(items, chosen.augment, 2)
    extraction.extract(network, chosen, views, {"block5_pool": rows})
    yield chosen, network, items, rows
    rows.close()


def shown(feed, *stages, seed=0):
    """Views by photo, shape (epochs, photos), in stages of so many epochs."""
    views = np.full((sum(stages), len(feed.labels)), -1)
    for number, epochs in enumerate(stages):
        before = sum(stages[:number])
        for epoch in range(epochs):
            for positions, numbers in draw_picks(feed, seed, Position(number, before), epoch, 8):
                views[before + epoch, positions] = numbers
    return views


def test_every_view_of_every_photo_has_its_turn(parts):
    chosen, network, items, rows = parts
    feed = StoredFeed(network, chosen, {"block5_pool": rows}, "block5_pool", items, 2)
    views = shown(feed, 5, 1, 3)  # early stopping ends a stage anywhere
    for first in (0, 3, 6):
        assert (np.sort(views[first : first + 3], axis=0).T == [0, 1, 2]).all()
    assert len({tuple(column) for column in views.T}) > 5, "each photo has an order of its own"
    assert not np.array_equal(views[:3], views[3:6])
    assert not np.array_equal(views[:3], shown(feed, 3, seed=1))


def test_epochs_are_shuffled_and_repeatable_by_themselves():
    orders = [epoch_order(1, 0, epoch, 50) for epoch in range(3)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert not np.array_equal(orders[0], orders[1])
    np.testing.assert_array_equal(epoch_order(1, 0, 2, 50), orders[2])
    assert not np.array_equal(epoch_order(2, 0, 0, 50), orders[0])
    assert not np.array_equal(epoch_order(1, 1, 0, 50), orders[0])


def test_labels_and_rows_belong_together(parts):
    chosen, network, items, rows = parts
    feed = StoredFeed(network, chosen, {"block5_pool": rows}, "block5_pool", items, 2)
    picks = [(np.array([5, 0, 17]), np.array([0, 1, 2]))]
    (features,) = feed.stream(picks)
    for row, position, number in zip(features, *picks[0], strict=True):
        key = addresses.row_key(chosen.augment, items[position].digest, int(number))
        np.testing.assert_array_equal(row, rows.read(rows.locate([key]), [0])[0])
    assert list(feed.labels) == [item.label for item in items]


def test_views_that_are_as_their_photos_are_read_from_the_row_of_those(parts):
    chosen, network, items, rows = parts
    settings = chosen.augment.model_copy(update={"probability": 0.5})
    some = chosen.model_copy(update={"augment": settings})
    extraction.extract(network, some, addresses.views_of(items, settings, 2), {"block5_pool": rows})
    feed = StoredFeed(network, some, {"block5_pool": rows}, "block5_pool", items, 2)
    every = np.arange(len(items))
    (photo,), (view,) = (feed.stream([(every, np.full(len(items), n))]) for n in (0, 2))
    changed = augment.mark_changed(settings, [item.digest for item in items], [2] * len(items))
    assert ((photo == view).all(axis=(1, 2, 3)) == ~changed).all() and 0 < changed.sum() < 24


def test_rows_of_the_store_are_mixed_after_they_are_read(parts):
    chosen, network, items, rows = parts
    feed = StoredFeed(network, chosen, {"block5_pool": rows}, "block5_pool", items, 2)
    picks = [(np.array([5, 0, 17]), np.array([0, 1, 2]))] * 2
    mix = Mix(np.array([1, 2, 0]), np.array([0.25, 1, 0.5], np.float32))
    plain, mixed = feed.stream(picks, [None, mix])
    np.testing.assert_array_equal(plain, next(feed.stream(picks)))
    np.testing.assert_allclose(mixed[0], 0.25 * plain[0] + 0.75 * plain[1], rtol=1e-6)
    np.testing.assert_array_equal(mixed[1], plain[1])


def test_live_photos_are_mixed_before_the_trunk(parts):
    chosen, network, items, _ = parts
    feed = LiveFeed(network, chosen, items, "block5_pool")
    picks = [(np.array([3, 9]), np.array([1, 4]))]
    mix = Mix(np.array([1, 0]), np.array([0.5, 0.9], np.float32), np.array([[0, 0, 16, 32]] * 2))
    views = [View(items[p].file, items[p].digest, n) for p, n in ((3, 1), (9, 4))]
    (batch,) = load_batches([views], PixelSettings.from_recipe(chosen))
    pixels = batch.pixels.copy()
    pixels[:, :16] = pixels[::-1, :16].copy()
    expected = network.trunk(["block5_pool"])(pixels, training=False)
    (features,) = feed.stream(picks, [mix])
    np.testing.assert_allclose(features, np.asarray(expected).reshape(features.shape), atol=1e-4)


def test_live_views_are_new_in_every_epoch_and_are_those_of_the_store(parts):
    chosen, network, items, rows = parts
    feed = LiveFeed(network, chosen, items, "block5_pool")
    assert [set(row) for row in shown(feed, 3)] == [{1}, {2}, {3}]
    stored = StoredFeed(network, chosen, {"block5_pool": rows}, "block5_pool", items, 2)
    picks = [(np.arange(8), np.full(8, 2))]
    np.testing.assert_array_equal(next(feed.stream(picks)), next(stored.stream(picks)))
