"""What a plan trains from: rows that are asked for, and others that the store has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlcli.errors import StoreError
from tlcli.features import addresses
from tlcli.recipe.load import load_recipe
from tlcli.training import extract
from tlcli.training.plan import Plan, make_plan
from tlcli.training.preflight import preflight

RECIPE = """
data: {dir: 'PHOTOS'}
base: {name: VGG16, weights: random, image_size: 32}
augment: {views: live, horizontal_flip: true}
"""
LOW, TOP = "block4_pool", "block5_pool"


@pytest.fixture
def made(photos: Path, write_recipe) -> Plan:
    path = write_recipe(RECIPE.replace("PHOTOS", str(photos)), "small.yaml")
    return make_plan(preflight(load_recipe(path)))


def test_the_store_is_opened_filled_and_let_go_of(made: Plan, capsys):
    network = extract.load_network(made)
    with addresses.open_store(network, made.recipe, made.cache, [LOW]) as opened:
        assert (opened.rows.keys(), opened.sources.keys()) == ({LOW}, set())
        assert len(opened.checksums) == len(made.row.boundaries)
        report = extract.fill_store(network, made, opened)
    # Live views are drawn in training: what is stored are the photos that the others score.
    others = len(made.index.items) - len(made.index.of("train"))
    assert report.computed == {LOW: others}
    assert f"features: {others} rows computed in " in capsys.readouterr().err
    with addresses.open_store(network, made.recipe, made.cache, [TOP]) as again:
        assert (again.rows.keys(), again.sources.keys()) == ({TOP}, {LOW})
        assert again.known.keys() == {LOW, TOP}
        assert extract.fill_store(network, made, again).images == 0, "from the rows below"
    with pytest.raises(StoreError, match="closed database"):
        again.rows[TOP].locate([("ab" * 32, "0")])
