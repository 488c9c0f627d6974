"""The photos that a user names, and what is said of what is none."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from tlcli.data.folders import list_folder
from tlcli.data.named_photos import find_named_photos, read_list
from tlcli.errors import Problem


def plant(root: Path, *names: str) -> None:
    """Create empty files, with the folders above them."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(*sources: str | Path, root: Path) -> list[str]:
    photos = [photo for photo in find_named_photos(sources) if isinstance(photo, Path)]
    return [path.relative_to(root).as_posix() for path in photos]


def problems(*sources: str | Path) -> list[str]:
    """What is said of the sources, each line after its severity."""
    named = [photo for photo in find_named_photos(sources) if isinstance(photo, Problem)]
    return [f"{problem.severity}: {problem}" for problem in named]


# A photo of one grey pixel.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010800000000"
    "3a7e9b550000000a49444154789c63680000008200818f6c22d80000000049454e44ae426082"
)


def test_a_folder_is_walked_in_sorted_order(tmp_path: Path):
    plant(tmp_path, "b.JPG", "a/z.png", "a/deep/er/1.webp", "c.txt", "Ünï.tiff", "x.tar.gz")
    assert found(tmp_path, root=tmp_path) == ["a/deep/er/1.webp", "a/z.png", "b.JPG", "Ünï.tiff"]


def test_hidden_files_and_leftovers_are_left_out(tmp_path: Path):
    plant(tmp_path, "a.jpg", "._a.jpg", ".cache/b.jpg", "__MACOSX/c.jpg", "Thumbs.db")
    plant(tmp_path, "@eaDir/a.jpg/thumb.jpg", "$RECYCLE.BIN/d.jpg")
    assert found(tmp_path, root=tmp_path) == ["a.jpg"]
    assert found(f"{tmp_path}/**/*.jpg", root=tmp_path) == ["a.jpg"]
    assert len(list_folder(tmp_path).junk) == 6


def test_files_are_handed_on_as_given(tmp_path: Path):
    plant(tmp_path, "b.dat", "a.jpg", ".hidden.jpg")
    names = ["missing.jpg", "b.dat", "a.jpg", ".hidden.jpg", "a.jpg"]
    assert found(*(tmp_path / name for name in names), root=tmp_path) == names
    assert list(find_named_photos(["a\0b.jpg"])) == [Path("a\0b.jpg")]


def test_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plant(tmp_path, "b.jpg", "a.jpg", "a.txt", "in/c.jpg", "in/deep/d.png")
    everything = ["a.jpg", "b.jpg", "in/c.jpg", "in/deep/d.png"]
    assert found(f"{tmp_path}/*.jpg", root=tmp_path) == ["a.jpg", "b.jpg"]
    assert found(f"{tmp_path}/[b]*", root=tmp_path) == ["b.jpg"]
    assert found(f"{tmp_path}/**", root=tmp_path) == everything
    assert found(f"{tmp_path}/*", root=tmp_path) == everything
    monkeypatch.chdir(tmp_path)
    assert list(find_named_photos(["i?/*.jpg"])) == [Path("in/c.jpg")]


def test_a_file_may_be_named_like_a_pattern(tmp_path: Path):
    plant(tmp_path, "a[1].jpg", "a1.jpg")
    assert found(tmp_path / "a[1].jpg", root=tmp_path) == ["a[1].jpg"]


def test_relative_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plant(tmp_path, "here/a.jpg", "b.jpg")
    monkeypatch.chdir(tmp_path / "here")
    assert list(find_named_photos(["."])) == [Path("a.jpg")]
    assert list(find_named_photos([".."])) == [Path("../b.jpg"), Path("../here/a.jpg")]


def test_what_yields_nothing_is_an_error_in_its_place(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    pattern = f"{tmp_path}/*.jpg"
    named = list(find_named_photos(["a.jpg", tmp_path / "empty", pattern, "b.jpg"]))
    assert (named[0], named[3]) == (Path("a.jpg"), Path("b.jpg"))
    assert str(named[1]).startswith(
        f"{tmp_path}/empty: no photos in this folder; looked for .apng, .avif"
    )
    assert str(named[2]) == f"{pattern}: no photo matches this pattern; check its spelling"


def test_what_is_passed_over_by_name_is_said_before_the_photos(tmp_path: Path):
    plant(tmp_path, "a.jpg", "in/notes.txt", ".hidden", "x.csv")
    (tmp_path / "photo").write_bytes(PNG)
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    named = list(find_named_photos([tmp_path]))
    assert named[-1] == tmp_path / "a.jpg"
    assert problems(tmp_path) == [
        f"warning: {tmp_path}: 3 files: ignored, without an image extension: photo, in/notes.txt, "
        "x.csv; 1 of these 3 files is a photo by content; "
        "give photos a matching extension such as .jpg",
        f"note: {tmp_path}/dangling: ignored, a link to nothing",
        f"note: {tmp_path}/.hidden: ignored, hidden or made by the system",
    ]
    every, deep = (problems(f"{tmp_path}/{pattern}") for pattern in ("*", "**"))
    assert [line.replace("*", "**") for line in every] == deep[:2]
    assert deep[0].startswith(f"warning: {tmp_path}/**: 3 files: ignored, without an image ")
    assert problems(f"{tmp_path}/x*") == [
        f"warning: {tmp_path}/x.csv: ignored, without an image extension; "
        "photos need a file extension such as .jpg",
        f"error: {tmp_path}/x*: no photo matches this pattern; check its spelling",
    ]
    assert problems(tmp_path / "x.csv", tmp_path / "a.jpg") == []


def test_a_flaw_of_a_folder_does_not_cost_its_photos(tmp_path: Path):
    plant(tmp_path, "a.jpg")
    try:
        (tmp_path / os.fsdecode(b"\xff.jpg")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert problems(tmp_path) == [
        f"error: {tmp_path}/\\udcff.jpg: its name is not valid UTF-8; rename it"
    ]
    assert found(tmp_path, root=tmp_path) == ["a.jpg"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_folder_that_cannot_be_listed(tmp_path: Path):
    (tmp_path / "closed").mkdir(mode=0o000)
    assert problems(tmp_path) == [f"error: {tmp_path}/closed: cannot be listed: permission denied"]


def test_a_photo_behind_a_broken_link_is_left_to_the_decoder(tmp_path: Path):
    plant(tmp_path, "b.jpg")
    (tmp_path / "a.jpg").symlink_to(tmp_path / "gone.jpg")
    assert found(tmp_path, root=tmp_path) == ["a.jpg", "b.jpg"]


def test_an_address_is_no_file():
    assert problems("https://example.org/a/cat.jpg") == [
        "error: https://example.org/a/cat.jpg: is a web address; "
        "tlcli reads files: download it and name the file"
    ]


# Lists


def listed(content: bytes) -> list[str]:
    return list(map(str, read_list(io.BytesIO(content))))


@pytest.mark.parametrize(
    "content",
    [
        b"a.jpg\n\xc3\xbc b.jpg\n",
        b"a.jpg\r\n\r\n\xc3\xbc b.jpg",
        b"\xef\xbb\xbfa.jpg\r\n\xc3\xbc b.jpg\r\n",
        "\ufeffa.jpg\r\nü b.jpg\r\n".encode("utf-16-le"),
        "\ufeffa.jpg\nü b.jpg".encode("utf-16-be"),
    ],
    ids=["Unix", "Windows", "Windows editors", "PowerShell", "UTF-16"],
)
def test_lists_of_every_system(content: bytes):
    assert listed(content) == ["a.jpg", "ü b.jpg"]


def test_a_line_is_a_path_as_it_is():
    raw = os.fsdecode(b"\xff.jpg")
    assert listed(b"\xff.jpg\n*.jpg\n a \n") == [raw, "*.jpg", " a "]
    assert listed(b"") == listed(b"\xef\xbb\xbf") == listed(b"\n\n") == []
    assert listed(b"ftp://x/a.jpg\n")[0].startswith("ftp://x/a.jpg: is a web address; ")


def test_a_list_is_read_as_it_comes():
    def lines():
        yield from (b"a.jpg\n", b"b.jpg\n")
        pytest.fail("a line too many is read")

    class Stream(io.RawIOBase):
        def __init__(self) -> None:
            self.rest = lines()

        def readline(self, size: int | None = -1) -> bytes:
            return next(self.rest)

    photos = read_list(Stream())  # type: ignore[arg-type]
    assert [next(photos), next(photos)] == [Path("a.jpg"), Path("b.jpg")]
