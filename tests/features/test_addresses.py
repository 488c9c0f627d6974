"""Where rows are in the store: what changes their address, and what leaves it."""

from __future__ import annotations

import numpy as np
import pytest

from tlcli.data import dataset
from tlcli.features import addresses
from tlcli.features.store import TrunkRows
from tlcli.images import augment
from tlcli.networks.bases import BASES
from tlcli.networks.network import build_network
from tlcli.recipe.load import load_recipe

RECIPE = """
data: {dir: PHOTOS}
base: {name: VGG16, weights: random, image_size: 32}
augment: {views: 2, rotation_range: 20, horizontal_flip: true}
"""


@pytest.fixture
def loaded(photos, write_recipe):
    path = write_recipe(RECIPE.replace("PHOTOS", str(photos)))
    return lambda *overrides: load_recipe(path, overrides)


def test_only_training_photos_have_augmented_views(loaded, photos):
    chosen = loaded()
    index = dataset.read_index(chosen.data)
    views = addresses.views_of(index.items, chosen.augment, chosen.augment.kept_views)
    training = {item.digest for item in index.of("train")}
    assert {view.digest for view in views if view.number} == training
    assert len(views) == len(index.items) + 2 * len(training)


@pytest.mark.parametrize(
    "override",
    [
        "base.image_size=48",
        "base.resize=crop",
        "features.dtype=float16",
        "precision=mixed_bfloat16",
        "seed=5",  # draws other random weights
    ],
)
def test_a_setting_that_changes_rows_changes_their_address(loaded, tmp_path, override):
    trunks = set()
    for chosen in (loaded(), loaded(override)):
        net = build_network(
            BASES["VGG16"], chosen.base.image_size, chosen.head, 2,
            seed=chosen.seed, precision=chosen.precision,
        )  # fmt: skip
        ((name, checksum),) = net.checksums(["block4_pool"]).items()
        address = addresses.trunk_address(net, chosen, name, checksum)
        assert not address.folder(tmp_path).is_dir()
        rows = TrunkRows(tmp_path, address)
        rows.close()
        assert address.folder(tmp_path).is_dir()
        trunks.add(rows.address)
    assert len(trunks) == 2


def test_settings_of_views_change_the_keys_of_views_alone(loaded):
    digest = "ab" * 32
    one, other = loaded(), loaded("augment.rotation_range=30")
    assert addresses.row_key(one.augment, digest, 0) == addresses.row_key(other.augment, digest, 0)
    assert addresses.row_key(one.augment, digest, 1) != addresses.row_key(other.augment, digest, 1)
    more = loaded("augment.views=7", "seed=9")
    assert addresses.row_key(one.augment, digest, 1) == addresses.row_key(more.augment, digest, 1)


def test_views_that_probability_leaves_alone_have_the_row_of_their_photo(loaded):
    chosen = loaded("augment.probability=0.5", "augment.views=7")
    index = dataset.read_index(chosen.data)
    views = addresses.views_of(index.items, chosen.augment, 7)
    digests = sorted({item.digest for item in index.of("train")})
    kept = {digest: [view.number for view in views if view.digest == digest] for digest in digests}
    for digest, numbers in kept.items():
        changed = augment.mark_changed(chosen.augment, [digest] * 8, range(8))
        assert numbers == [0, *np.flatnonzero(changed)]
    assert 2 * len(digests) < sum(map(len, kept.values())) < 7 * len(digests)
