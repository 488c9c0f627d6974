"""Shares with stores of their own read one copy of the weights."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from builders.photos import paint_splits

WEIGHTS = os.environ.get("TLCLI_TEST_VGG16", "")

RECIPE = """
data: {dir: 'PHOTOS'}
base: {name: VGG16, weights: imagenet, image_size: 32}
augment: {views: 0}
precision: float32
stages: [{name: head}]
"""


@pytest.mark.skipif(not WEIGHTS, reason="TLCLI_TEST_VGG16 names no file")
def test_a_share_with_a_store_of_its_own_takes_the_weights_of_a_folder(
    cli, tmp_path: Path, write_recipe, monkeypatch
):
    photos = paint_splits(tmp_path / "photos", train=3, val=1, test=1)
    config = write_recipe(RECIPE.replace("PHOTOS", str(photos)), "small.yaml")
    folder = tmp_path / "weights"
    folder.mkdir()
    shutil.copy(WEIGHTS, folder / "vgg16_imagenet_notop.weights.h5")

    def extract(number: int, *words: object) -> str:
        part = tmp_path / f"part-{number}"
        share = f"{number}/2"
        done = cli("extract", "-c", config, "--shard", share, "--cache-dir", part,
                   "--offline", *words)  # fmt: skip
        return done.stderr if done.exit_code else ""

    assert "the weights of VGG16 are not on this machine, and tlcli is offline" in extract(1)
    assert extract(1, "--weights-dir", folder) == ""
    monkeypatch.setenv("TLCLI_WEIGHTS", str(folder))
    assert extract(2) == ""
    for number in (1, 2):
        assert [path.name for path in (tmp_path / f"part-{number}").iterdir()] == ["features"]
    merged = cli("cache", "--cache-dir", tmp_path / "all", "merge", tmp_path / "part-1",
                 tmp_path / "part-2")  # fmt: skip
    assert merged.stdout.splitlines()[-1] == "15 rows added, 0 there already"
