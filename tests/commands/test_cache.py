"""`tlcli cache`: list, verify and prune; a damaged trunk too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tlcli.features.store import TrunkRows
from tlcli.features.trunk_address import TrunkAddress
from tlcli.system import files


def test_the_cache(cli, tmp_path: Path):
    folder = files.features_folder(files.cache_folder())
    assert cli("cache").stdout == f"the feature store {folder} is empty\n"
    trunk = {"base": "VGG16", "boundary": "block4_pool", "image_size": [64, 64]}
    rows = TrunkRows(folder, TrunkAddress(trunk, (5,), "float32"))
    rows.append([("ab" * 32, "0")], np.ones((1, 5), np.float32))
    rows.close()
    assert json.loads(cli("cache", "--json").stdout)[0]["rows"] == 1
    assert "VGG16" in cli("cache").stdout
    assert cli("cache", "--cache-dir", tmp_path).stdout.endswith("is empty\n")
    done = cli("cache", "verify")
    assert (done.exit_code, done.stdout) == (0, "1 row, all intact\n")
    (shard,) = rows.path.glob("*.npy")
    shard.write_bytes(shard.read_bytes()[:-1] + b"\xff")
    done = cli("cache", "verify")
    assert (done.exit_code, done.stdout) == (
        1, "1 damaged row of 1; they will be computed again when they are needed\n"
    )  # fmt: skip
    assert cli("cache", "prune", "--unused-days", "30").stdout == "removed 0 rows, 0 B\n"
    assert cli("cache", "prune", "--all").stdout.startswith("removed 0 rows, ")
    assert list(folder.iterdir()) == []


def test_a_damaged_trunk_is_listed_and_can_be_removed(cli, tmp_path):
    broken = tmp_path / "cache" / "features" / "x"
    broken.mkdir(parents=True)
    (broken / "trunk.json").write_text("{")
    options = ("cache", "--cache-dir", tmp_path / "cache")
    listed = cli(*options)
    assert listed.exit_code == 0
    assert "damaged" in listed.stdout
    assert "its trunk.json is damaged" in cli(*options, "verify").stderr
    assert cli(*options, "prune", "--base", "x").exit_code == 0
    assert not broken.exists()
