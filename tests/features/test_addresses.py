"""Where rows are in the store: what changes their address, and what leaves it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tlcli.data import dataset
from tlcli.features import addresses
from tlcli.features.open_store import open_store
from tlcli.features.store import TrunkRows
from tlcli.features.trunk_address import number_type
from tlcli.images import augment
from tlcli.networks.bases import BASES
from tlcli.networks.network import build_network, compile_forward
from tlcli.recipe.load import load_recipe

pytestmark = pytest.mark.usefixtures("thin_vgg16")

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
            seed=chosen.seed, precision=chosen.policy,
        )  # fmt: skip
        ((name, checksum),) = net.checksums(["block4_pool"]).items()
        address = addresses.trunk_address(net.row, chosen, name, checksum)
        assert not address.folder(tmp_path).is_dir()
        rows = TrunkRows(tmp_path, address)
        rows.close()
        assert address.folder(tmp_path).is_dir()
        trunks.add(rows.address)
    assert len(trunks) == 2


def test_settings_of_views_change_the_keys_of_views_alone(loaded):
    digest = "ab" * 32
    plain, rotated = loaded(), loaded("augment.rotation_range=30")
    assert addresses.row_key(plain.augment, digest, 0) == addresses.row_key(
        rotated.augment, digest, 0
    )
    assert addresses.row_key(plain.augment, digest, 1) != addresses.row_key(
        rotated.augment, digest, 1
    )
    more = loaded("augment.views=7", "seed=9")
    assert addresses.row_key(plain.augment, digest, 1) == addresses.row_key(more.augment, digest, 1)


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


def test_the_address_says_where_batch_norm_is_folded(loaded):
    """Rows of tlcli 0.1.0, which had other last bits, are not taken for those of today."""
    described = {
        name: addresses.trunk_address(BASES[name], loaded(), BASES[name].top.name, "w").description
        for name in ("VGG16", "ResNet50", "ConvNeXtTiny")
    }
    assert described["ResNet50"]["batch_norm"] == "folded"
    assert "batch_norm" not in described["VGG16"] | described["ConvNeXtTiny"]
    pixels = addresses.trunk_address(BASES["ResNet50"], loaded(), "pixels", "w").description
    assert "batch_norm" not in pixels


@pytest.mark.parametrize(
    ("precision", "dtype", "stored"),
    [
        ("float32", "float32", "float32"),
        ("auto", "float32", "float32"),
        ("mixed_bfloat16", "float32", "bfloat16"),
        ("mixed_float16", "float32", "float16"),
        ("mixed_bfloat16", "float16", "float16"),
        ("float32", "float16", "float16"),
    ],
)
def test_rows_are_as_long_as_the_numbers_of_the_trunk(loaded, precision, dtype, stored):
    assert addresses.stored_dtype(loaded(f"precision={precision}", f"features.dtype={dtype}")) == (
        stored
    )


def test_rows_of_mixed_precision_that_0_1_0_has_stored_are_used(loaded, tmp_path):
    chosen = loaded("precision=mixed_bfloat16")
    net = build_network(
        BASES["VGG16"], chosen.base.image_size, chosen.head, 2,
        seed=chosen.seed, precision="mixed_bfloat16",
    )  # fmt: skip
    names = ["block4_pool", "block5_pool"]
    address = addresses.trunk_address(net.row, chosen, names[0], net.checksums(names)[names[0]])
    before = TrunkRows(tmp_path / "features", replace(address, dtype="float32"))
    before.close()
    with open_store(net, chosen, tmp_path, names) as opened:
        assert opened.rows[names[0]].path == before.path
        assert opened.rows[names[1]].dtype == number_type("bfloat16")
        x = np.random.default_rng(0).uniform(0, 255, (2, *chosen.base.image_size, 3))
        values = compile_forward(net.trunk(names), 2)(x.astype(np.float32))
        for name, output in zip(names, values, strict=True):
            keys = [("ab" * 32, str(number)) for number in range(2)]
            opened.rows[name].append(keys, output)
            kept = opened.rows[name].read(opened.rows[name].locate(keys), [0, 1])
            assert (kept.astype("f4") == output.astype("f4")).all()
