"""Content hashes: whole files, once, and what keeps a file from being read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from builders.photos import COLOURS, paint

from tlcli.data.hashing import FileState, hash_file, hash_files
from tlcli.errors import DataError
from tlcli.images import decode


def test_large_files_are_hashed_whole(tmp_path: Path):
    content = bytes(3 * 2**20) + b"end"
    (tmp_path / "big.jpg").write_bytes(content)
    assert hash_file(tmp_path / "big.jpg") == hashlib.sha256(content).hexdigest()


def test_digest_of_a_missing_file(tmp_path: Path):
    with pytest.raises(DataError, match=r"gone\.jpg: cannot be read: no such file or directory"):
        hash_file(tmp_path / "gone.jpg")


def test_a_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(DataError, match=r"pipe\.jpg: cannot be read: not a regular file"):
        hash_file(tmp_path / "pipe.jpg")


class OneDigest:
    """A cache that has the hash of one file."""

    def __init__(self, path: Path) -> None:
        self.path, self.stored = path, {}

    def digests(self, states: Mapping[Path, FileState]) -> dict[Path, str]:
        return {self.path: "stored"}

    def store_digests(self, digests: Mapping[Path, str], states: Mapping[Path, FileState]) -> None:
        assert set(digests) <= set(states)
        self.stored |= digests


def test_a_file_whose_hash_is_stored_is_not_read_again(tmp_path: Path):
    known, new, gone = (tmp_path / name for name in ("known.jpg", "new.jpg", "gone.jpg"))
    new.write_bytes(b"new")
    cache = OneDigest(known)
    digests, unread = hash_files([known, new, gone], cache)
    assert digests == ["stored", hashlib.sha256(b"new").hexdigest(), ""]
    assert cache.stored == {new: digests[1]}
    assert str(unread[gone]) == (
        f"{gone}: cannot be read: no such file or directory; make it readable, or remove it"
    )


def test_files_are_looked_at_while_they_are_read(tmp_path: Path):
    good, cut, page, large = (tmp_path / name for name in ("a.png", "b.png", "c.png", "d.png"))
    paint(good, COLOURS["red"], 0)
    cut.write_bytes(good.read_bytes()[:12])
    page.write_bytes(b"<html>")
    large.write_bytes(b"no photo" * 200_000)
    headers = decode.HeaderCheck()
    digests, unread = hash_files([good, cut, page, large, tmp_path / "gone.png"], look=headers)
    assert [bool(digest) for digest in digests] == [True] * 4 + [False]
    assert [*unread] == [tmp_path / "gone.png"]
    assert headers.problems == {path: decode.sniff(path) for path in (cut, page, large)}
