"""Rows that are means over space: the same numbers as the rows they are means of, at less cost."""

from __future__ import annotations

import numpy as np
import pytest
from builders.networks import thin_vgg16

from tlcli.features import addresses, extraction, inventory
from tlcli.features.open_store import open_store
from tlcli.networks.bases import BASES
from tlcli.networks.network import build_network
from tlcli.recipe.settings import Head
from tlcli.system import files

pytestmark = pytest.mark.usefixtures("thin_vgg16")

NAMES = ["block3_pool", "block4_pool", "block5_pool"]


@pytest.fixture(scope="module")
def network():
    with thin_vgg16():
        return build_network(BASES["VGG16"], (32, 32), Head(), 2, seed=1)


@pytest.fixture
def fill(network, parts, tmp_path):
    """Fill rows of some boundaries for all photos: what was done, the rows, and their folders."""

    def extract(names, pooled, *overrides):
        recipe, index = parts(*overrides)
        views = addresses.views_of(index.items, recipe.augment, 0)
        with open_store(network, recipe, tmp_path / "cache", names, pooled=pooled) as opened:
            report = extraction.extract(network, recipe, views, opened.rows, opened.sources)
            readers = {
                name: extraction.RowReader(
                    network, recipe, opened.rows, name, views,
                    sources=opened.sources if pooled else None,
                )
                for name in names
            }  # fmt: skip
            every = range(len(views))
            return report, {name: reader.read(every) for name, reader in readers.items()}

    return extract


def test_one_pass_fills_the_means_of_several_boundaries(fill):
    report, means = fill(NAMES, True)
    assert report.images == 39
    assert report.computed == dict.fromkeys(NAMES, 39)
    full, rows = fill(NAMES, False)
    assert full.images == 39, "means are no rows to compute from"
    for name in NAMES:
        np.testing.assert_allclose(means[name], rows[name].mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)
        assert means[name].dtype == np.float32


def test_stored_rows_are_pooled_instead_of_another_pass(fill, tmp_path):
    fill(["block3_pool"], False)
    report, means = fill(NAMES, True)
    assert report.images == 0
    assert report.computed == dict.fromkeys(NAMES, 39)
    for trunk in inventory.list_trunks(files.features_folder(tmp_path / "cache")):
        if trunk.description.get("pooling"):
            inventory.remove_trunk(trunk)
    again, direct = fill(NAMES, True, "features.dtype=float16")
    assert again.images == 39, "rows of another precision would give other means"
    for name in NAMES:
        np.testing.assert_array_equal(means[name], direct[name])


def test_the_folder_and_the_record_say_that_rows_are_pooled(fill, tmp_path):
    fill(["block4_pool"], False)
    fill(["block4_pool"], True)
    trunks = inventory.list_trunks(files.features_folder(tmp_path / "cache"))
    folders = sorted(trunk.path.name.rpartition("-")[0] for trunk in trunks)
    assert folders == ["VGG16-block4_pool", "VGG16-block4_pool-avg"]
    assert not any(trunk.misplaced or trunk.damaged for trunk in trunks)
    pooled = next(trunk for trunk in trunks if "-avg-" in trunk.path.name)
    assert pooled.description["shape"] == [64]
    assert "pooling" not in next(t for t in trunks if t is not pooled).description


def test_a_damaged_mean_is_computed_again(fill, tmp_path):
    _, before = fill(["block4_pool"], True)
    (shard,) = files.features_folder(tmp_path / "cache").glob("*-avg-*/rows-*.npy")
    content = bytearray(shard.read_bytes())
    content[-1] ^= 0xFF
    shard.write_bytes(content)
    report, after = fill(["block4_pool"], True)
    assert report.images == 0
    np.testing.assert_array_equal(before["block4_pool"], after["block4_pool"])
