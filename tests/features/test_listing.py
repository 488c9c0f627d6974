"""The table of stored features that `tlcli cache` prints."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tlcli.data import audit_cache
from tlcli.features import store
from tlcli.features.listing import store_table
from tlcli.features.trunk_address import TrunkAddress

TRUNK = {"boundary": "block4_pool", "image_size": [64, 96]}


def fill(folder: Path, base: str, rows: int) -> Path:
    opened = store.TrunkRows(folder, TrunkAddress({"base": base, **TRUNK}, (5,), "float32"))
    keys = [(f"{number:064x}", "0") for number in range(rows)]
    opened.append(keys, np.ones((rows, 5), np.float32))
    opened.close()
    return opened.path


def test_the_store(tmp_path: Path):
    assert store_table(tmp_path, tmp_path / "home") == (
        f"the feature store {tmp_path} is empty",
        [],
    )
    path = fill(tmp_path, "VGG16", 1_200)
    text, (entry,) = store_table(tmp_path, tmp_path / "home")
    assert entry["path"] == str(path)
    assert (entry["rows"], entry["image_size"]) == (1_200, [64, 96])
    lines = text.split("\n")
    assert lines[2].split()[:7] == ["VGG16", "block4_pool", "96", "x", "64", "float32", "1,200"]
    assert lines[-1].endswith(f" in {tmp_path}")


def test_the_size_of_check_results_is_shown(tmp_path: Path):
    features = tmp_path / "features"
    with audit_cache.AuditCache(tmp_path) as memory:
        memory.store_inspections({"d": audit_cache.Inspection()})
    text, value = store_table(features, tmp_path)
    assert value == []
    assert re.fullmatch(
        rf"the feature store {features} is empty\n"
        rf"[1-9].* kB of check results in {tmp_path}/audit.sqlite",
        text,
    )
