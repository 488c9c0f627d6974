"""The index of a trunk's rows: what is damage, and what is told of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tlcli.errors import StoreError
from tlcli.features.shards import ShardError
from tlcli.features.store_index import INDEX, open_index, store_errors
from tlcli.system.files import is_damaged_database


def test_an_index_is_made_and_opened_again(tmp_path: Path):
    with closing(open_index(tmp_path / INDEX)) as made, made:
        made.execute("INSERT INTO shards (file) VALUES ('rows-1.npy')")
    with closing(open_index(tmp_path / INDEX)) as again:
        assert again.execute("SELECT * FROM shards").fetchall() == [(1, "rows-1.npy")]


def test_damage_is_told_from_what_passes(tmp_path: Path):
    (tmp_path / INDEX).write_bytes(b"not a database, really not" * 100)
    with pytest.raises(sqlite3.DatabaseError) as caught:
        open_index(tmp_path / INDEX)
    assert is_damaged_database(caught.value)
    with pytest.raises(sqlite3.OperationalError) as missing:
        open_index(tmp_path / "nowhere" / INDEX)
    assert not is_damaged_database(missing.value)


ROW = "INSERT INTO rows VALUES (x'00', '0', 1, 0, 7)"


@pytest.mark.parametrize(
    "statement",
    [
        ROW.replace("x'00'", "'00'"), ROW.replace("'0'", "x'00'"), ROW.replace(" 1,", " 'x',"),
        ROW.replace(" 0,", " 0.5,"), ROW.replace(" 7)", " 'x')"),
        "INSERT INTO shards VALUES (1, x'00')",
    ],
)  # fmt: skip
def test_values_of_another_kind_are_damage(tmp_path: Path, statement: str):
    with closing(open_index(tmp_path / INDEX)) as made, made:
        made.execute(ROW.replace("x'00'", "x'01'"))
    open_index(tmp_path / INDEX).close()
    with closing(sqlite3.connect(tmp_path / INDEX)) as other, other:
        other.execute(statement)
    with pytest.raises(sqlite3.DatabaseError) as caught:
        open_index(tmp_path / INDEX)
    assert is_damaged_database(caught.value)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            sqlite3.DatabaseError("file is not a database"),
            "file is not a database; run the command again: it repairs the index and computes its "
            "rows again",
        ),
        (
            sqlite3.OperationalError("database is locked"),
            "database is locked; move the store with --cache-dir or TLCLI_CACHE, or make room with "
            "`tlcli cache prune`",
        ),
        (
            ShardError("rows-1.npy is missing"),
            "rows-1.npy is missing; `tlcli cache verify` finds damaged rows and has them computed "
            "again",
        ),
    ],
)
def test_what_is_told(error: Exception, line: str):
    with pytest.raises(StoreError) as caught, store_errors(Path("HERE")):
        raise error
    assert str(caught.value) == f"HERE: the feature store: {line}"


def test_a_bug_of_our_own_is_not_told_as_damage():
    with pytest.raises(ValueError, match=r"zip\(\)"), store_errors(Path("HERE")):
        list(zip([1], [], strict=True))
