"""`tlcli extract`: features for use elsewhere."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tlcli.errors import StoreError
from tlcli.features.open_store import open_store
from tlcli.images import decode
from tlcli.networks.bases import BASES
from tlcli.networks.framework import keras
from tlcli.networks.network import build_network
from tlcli.recipe.load import load_recipe
from tlcli.recipe.settings import Head
from tlcli.training.plan import Plan, make_plan
from tlcli.training.preflight import preflight
from tlcli.training.preparation import fill_store, load_network

pytestmark = pytest.mark.usefixtures("thin_vgg16")

RECIPE = """
data: {dir: 'PHOTOS'}
base: {name: VGG16, weights: random, image_size: 32}
stages:
  - {name: head}
  - {name: top, freeze_until: block4_pool}
"""


@pytest.fixture
def config(photos, write_recipe):
    return write_recipe(RECIPE.replace("PHOTOS", str(photos)), "small.yaml")


def read(folder):
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    return np.load(folder / "features.npy", allow_pickle=False), table, meta


@pytest.mark.parametrize(
    ("pooling", "reduce"),
    [
        ("avg", lambda a: a.mean(axis=(1, 2))),
        ("max", lambda a: a.max(axis=(1, 2))),
        ("flatten", lambda a: a.reshape(len(a), -1)),
        ("none", lambda a: a),
    ],
)
def test_features_are_those_of_plain_keras(config, cli, tmp_path, pooling, reduce):
    out = tmp_path / "features"
    done = cli(
        "extract", "-c", config, "--boundary", "block4_pool", "--pooling", pooling, "--out", out
    )
    assert done.exit_code == 0, done.stderr
    features, table, meta = read(out)
    network = build_network(BASES["VGG16"], (32, 32), Head(), 3, seed=0)
    plain = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    plain.set_weights(network.base.get_weights())
    pixels = np.stack(
        [
            decode.load_image(Path(row["path"]), height=32, width=32, resize="squash")
            for row in table
        ]
    ).astype(np.float32)
    x = keras.applications.vgg16.preprocess_input(pixels)
    expected = keras.Model(plain.input, plain.get_layer("block4_pool").output)(x).numpy()
    np.testing.assert_allclose(features, reduce(expected), rtol=1e-4, atol=1e-4)
    assert meta["shape"] == list(features.shape)
    assert {row["label"] for row in table} == {"blue", "green", "red"}


def test_json_and_a_second_time(config, cli):
    first = json.loads(cli("extract", "-c", config, "--json").stdout)
    assert first["computed"] == {"block4_pool": 39, "block5_pool": 39}
    again = json.loads(cli("extract", "-c", config, "--json").stdout)
    assert again["computed"] == {"block4_pool": 0, "block5_pool": 0}
    assert again["stored"] == {"block4_pool": 39, "block5_pool": 39}


def test_a_boundary_is_computed_from_a_lower_one_that_another_command_has_stored(config, cli):
    lower = cli("extract", "-c", config, "--boundary", "block3_pool", "--json")
    assert json.loads(lower.stdout)["pixels"] == 39
    higher = json.loads(cli("extract", "-c", config, "--json").stdout)
    assert higher["computed"] == {"block4_pool": 39, "block5_pool": 39}
    assert higher["pixels"] == 0


def test_photos_without_labels(config, cli, photos, tmp_path):
    out = tmp_path / "features"
    done = cli("extract", "-c", config, "--unlabelled", photos / "test" / "red", "--out", out)
    assert done.exit_code == 0, done.stderr
    features, table, meta = read(out)
    assert features.shape == (2, 64)
    assert meta["boundary"] == "block5_pool"
    assert [row["label"] for row in table] == ["", ""]


def test_photos_without_labels_for_a_recipe_with_balanced_classes(config, cli, photos):
    done = cli(
        "extract", "-c", config, "--unlabelled", photos / "test", "--set",
        "stages=[{name: head, class_weights: balanced}]",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr


def test_what_is_there_is_not_overwritten_unasked(config, cli, tmp_path):
    out = tmp_path / "features"
    assert cli("extract", "-c", config, "--out", out).exit_code == 0
    done = cli("extract", "-c", config, "--out", out)
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == (
        f"error: --out {out}: has features.npy, index.csv, meta.json already; "
        "name another folder, or replace them with --force"
    )
    assert cli("extract", "-c", config, "--out", out, "--force").exit_code == 0


def test_a_boundary_that_is_none_is_told(config, cli):
    done = cli("extract", "-c", config, "--boundary", "block4_pol")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith(
        "error: --boundary: VGG16 has no boundary 'block4_pol'; did you mean 'block4_pool'"
    )


LIVE_RECIPE = """
data: {dir: 'PHOTOS'}
base: {name: VGG16, weights: random, image_size: 32}
augment: {views: live, horizontal_flip: true}
"""
LOW, TOP = "block4_pool", "block5_pool"


@pytest.fixture
def made(photos: Path, write_recipe) -> Plan:
    path = write_recipe(LIVE_RECIPE.replace("PHOTOS", str(photos)), "small.yaml")
    return make_plan(preflight(load_recipe(path)))


def test_the_store_is_opened_filled_and_let_go_of(made: Plan, capsys):
    network = load_network(made.recipe, made.source, len(made.index.classes))
    with open_store(network, made.recipe, made.cache, [LOW]) as opened:
        assert (opened.rows.keys(), opened.sources.keys()) == ({LOW}, set())
        assert len(opened.checksums) == len(made.row.boundaries)
        report = fill_store(network, made.recipe, made.index, opened)
    # Live views are drawn in training: what is stored are the photos that the others score.
    others = len(made.index.items) - len(made.index.of("train"))
    assert report.computed == {LOW: others}
    assert f"features: {others} rows computed in " in capsys.readouterr().err
    with open_store(network, made.recipe, made.cache, [TOP]) as again:
        assert (again.rows.keys(), again.sources.keys()) == ({TOP}, {LOW})
        assert again.all_rows.keys() == {LOW, TOP}
        assert fill_store(network, made.recipe, made.index, again).images == 0, (
            "from the rows below"
        )
    with pytest.raises(StoreError, match="closed database"):
        again.rows[TOP].locate([("ab" * 32, "0")])
