"""Files appear whole or not at all."""

from __future__ import annotations

import csv
import errno
import json
import os
import ssl
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from tlcli.system import files


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


def test_the_mask_of_the_process_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Threads that make files at the same moment would make them with another one."""

    def refuse(mask: int) -> int:
        raise AssertionError(f"the mask was set to {mask:o}")

    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(os, "umask", refuse)
            files.write_text(tmp_path / "a.txt", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


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
    files.make_folder(tmp_path / "a" / "b")
    assert sorted(flushed) == [tmp_path, tmp_path / "a"]
    files.make_folder(tmp_path / "a" / "b")
    assert len(flushed) == 2


def test_text_is_utf8_with_plain_line_ends(tmp_path: Path):
    files.write_text(tmp_path / "a", "Ünï\n")
    assert (tmp_path / "a").read_bytes() == b"\xc3\x9cn\xc3\xaf\n"


def test_json(tmp_path: Path):
    files.write_json(tmp_path / "a.json", {"a": [1, 2.5, None]})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == {"a": [1, 2.5, None]}
    assert text == files.json_text({"a": [1, 2.5, None]})
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


DEEP = "[" * 200_000 + "]" * 200_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (DEEP, "it is nested too deeply"),
        ('{"a": NaN}', "NaN is no finite number"),
        ("[-Infinity]", "-Infinity is no finite number"),
        ("1e999", "1e999 is no finite number"),
        ("9" * 5_000, f"the number {'9' * 20}... does not fit in 64 bits"),
        (str(2**63), f"the number {2**63}... does not fit in 64 bits"),
        ("[1", "Expecting ',' delimiter: line 1 column 3 (char 2)"),
        ("", "Expecting value: line 1 column 1 (char 0)"),
        ('"' + "x" * 100 + '"', "it has 102 bytes, more than the 101 that are read"),
    ],
    ids=["deep", "nan", "infinity", "large float", "long", "65 bits", "cut", "empty", "large"],
)
def test_json_that_tlcli_has_not_written(tmp_path: Path, text: str, message: str):
    path = tmp_path / "a.json"
    path.write_text(text)
    limit = 101 if len(text) == 102 else 1_000_000
    with pytest.raises(ValueError, match=r".") as caught:
        files.read_json(path, limit)
    assert str(caught.value) == message
    path.write_text('{"good": 1}\n\n' + text)
    if text and limit > 101:
        with pytest.raises(ValueError, match=r"^line 3 is not JSON: "):
            list(files.read_json_lines(path))


def test_json_that_tlcli_has_written(tmp_path: Path):
    path = tmp_path / "a.json"
    value = {"a": [1, -2.5, 1e-300, 2**63 - 1, -(2**63), None, "ü\ud800"], "b": {}}
    files.write_json(path, value)
    assert files.read_json(path) == value
    path.write_text('{"a": 1}\n\n[2]\n')
    assert list(files.read_json_lines(path)) == [(1, {"a": 1}), (3, [2])]


def test_only_regular_files_are_read(tmp_path: Path):
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to("/dev/zero")
    for path in (pipe, link):
        with pytest.raises(OSError, match=r"not a regular file"):
            files.read_json(path)
    with pytest.raises(IsADirectoryError):
        files.read_json(tmp_path)
    with pytest.raises(FileNotFoundError):
        files.read_json(tmp_path / "nothing")
    link.unlink()
    link.symlink_to(tmp_path / "real")
    (tmp_path / "real").write_text("[1]")
    assert files.read_json(link) == [1]


def test_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert files.cache_folder(tmp_path) == tmp_path
    monkeypatch.setenv("TLCLI_CACHE", "/elsewhere")
    assert files.cache_folder() == Path("/elsewhere")
    assert files.cache_folder(tmp_path) == tmp_path
    monkeypatch.delenv("TLCLI_CACHE")
    assert files.cache_folder().name == "tlcli"
    assert files.features_folder(tmp_path) == tmp_path / "features"


def test_a_file_takes_what_its_disk_says_or_its_length(tmp_path: Path, monkeypatch):
    path = tmp_path / "a.bin"
    with path.open("wb") as file:
        file.truncate(2**20)
    assert files.disk_bytes(path) == path.stat().st_blocks * 512 < 2**20
    assert files.disk_bytes(tmp_path / "none") == 0
    without = SimpleNamespace(st_size=2**20)  # as on Windows
    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", lambda _: without)
        assert files.disk_bytes(path) == 2**20
