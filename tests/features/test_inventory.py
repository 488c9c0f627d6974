"""What the store holds, one trunk after the other: listed, verified and removed."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from tlcli.data import audit_cache
from tlcli.errors import StoreError
from tlcli.features import inventory, store_upkeep
from tlcli.features.listing import store_table
from tlcli.features.store import TrunkRows
from tlcli.features.trunk_address import TrunkAddress

TRUNK = {"boundary": "block4_pool", "image_size": [64, 96]}


def keys(count: int) -> list[tuple[str, str]]:
    return [(f"{number:064x}", "0") for number in range(count)]


def fill(folder: Path, base: str, rows: int, dtype: str = "float32") -> Path:
    opened = TrunkRows(folder, TrunkAddress({"base": base, **TRUNK}, (5,), dtype))
    opened.append(keys(rows), np.ones((rows, 5), np.float32))
    opened.close()
    return opened.path


def prune(*arguments, **conditions) -> str:
    return store_upkeep.prune_store(*arguments, **conditions).text()


def verify(folder: Path) -> tuple[str, int]:
    result = store_upkeep.verify_store(folder)
    assert result.intact == (result.damaged + result.lost == 0)
    return result.text(), result.damaged + result.lost


def test_listing_and_removing(tmp_path: Path):
    assert inventory.list_trunks(tmp_path) == []
    path = fill(tmp_path, "VGG16", 2)
    fill(tmp_path, "VGG16", 0, "float16")
    long_ago = time.time() - 3 * 86_400
    os.utime(path / "trunk.json", (long_ago, long_ago))
    newer, older = inventory.list_trunks(tmp_path)
    assert (newer.rows, older.rows) == (0, 2)
    assert (newer.description["dtype"], older.description["dtype"]) == ("float16", "float32")
    assert older.path == path
    assert 2.99 < older.days_unused < 3.01
    assert 200 < older.bytes < 100_000
    opened = older.open()
    assert opened.path == path
    assert opened.damaged() == []
    # Looking after rows is not using them.
    assert inventory.list_trunks(tmp_path)[1].days_unused > 2.9
    np.testing.assert_array_equal(opened.read(opened.locate(keys(2)), [1, 0]), np.ones((2, 5)))
    assert inventory.list_trunks(tmp_path)[0].path == path
    opened.close()
    inventory.remove_trunk(older)
    assert [entry.path for entry in inventory.list_trunks(tmp_path)] == [newer.path]
    assert not older.path.exists()


def test_an_interrupted_removal_is_still_listed(tmp_path: Path):
    path = fill(tmp_path, "VGG16", 1)
    (path / "index.sqlite").unlink()
    (entry,) = inventory.list_trunks(tmp_path)
    assert entry.rows == 0
    inventory.remove_trunk(entry)
    assert inventory.list_trunks(tmp_path) == []


def test_pruning(tmp_path: Path):
    home = tmp_path / "home"
    fill(tmp_path, "VGG16", 3)
    fill(tmp_path, "ResNet50", 2)
    assert prune(tmp_path, home, unused_days=1, base=None) == "removed 0 rows, 0 B"
    assert prune(tmp_path, home, unused_days=None, base="vgg16").startswith("removed 3 rows, ")
    assert [entry.rows for entry in inventory.list_trunks(tmp_path)] == [2]
    assert prune(tmp_path, home, unused_days=0, base=None).startswith("removed 2 rows, ")
    assert list(tmp_path.iterdir()) == []


def test_verifying(tmp_path: Path):
    fill(tmp_path, "VGG16", 1)
    path = fill(tmp_path, "ResNet50", 2)
    assert verify(tmp_path) == ("3 rows, all intact", 0)
    (shard,) = path.glob("*.npy")
    shard.write_bytes(shard.read_bytes()[:-1] + b"\xff")
    assert verify(tmp_path) == (
        "1 damaged row of 3; they will be computed again when they are needed",
        1,
    )
    assert verify(tmp_path) == ("2 rows, all intact", 0)


LOST = "; they will be computed again when they are needed"


def test_rows_that_nobody_finds_are_not_sound(tmp_path: Path, capsys):
    path = fill(tmp_path, "VGG16", 2)
    path.rename(tmp_path / "elsewhere")
    fill(tmp_path, "VGG16", 1)
    shard = next((tmp_path / "elsewhere").glob("*.npy"))
    shard.write_bytes(b"")
    expected = f"0 damaged rows of 1, and 1 place with rows that cannot be found{LOST}"
    assert verify(tmp_path) == (expected, 1)
    assert capsys.readouterr().err == (
        f"warning: {tmp_path}/elsewhere: its trunk.json does not match the folder's name; "
        "its rows cannot be found; remove it with `tlcli cache prune --base`\n"
    )
    for text in ("{", '{"shape": 5}', (path / "trunk.json").read_text().replace("[5]", "5")):
        (tmp_path / "elsewhere" / "trunk.json").write_text(text)
        assert verify(tmp_path) == (expected, 1)
    (tmp_path / "elsewhere" / "trunk.json").unlink()
    assert verify(tmp_path) == (expected, 1)
    assert "elsewhere: has no trunk.json; " in capsys.readouterr().err


@pytest.mark.parametrize("index", [None, b"", b"not a database, really not" * 100])
def test_an_index_that_was_lost_is_damage(tmp_path: Path, capsys, index: bytes | None):
    path = fill(tmp_path, "VGG16", 2)
    (path / "index.sqlite").unlink()
    if index is not None:
        (path / "index.sqlite").write_bytes(index)
    expected = f"0 damaged rows of 0, and 1 place with rows that cannot be found{LOST}"
    assert verify(tmp_path) == (expected, 1)
    assert f"{path}: its index does not know 1 shard; removed\n" in capsys.readouterr().err
    assert not list(path.glob("*.npy"))
    assert verify(tmp_path) == ("0 rows, all intact", 0)


def test_a_verification_that_fails_lets_go_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = fill(tmp_path, "VGG16", 1)
    closed = []
    close = TrunkRows.close

    def noted(self: TrunkRows) -> None:
        closed.append(self.path)
        close(self)

    def fail(self: TrunkRows, keys: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TrunkRows, "close", noted)
    monkeypatch.setattr(TrunkRows, "forget", fail)
    with pytest.raises(KeyboardInterrupt):
        verify(tmp_path)
    assert closed == [path]


RECORDS = [
    "[" * 100_000, "[]", "{}", '{"base": 3}', '{"image_size": 5}', '{"shape": ["5"]}',
    '{"image_size": [0, 1]}',
    '{"dtype": "x"}', '{"dtype": 3}', '{"shape": [1e999]}', '{"shape": [4294967296, 4294967296]}',
    '{"shape": []}', '{"shape": [-1]}', '{"boundary": "x/../../../../evil"}', '{"boundary": ".."}',
    '{"base": "/evil"}', '{"base": "a\\u0000b"}', '{"base": "a\\\\b"}', '{"base": "a\\n"}',
]  # fmt: skip


@pytest.mark.parametrize("text", RECORDS, ids=range(len(RECORDS)))
def test_a_hostile_record_is_listed_as_damaged_and_makes_no_folder(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
):
    store_folder = tmp_path / "a" / "b" / "store"
    path = fill(store_folder, "VGG16", 2)
    if text not in ("[" * 100_000, "[]", "{}"):
        text = json.dumps({**json.loads((path / "trunk.json").read_text()), **json.loads(text)})
    (path / "trunk.json").write_text(text)
    before = {file: file.is_dir() or file.read_bytes() for file in tmp_path.rglob("*")}
    table, (entry,) = store_table(store_folder, tmp_path / "home")
    assert (entry["base"], entry["boundary"], entry["rows"]) == (path.name, "damaged", 2)
    assert "damaged" in table
    assert verify(store_folder)[1] == 1
    assert "its trunk.json is damaged" in capsys.readouterr().err
    assert {file: file.is_dir() or file.read_bytes() for file in tmp_path.rglob("*")} == before
    assert prune(store_folder, tmp_path / "home", unused_days=None, base=path.name).startswith(
        "removed 2 "
    )


@pytest.mark.parametrize("name", ["index.sqlite", "trunk.json", "rows-1.npy"])
def test_a_pipe_in_the_store_hides_no_other_trunk(tmp_path: Path, name: str):
    fill(tmp_path, "VGG16", 2)
    path = fill(tmp_path, "ResNet50", 2)
    (path / name).unlink(missing_ok=True)
    os.mkfifo(path / name)
    assert [entry.damaged for entry in inventory.list_trunks(tmp_path)].count(True) == 1
    assert verify(tmp_path)[1] == 1
    prune(tmp_path, tmp_path / "home", unused_days=None, base=path.name)
    assert [entry.rows for entry in inventory.list_trunks(tmp_path)] == [2]


def test_links_in_a_store_are_not_followed(tmp_path: Path):
    store_folder, target = tmp_path / "store", tmp_path / "theirs"
    path = fill(store_folder, "VGG16", 2)
    target.write_bytes(b"")
    (path / "index.sqlite").unlink()
    (path / "index.sqlite").symlink_to(target)
    (entry,) = store_table(store_folder, tmp_path / "home")[1]
    assert (entry["boundary"], entry["rows"]) == ("damaged", 0)
    verify(store_folder)
    with pytest.raises(StoreError, match=r"index\.sqlite: is a link in the feature store; remove"):
        fill(store_folder, "VGG16", 2)
    assert target.read_bytes() == b""
    prune(store_folder, tmp_path / "home", unused_days=None, base=path.name)
    assert target.exists()
    assert not path.exists()


def test_a_folder_of_somebody_else_in_the_store_is_neither_changed_nor_removed(tmp_path: Path):
    store_folder, foreign = tmp_path / "store", tmp_path / "theirs"
    path = fill(foreign, "VGG16", 2)
    store_folder.mkdir()
    (store_folder / path.name).symlink_to(path)
    assert store_table(store_folder, tmp_path / "home")[1] == []
    assert prune(store_folder, tmp_path / "home", unused_days=0, base=None).startswith(
        "removed 0 rows"
    )
    with pytest.raises(StoreError, match=r"is a link in the feature store; remove the link"):
        fill(store_folder, "VGG16", 2)
    assert sorted(path.iterdir())


def test_check_results_are_pruned_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    features = tmp_path / "features"
    for version, number in ((audit_cache.VERSION + 1, 900), (audit_cache.VERSION, 100)):
        with monkeypatch.context() as patch, audit_cache.AuditCache(tmp_path) as memory:
            patch.setattr(audit_cache, "VERSION", version)
            memory._method = audit_cache.inspection_method()
            memory.store_inspections({f"{n:064}": audit_cache.Inspection(thumbnail=b"x" * 256)
                               for n in range(number)})  # fmt: skip
    before = audit_cache.cache_bytes(tmp_path)
    message = prune(features, tmp_path, unused_days=30)
    assert message.startswith("removed 0 rows, 0 B; and check results of 900 photos, ")
    assert audit_cache.cache_bytes(tmp_path) < before / 4
    assert prune(features, tmp_path, unused_days=30) == "removed 0 rows, 0 B"
    with audit_cache.AuditCache(tmp_path) as memory:
        assert len(memory.inspections([f"{n:064}" for n in range(900)])) == 100
    assert "; and check results of 100 photos, " in prune(features, tmp_path)
    with audit_cache.AuditCache(tmp_path) as memory:
        assert memory.inspections([f"{n:064}" for n in range(900)]) == {}
