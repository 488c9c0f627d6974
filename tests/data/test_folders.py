"""Walking folders, and finding the images that a user names."""

from __future__ import annotations

import os
from pathlib import Path

from tlcli.data.folders import list_folder, list_tree


def plant(root: Path, *names: str) -> None:
    """Create empty files, with the folders above them."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


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
    assert [*list_tree(tmp_path / "data/dogs").photos] == [tmp_path / "data/dogs/a.jpg"]
    assert not list_tree(tmp_path / "data/up").photos


def test_pipes_are_not_opened(tmp_path: Path):
    os.mkfifo(tmp_path / "a.jpg")
    assert list_folder(tmp_path).junk == [tmp_path / "a.jpg"]
