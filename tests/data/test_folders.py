"""Walking folders, and finding the images that a user names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tlcli.data.folders import find_images, list_folder, list_tree
from tlcli.errors import DataError


def plant(root: Path, *names: str) -> None:
    """Create empty files, with the folders above them."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(*sources: str | Path, root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in find_images(sources)]


def refusal(*sources: str | Path) -> str:
    with pytest.raises(DataError) as caught:
        list(find_images(sources))
    return str(caught.value)


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
    assert list(find_images(["a\0b.jpg"])) == [Path("a\0b.jpg")]


def test_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plant(tmp_path, "b.jpg", "a.jpg", "a.txt", "in/c.jpg", "in/deep/d.png")
    everything = ["a.jpg", "b.jpg", "in/c.jpg", "in/deep/d.png"]
    assert found(f"{tmp_path}/*.jpg", root=tmp_path) == ["a.jpg", "b.jpg"]
    assert found(f"{tmp_path}/[b]*", root=tmp_path) == ["b.jpg"]
    assert found(f"{tmp_path}/**", root=tmp_path) == everything
    assert found(f"{tmp_path}/*", root=tmp_path) == everything
    monkeypatch.chdir(tmp_path)
    assert list(find_images(["i?/*.jpg"])) == [Path("in/c.jpg")]


def test_a_file_may_be_named_like_a_pattern(tmp_path: Path):
    plant(tmp_path, "a[1].jpg", "a1.jpg")
    assert found(tmp_path / "a[1].jpg", root=tmp_path) == ["a[1].jpg"]


def test_relative_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plant(tmp_path, "here/a.jpg", "b.jpg")
    monkeypatch.chdir(tmp_path / "here")
    assert list(find_images(["."])) == [Path("a.jpg")]
    assert list(find_images([".."])) == [Path("../b.jpg"), Path("../here/a.jpg")]


def test_what_yields_nothing_is_an_error(tmp_path: Path):
    plant(tmp_path, "notes.txt")
    assert refusal(tmp_path).startswith(f"{tmp_path}: no photos in this folder; looked for .apng")
    pattern = f"{tmp_path}/*.jpg"
    assert refusal(pattern) == f"{pattern}: no photo matches this pattern; check its spelling"


def test_images_before_a_bad_source_come_first(tmp_path: Path):
    images = find_images(["a.jpg", tmp_path])
    assert next(images) == Path("a.jpg")
    with pytest.raises(DataError):
        next(images)


def test_links_are_followed_but_not_in_circles(tmp_path: Path):
    plant(tmp_path, "set/a.jpg", "set/sub/b.jpg", "elsewhere/c.jpg", "one.jpg")
    (tmp_path / "set/loop").symlink_to(tmp_path / "set")
    (tmp_path / "set/sub/up").symlink_to(tmp_path)
    (tmp_path / "set/out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set/out2").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set/one.jpg").symlink_to(tmp_path / "one.jpg")
    (tmp_path / "set/self").symlink_to(tmp_path / "set/self")
    contents = list_tree(tmp_path / "set")
    names = [path.relative_to(tmp_path / "set").as_posix() for path in contents.photos]
    assert names == ["a.jpg", "one.jpg", "out/c.jpg", "sub/b.jpg"]
    assert {problem.severity for problem in contents.problems} == {"note"}
    assert sorted(Path(problem.where).name for problem in contents.problems) == [
        "loop",
        "out2",
        "up",
    ]
    assert contents.dangling == [tmp_path / "set/self"]


def test_a_folder_that_is_itself_a_link(tmp_path: Path):
    plant(tmp_path, "real/a.jpg", "data/cats/b.jpg")
    (tmp_path / "data/dogs").symlink_to(tmp_path / "real")
    (tmp_path / "data/up").symlink_to(tmp_path / "data")
    assert list_tree(tmp_path / "data/dogs").photos == [tmp_path / "data/dogs/a.jpg"]
    assert list_tree(tmp_path / "data/up").photos == []


def test_a_dangling_link_to_an_image_is_handed_on(tmp_path: Path):
    plant(tmp_path, "b.jpg")
    (tmp_path / "a.jpg").symlink_to(tmp_path / "gone.jpg")
    assert found(tmp_path, root=tmp_path) == ["a.jpg", "b.jpg"]


def test_pipes_are_not_opened(tmp_path: Path):
    os.mkfifo(tmp_path / "a.jpg")
    assert list_folder(tmp_path).junk == [tmp_path / "a.jpg"]


def test_names_that_are_not_utf8_are_problems(tmp_path: Path):
    try:
        (tmp_path / os.fsdecode(b"\xff.jpg")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert refusal(tmp_path) == f"{tmp_path}/\\udcff.jpg: its name is not valid UTF-8; rename it"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_folder_that_cannot_be_listed(tmp_path: Path):
    plant(tmp_path, "a.jpg")
    (tmp_path / "closed").mkdir(mode=0o000)
    assert refusal(tmp_path) == f"{tmp_path}/closed: cannot be listed: permission denied"
