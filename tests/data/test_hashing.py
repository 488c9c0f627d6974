"""Content hashes: whole files, once, and what keeps a file from being read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tlcli.data.hashing import hash_file, hash_files
from tlcli.errors import DataError


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


class Known:
    """A memory of one file."""

    def __init__(self, path: Path) -> None:
        self.path, self.kept = path, {}

    def digests(self, paths: Sequence[Path]) -> dict[Path, str]:
        return {self.path: "remembered"}

    def keep(self, digests: Mapping[Path, str]) -> None:
        self.kept |= digests


def test_what_is_remembered_is_not_read_again(tmp_path: Path):
    known, new, gone = (tmp_path / name for name in ("known.jpg", "new.jpg", "gone.jpg"))
    new.write_bytes(b"new")
    memory = Known(known)
    digests, unread = hash_files([known, new, gone], memory)
    assert digests == {known: "remembered", new: hashlib.sha256(b"new").hexdigest()}
    assert memory.kept == {new: digests[new]}
    assert str(unread[gone]) == (
        f"{gone}: cannot be read: no such file or directory; make it readable, or remove it"
    )
