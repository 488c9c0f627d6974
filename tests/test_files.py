"""Files appear whole or not at all."""

from __future__ import annotations

import csv
import errno
import json
import os
import ssl
import stat
from pathlib import Path

import pytest

from tlcli import files


def test_a_file_is_replaced_whole(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with files.replacing(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".txt"
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]  # noqa: PTH208


def test_a_failure_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_are_those_of_a_new_file(tmp_path: Path):
    path = tmp_path / "a.txt"
    before = os.umask(0o027)
    try:
        files.write_text(path, "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_errors_name_the_file_that_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "missing" / "a.txt"
    with pytest.raises(FileNotFoundError) as caught:
        files.write_text(path, "x")
    assert caught.value.filename == str(path)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "folder", Path("folder")):
        with pytest.raises(IsADirectoryError) as refused:
            files.write_text(folder, "x")
        assert refused.value.filename == str(folder)
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_errors_while_writing_name_the_file_too(tmp_path: Path):
    path, source = tmp_path / "a.txt", tmp_path / "source" / "b.txt"
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left") as caught, files.replacing(path):
        raise full
    assert caught.value.filename == str(path)
    with pytest.raises(FileNotFoundError) as missing, files.replacing(path):
        source.read_text()
    assert missing.value.filename == str(source)
    for error in (ssl.SSLError(1, "a handshake"), OSError("a library's own")):
        with pytest.raises(type(error)) as other, files.replacing(path):
            raise error
        assert other.value is error
    assert list(tmp_path.iterdir()) == []


def test_the_folders_of_a_new_folder_are_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    flushed: list[Path] = []
    monkeypatch.setattr(files, "sync_folder", flushed.append)
    files.new_folder(tmp_path / "a" / "b")
    assert sorted(flushed) == [tmp_path, tmp_path / "a"]
    files.new_folder(tmp_path / "a" / "b")
    assert len(flushed) == 2


def test_text_is_utf8_with_plain_line_ends(tmp_path: Path):
    files.write_text(tmp_path / "a", "Ünï\n")
    assert (tmp_path / "a").read_bytes() == b"\xc3\x9cn\xc3\xaf\n"


def test_json(tmp_path: Path):
    files.write_json(tmp_path / "a.json", {"a": [1, 2.5, None]})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == {"a": [1, 2.5, None]}
    assert text == files.as_json({"a": [1, 2.5, None]})
    assert text.endswith("}\n")
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "b.json", float("inf"))
    assert not (tmp_path / "b.json").exists()


def test_table(tmp_path: Path):
    rows = [["a,b.jpg", 1], ['quote".jpg', 2], ["two\nlines.jpg", 3]]
    files.write_table(tmp_path / "a.csv", ["path", "label"], rows)
    with (tmp_path / "a.csv").open(newline="") as file:
        read = list(csv.reader(file))
    assert read == [["path", "label"], *[[path, str(label)] for path, label in rows]]
