"""Web addresses in the place of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlcli.system import web


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://example.org/a.jpg", "https://example.org/a.jpg"),
        (Path("https://example.org/a.jpg"), "https://example.org/a.jpg"),
        ("HTTP://x", "HTTP://x"),
        ("s3://bucket/key", "s3://bucket/key"),
        ("file:///home/me/a.jpg", "file://home/me/a.jpg"),
        ("C:/photos/a.jpg", None),
        ("C:\\photos", None),
        ("/home/me/https:/example.org/a", "https://example.org/a"),
        ("/home/me/C:/photos", None),
        ("https:", None),
        ("https://", None),
        ("photos", None),
        ("a\0b://c", "a\0b://c"),
    ],
)
def test_what_is_a_web_address(text: str | Path, address: str | None):
    if "\0" in str(text):
        assert web.as_web_address(text) is None
    else:
        assert web.as_web_address(text) == address


def test_a_file_may_have_such_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("https:").mkdir()
    Path("https:/photo.jpg").touch()
    assert web.as_web_address("https://photo.jpg") is None
    assert web.as_web_address("https://other.jpg") == "https://other.jpg"


def test_the_words():
    assert str(web.not_a_file("https://x/a")) == (
        "https://x/a: is a web address; tlcli reads files: download it and name the file"
    )
    assert str(web.not_a_file("https://x/a", "t.csv:3")) == (
        "t.csv:3: https://x/a is a web address; tlcli reads files: download it and name the file"
    )
    assert web.not_a_file("file:///a").hint == "name the file by its path, without file://"
